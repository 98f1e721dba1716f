"""A cluster of NATS servers for a deployment, and leaf nodes at other sites: what each server's configuration says.

Servers of the cluster know each other by certificates of the deployment's CA, and keep the streams together. A leaf node
holds no stream: it brings the agents of a site in over one connection, as a user of its own that can do what agents can.
No server holds a key that makes users; accounts come as tokens that the operator signed (`operator`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.broker import certificates
from investigator.broker.scopes import DOMAIN
from investigator.broker.server import MAX_MEMORY_BYTES, MAX_STORE_BYTES, common_settings
from investigator.broker.server_tls import HANDSHAKE_WITHIN_S
from investigator.broker.tls import ENCRYPTED, is_loopback
from investigator.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CLIENT_PORT: Final = 4222
ROUTE_PORT: Final = 6222
LEAF_PORT: Final = 7422
CONFIGURATION: Final = "nats-server.conf"
LEAF_CREDENTIALS: Final = "leaf.creds"
_CLUSTER_NAME: Final = "investigator"
_SERVER: Final = re.compile(
    r"(?:(?P<name>[A-Za-z0-9][A-Za-z0-9_-]{0,31})=)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})"
    r"(?::(?P<client>\d{1,5}))?(?::(?P<route>\d{1,5}))?(?::(?P<leaf>\d{1,5}))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One NATS server: its name, how others call it, and its three ports."""

    name: str
    host: str
    client_port: int = CLIENT_PORT
    route_port: int = ROUTE_PORT
    leaf_port: int = LEAF_PORT

    @property
    def url(self) -> str:
        """For agents and consoles."""
        return self._url(self.client_port)

    @property
    def route(self) -> str:
        """For the other servers of the cluster."""
        return self._url(self.route_port)

    @property
    def leaf_url(self) -> str:
        """For leaf nodes."""
        return self._url(self.leaf_port)

    @property
    def listens_on(self) -> str:
        """A loopback address for itself; else everywhere, for the host may have other names and addresses."""
        if not is_loopback(self.host):
            return "0.0.0.0"
        return "127.0.0.1" if self.host == "localhost" else self.host

    def _url(self, port: int) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{ENCRYPTED}://{host}:{port}"


def parse_servers(words: Sequence[str], *, what: str) -> list[Server]:
    """`[NAME=]HOST[:PORT[:ROUTEPORT[:LEAFPORT]]]`, several with commas or as several words.

    Raises:
        BadInput: it is not of that form, or two servers have one name or one port.
    """
    servers = [_parse(word.strip(), what) for item in words for word in item.split(",") if word.strip()]
    names = [server.name for server in servers]
    for name in names:
        if names.count(name) > 1:
            raise BadInput(f"{what}: two servers are called {name}", hint="NAME=HOST gives a server another name.")
    return servers


def check_servers(cluster: Sequence[Server], leaves: Sequence[Server]) -> None:
    """Raise `BadInput` unless these can be a cluster and its leaf nodes."""
    if len(cluster) not in (3, 5):
        raise BadInput(f"--cluster: {len(cluster)} servers; a cluster that outlives the loss of one has 3, of two 5")
    names, taken = set[str](), set[tuple[str, int]]()
    for server in (*cluster, *leaves):
        if server.name in names:
            raise BadInput(f"two servers are called {server.name}", hint="NAME=HOST gives a server another name.")
        names.add(server.name)
        ports = [server.client_port]
        if server in cluster:
            ports += [server.route_port, *([server.leaf_port] if leaves else [])]
        for port in ports:
            if (server.host, port) in taken:
                raise BadInput(
                    f"{server.host}:{port} is wanted twice", hint="NAME=HOST:PORT:ROUTEPORT:LEAFPORT gives others."
                )
            taken.add((server.host, port))


