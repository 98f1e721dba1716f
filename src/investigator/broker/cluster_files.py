"""A folder for each server of a cluster, with all that it needs; run again, it changes what has to change, and says what."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from investigator.broker import certificates, cluster, operator
from investigator.broker.credentials import Credentials
from investigator.broker.scopes import Account
from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from investigator.broker.cluster import Server
    from investigator.config import BrokerTls

CERTIFICATE_DAYS: Final = 397
"""Nobody renews it by itself there: a year and a month, so that a yearly round is in time."""
_README: Final = "README"


def write_cluster(
    broker_folder: Path,
    out: Path,
    servers: Sequence[Server],
    leaves: Sequence[Server],
    *,
    tls: BrokerTls,
    now_s: float,
) -> list[str]:
    """Write `out/<server>/…` for each, and return what was done, one line each; empty if nothing had to change.

    Args:
        broker_folder: the deployment's, with the operator's tokens and the CA.
        out: where to.
        servers: the cluster.
        leaves: its leaf nodes.
        tls: the deployment's [tls]: whose CA, and whether agents and consoles must show a certificate.
        now_s: seconds since 1970.

    Raises:
        BadInput: these servers are no cluster.
        DeploymentError: a file of the deployment is missing, or the disk does not take it.
    """
    cluster.check_servers(servers, leaves)
    trust = operator.settings(broker_folder)
    mig = operator.load_account(broker_folder, Account.MIG).sub
    done: list[str] = []
    try:
        for server in servers:
            settings = cluster.cluster_settings(server, servers, trust, leaves=bool(leaves), verify=tls.verify)
            done += _write_server(
                broker_folder,
                out,
                server,
                cluster.written(settings, _heading(server, "a server of the cluster")),
                now_s,
            )
        for leaf in leaves:
            settings = cluster.leaf_settings(leaf, servers, trust, mig=mig, verify=tls.verify)
            done += _write_server(
                broker_folder, out, leaf, cluster.written(settings, _heading(leaf, "a leaf node")), now_s
            )
            done += _write_leaf_credentials(broker_folder, out / leaf.name, leaf, int(now_s))
        done += _write(out / _README, _readme(servers, leaves, verify=tls.verify).encode())
    except OSError as error:
        raise DeploymentError(f"{error.filename or out}: {error.strerror}") from None
    return done


def _write_server(broker_folder: Path, out: Path, server: Server, configuration: bytes, now_s: float) -> list[str]:
    folder = out / server.name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = _write(folder / cluster.CONFIGURATION, configuration)
    done += _write(folder / certificates.CA, (broker_folder / certificates.CA).read_bytes())
    return done + _certify(broker_folder, folder, server, now_s)


def _certify(broker_folder: Path, folder: Path, server: Server, now_s: float) -> list[str]:
    """A certificate by our CA, while it is not good for another half of its life; one's own CA makes its own."""
    place = folder / certificates.SERVER
    if not (broker_folder / certificates.CA_KEY).exists():
        return (
            []
            if place.exists()
            else [
                f"missing {place} and {certificates.SERVER_KEY}: for {server.host}, by your CA, for servers and clients"
            ]
        )
    with suppress(DeploymentError):
        certificates.check_pair(place, folder / certificates.SERVER_KEY)
        present = certificates.read_certificate(place)
        if server.host in present.hosts and present.days_left(now_s) > CERTIFICATE_DAYS / 2:
            return []
    made = certificates.make_server(broker_folder, [server.host], now_s=now_s, into=folder, days=CERTIFICATE_DAYS)
    return [f"made {place}, good for {made.days_left(now_s):.0f} days for {', '.join(made.hosts)}"]


def _write_leaf_credentials(broker_folder: Path, folder: Path, leaf: Server, now_s: int) -> list[str]:
    place = folder / cluster.LEAF_CREDENTIALS
    if place.exists():
        return []
    made = Credentials.generate(leaf.name)
    made.with_jwt(operator.mint_leaf(broker_folder, name=leaf.name, user_key=made.public_key, now_s=now_s)).save(place)
    return [f"made {place}"]


def _write(path: Path, content: bytes) -> list[str]:
    if path.exists() and path.read_bytes() == content:
        return []
    verb = "changed" if path.exists() else "wrote"
    scratch = path.with_name(f"{path.name}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    scratch.replace(path)
    return [f"{verb} {path}"]


def _heading(server: Server, what: str) -> list[str]:
    return [
        f"{server.name}, {what}, written by `investigator broker config`; run that again rather than edit.",
        f"Paths are relative: start it in this folder, `nats-server -c {cluster.CONFIGURATION}`; nats-server 2.11 or later.",
        "After a change: `nats-server --signal reload=nats-server.pid`.",
    ]


_FILES: Final = f"""\
Each folder goes to one host, whole, to be read by the user that nats-server runs as and by nobody else:

  {cluster.CONFIGURATION}   all settings; written anew when this command is run again
  {certificates.CA}             the deployment's CA: which certificates count
  {certificates.SERVER}         this server's certificate, for its host's name: agents check it
  {certificates.SERVER_KEY}         its private key
"""
_LEAF_FILE: Final = f"  {cluster.LEAF_CREDENTIALS}         a leaf node only: the user as which it connects to the cluster; can do what agents can\n"
_MADE_THERE: Final = """
nats-server makes there:

  store/             the streams
  accounts/          the accounts' tokens, the newest that it was told of
  nats-server.pid    for signals
"""


def _readme(servers: Sequence[Server], leaves: Sequence[Server], *, verify: bool) -> str:
    url = ",".join(server.url for server in servers)
    text = _FILES + (_LEAF_FILE if leaves else "") + _MADE_THERE
    text += "\nStart each in its folder: nats-server -c nats-server.conf\n"
    text += "\nPorts that must be open:\n\n"
    for server in servers:
        more = f", leaf nodes {server.leaf_port}" if leaves else ""
        text += f"  {server.name}: {server.host}, agents and consoles {server.client_port}, the other servers {server.route_port}{more}\n"
    for leaf in leaves:
        text += f"  {leaf.name}: {leaf.host}, agents of the site {leaf.client_port}; it calls the cluster itself\n"
    text += "\nIn broker.toml of the deployment, instead of the embedded broker:\n\n"
    text += f'  [cluster]\n  url = "{url}"\n'
    if leaves:
        text += f'  leaves = "{",".join(leaf.url for leaf in leaves)}"\n'
    text += f'  replicas = 3\n\nIn console.toml and agent.toml, under [broker]:\n\n  url = "{url}"\n'
    for leaf in leaves:
        text += f'\nIn agent.toml of the agents behind {leaf.name}:\n\n  url = "{leaf.url}"\n'
    if verify:
        text += "\nThe servers ask for certificates: [broker] certificate and key stay as they are.\n"
    return text + "\nThen: investigator broker streams\n"