def cluster_settings(
    server: Server, cluster: Sequence[Server], trust: Mapping[str, Any], *, leaves: bool, verify: bool
) -> dict[str, Any]:
    """The configuration of one server of the cluster; its paths are relative to the folder that it is started in.

    Args:
        server: which.
        cluster: all of them.
        trust: `operator.settings` of the deployment.
        leaves: whether leaf nodes may come.
        verify: whether agents and consoles must show a certificate.
    """
    return {
        **_base(server, trust, verify=verify),
        # Keeps accounts on the disk, and takes newer ones from whoever the system account lets in (a push).
        "resolver": {"type": "full", "dir": "accounts", "allow_delete": False, "interval": "2m"},
        "jetstream": {
            "store_dir": "store",
            "domain": DOMAIN,
            "max_mem": MAX_MEMORY_BYTES,
            "max_file": MAX_STORE_BYTES,
        },
        "cluster": {
            "name": _CLUSTER_NAME,
            "host": server.listens_on,
            "port": server.route_port,
            # Both sides show a certificate: who has none of our CA is no server of ours.
            "tls": {**_tls(verify=True), "timeout": HANDSHAKE_WITHIN_S},
            "routes": [other.route for other in cluster if other != server],
            # A client takes the servers of its configuration, so nobody needs to hear of others.
            "no_advertise": True,
        },
        **({"leafnodes": _leaf_listener(server)} if leaves else {}),
    }


def leaf_settings(
    leaf: Server, cluster: Sequence[Server], trust: Mapping[str, Any], *, mig: str, verify: bool
) -> dict[str, Any]:
    """The configuration of a leaf node; `mig` is the public key of the account MIG, which it is bound to."""
    return {
        **_base(leaf, trust, verify=verify),
        "resolver": {"type": "full", "dir": "accounts", "allow_delete": False, "interval": "2m"},
        "leafnodes": {
            "remotes": [
                {
                    "urls": [server.leaf_url for server in cluster],
                    "account": mig,
                    "credentials": LEAF_CREDENTIALS,
                    "tls": {"ca_file": certificates.CA, "handshake_first": True, "timeout": HANDSHAKE_WITHIN_S},
                }
            ]
        },
    }


def written(settings: Mapping[str, Any], heading: Sequence[str]) -> bytes:
    """In NATS's notation: a comment, and then each setting in JSON, which NATS reads too."""
    lines = [f"# {line}" if line else "#" for line in heading]
    for name, value in settings.items():
        lines += ["", f"{name}: {orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()}"]
    return "\n".join(lines).encode() + b"\n"


def _parse(word: str, what: str) -> Server:
    found = _SERVER.fullmatch(word)
    if found is None:
        raise BadInput(f"{what}: {word[:80]!r} is not [NAME=]HOST[:PORT[:ROUTEPORT[:LEAFPORT]]]")
    host = certificates.canonical_host(found["host"].strip("[]"))
    ports = [int(found[which]) if found[which] else 0 for which in ("client", "route", "leaf")]
    if any(port > 65535 for port in ports):
        raise BadInput(f"{what}: {word[:80]!r}: a port is at most 65535")
    name = found["name"] or re.sub(r"[^A-Za-z0-9_-]", "-", host.partition(".")[0] if not host[0].isdigit() else host)
    client, route, leaf = ports
    return Server(
        name=name,
        host=host,
        client_port=client or CLIENT_PORT,
        route_port=route or ROUTE_PORT,
        leaf_port=leaf or LEAF_PORT,
    )


def _base(server: Server, trust: Mapping[str, Any], *, verify: bool) -> dict[str, Any]:
    return {
        "server_name": server.name,
        "host": server.listens_on,
        "port": server.client_port,
        "pid_file": "nats-server.pid",
        **common_settings(),
        "tls": {**_tls(verify=verify), "handshake_first": True, "timeout": HANDSHAKE_WITHIN_S},
        **trust,
    }


def _tls(*, verify: bool) -> dict[str, Any]:
    return {
        "cert_file": certificates.SERVER,
        "key_file": certificates.SERVER_KEY,
        "ca_file": certificates.CA,
        "verify": verify,
        "min_version": "1.3",
    }


def _leaf_listener(server: Server) -> dict[str, Any]:
    return {
        "host": server.listens_on,
        "port": server.leaf_port,
        "tls": {**_tls(verify=False), "handshake_first": True, "timeout": HANDSHAKE_WITHIN_S},
        "no_advertise": True,
    }
