"""What `investigator init` makes: keys, keyring, ACL, credentials, and three configuration files, in one folder."""

from __future__ import annotations

import base64
import getpass
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import orjson

from investigator.broker import operator
from investigator.broker.scopes import Scope
from investigator.config import AGENT_FILE, BROKER_FILE, CONSOLE_FILE, GATEWAY_FILE
from investigator.console.enrolling import make_token
from investigator.console.keys import encode_sealing_key
from investigator.console.network import Network, link_table, links_of, make_certificates, quoted, tls_table
from investigator.console.people_file import Person, encode_people
from investigator.errors import DeploymentError
from investigator.pgp.secret import generate_key
from investigator.pgp.signer import KeyFileSigner
from investigator.protocol.sealing import generate_sealing_key, public_sealing_key

SIGNING_KEY: Final = Path("secrets/investigator.asc")
SEALING_KEY: Final = Path("secrets/sealing.pem")
BROKER_FOLDER: Final = Path("broker")
FIRST_TOKEN_COUNT: Final = 100
FIRST_TOKEN_LIFE: Final = timedelta(days=30)
"""The token in the first agent.toml: for a start; `investigator enrol token` makes others."""
KEYRING: Final = Path("keyring")
ACL: Final = Path("acl.json")
PEOPLE: Final = Path("people.json")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was made."""

    home: Path
    fingerprint: str
    url: str
    protected: bool


def create_deployment(
    home: Path,
    *,
    port: int,
    passphrase: str | None,
    passphrase_command: Sequence[str] = (),
    network: Network = Network(),  # noqa: B008 - frozen
) -> Deployment:
    """Make a deployment; port 0 takes one that is free now. Nothing is overwritten, and a failure leaves nothing.

    `passphrase_command` is where the passphrase came from, and is asked again whenever a key is used.

    Raises:
        DeploymentError: one is there already, or the folder does not take it, or one's own certificate is none.
        BadInput: a network that cannot be.
    """
    network.check()
    port = port or _free_port()
    with filling(home) as scratch:
        own = _fill(scratch, passphrase=passphrase)
        _fill_configuration(scratch, network, port=port, passphrase=passphrase, passphrase_command=passphrase_command)
    return Deployment(home, own, network.url(port), passphrase is not None)


@contextmanager
def filling(home: Path) -> Iterator[Path]:
    """A scratch folder, the content of which moves into `home` at the end: all of it, or on any error nothing.

    Raises:
        DeploymentError: something of that name is there already, or the disk does not take it.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".init-", dir=home))
    except OSError as error:
        raise DeploymentError(f"{home}: {error.strerror}") from None
    try:
        yield scratch
        _move_into_place(scratch, home)
    except OSError as error:
        raise DeploymentError(f"{error.filename or home}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """An investigator's new keys."""

    fingerprint: str
    public: str
    """The certificate, in armor."""
    sealto: str
    """Base64 of the public key that results are sealed to."""


def make_own_keys(folder: Path, name: str, email: str, passphrase: str | None) -> OwnKeys:
    """Make the key that signs and the key that opens results, and put the secret parts into a folder.

    Raises:
        BadInput: a name or address that is none.
        OSError: the disk does not take them.
    """
    made = generate_key(name, email, passphrase)
    sealing = generate_sealing_key()
    write_private(folder / SIGNING_KEY, made.secret.encode())
    write_private(folder / SEALING_KEY, encode_sealing_key(sealing, passphrase))
    sealto = base64.b64encode(public_sealing_key(sealing)).decode()
    return OwnKeys(made.fingerprint, made.public, sealto)


def console_toml(
    *,
    url: str,
    credentials_file: str,
    tls: Mapping[str, str] | None = None,
    enrolment: str = "token",
    targets: Mapping[str, str] | None = None,
    passphrase_command: Sequence[str] = (),
) -> bytes:
    """A new console.toml; what stands in it may come from an invitation, and stays a text whatever it holds.

    `tls` is what the table [broker] says of certificates.
    """
    words = ", ".join(map(quoted, passphrase_command))
    text = _CONSOLE.format(
        link=link_table(url=url, credentials=credentials_file, **(tls or {})),
        enrolment=quoted(enrolment),
        key=SIGNING_KEY,
        sealing_key=SEALING_KEY,
        passphrase_command=f"passphrase_command = [{words}]\n" if words else "",
    )
    lines = [f"{quoted(name)} = {quoted(condition)}\n" for name, condition in (targets or {}).items()]
    return (text + "".join(lines)).encode()


def _fill(folder: Path, *, passphrase: str | None) -> str:
    """Keys, keyring, ACL and people; returns the investigator's fingerprint."""
    person, host = _person(), socket.gethostname()
    own = make_own_keys(folder, person, f"{person}@{host}", passphrase)
    fingerprint = own.fingerprint
    write_private(folder / PEOPLE, encode_people({person: Person(fingerprint=fingerprint, sealto=own.sealto)}))
    write_private(folder / KEYRING / f"{fingerprint}.asc", own.public.encode())
    acl = {"default": {"minimumweight": 1, "investigators": {person: {"fingerprint": fingerprint, "weight": 1}}}}
    write_private(folder / ACL, orjson.dumps(acl, option=orjson.OPT_INDENT_2) + b"\n")
    return fingerprint


def _fill_configuration(
    folder: Path, network: Network, *, port: int, passphrase: str | None, passphrase_command: Sequence[str]
) -> None:
    """The broker's users and certificates, the first token, and the configuration files."""
    signer = KeyFileSigner((folder / SIGNING_KEY).read_bytes(), lambda: passphrase or "")
    operator.create(folder / BROKER_FOLDER, now_s=int(time.time()))
    make_certificates(folder / BROKER_FOLDER, network, now_s=time.time())
    files = {scope: f"{BROKER_FOLDER}/{scope}.creds" for scope in operator.USERS}
    url, tls = network.url(port), links_of(network, str(BROKER_FOLDER))
    console = console_toml(
        url=url, credentials_file=files[Scope.INVESTIGATOR], tls=tls, passphrase_command=passphrase_command
    )
    write_private(folder / CONSOLE_FILE, console)
    link = link_table(url=url, credentials=files[Scope.ENROL], **tls)
    token, statement = make_token(signer, count=FIRST_TOKEN_COUNT, life=FIRST_TOKEN_LIFE, now_s=time.time())
    agent = _AGENT.format(
        link=link,
        keyring=KEYRING,
        acl=ACL,
        token=token.encode(),
        count=statement.count,
        expires=f"{statement.expires:%Y-%m-%d}",
    )
    write_private(folder / AGENT_FILE, agent.encode())
    link = link_table(url=url, credentials=files[Scope.GATEWAY], **tls)
    write_private(folder / GATEWAY_FILE, _GATEWAY.format(link=link, keyring=KEYRING, acl=ACL).encode())
    broker = _BROKER.format(host=network.listens_on, port=port, store=BROKER_FOLDER) + tls_table(network)
    write_private(folder / BROKER_FILE, broker.encode())


_CONSOLE: Final = """\
# The investigator's side of this deployment. Paths are taken from this file's folder.
store = "console.sqlite"            # what was asked, and every answer as received
sealing_key = "{sealing_key}"   # results are sealed to it: nobody else reads them
enrolment = {enrolment}                 # whom to ask and believe: agents that came by a token; approve: one by one; open: all
{passphrase_command}
{link}
[signer]
key = "{key}"       # or: gpg = "FULL FINGERPRINT", for a key that gpg holds

[targets]                           # -t NAME stands for a condition
# web = "tags->>'role' = 'web'"
"""

_AGENT: Final = """\
# What an agent needs, on every host: copy this file (mode 0600) with the keyring, the ACL and the files of [broker] that it names.
# The credentials among them let a host ask for some of its own, and do nothing else; the token makes it one of ours.
keyring = "{keyring}"               # whose signatures count
acl = "{acl}"                  # and with which weight
# name = "db-1.example.net"         # this host's name if not given
heartbeat_s = 60
module_timeout_s = 300              # an operation that takes longer is killed
module_memory_bytes = 1073741824    # and one that needs more
module_cpu_percent = 100            # of one processor: what has used its share waits
module_niceness = 19                # 0 to 19: lower answers sooner on a busy host, and disturbs it more
# extraprivacymode = true           # results name no file, person, peer or host of this one: `masked` stands there

{link}
[enrolment]                         # lets {count} new agents in, until {expires}; each takes the line out of its own copy
token = "{token}"

# Modules that run all the time, and raise alerts: `investigator alerts`. None runs without its table here.
# [modules.fswatch]                 # what changes in files: of MIG's paths, or of these
# paths = ["/etc/passwd", "/usr/bin", "recursive:/etc"]
# [modules.audit]                   # the kernel's audit records

[tags]
# operator = "IT"
"""

_GATEWAY: Final = """\
# `investigator gateway` answers scripts; it publishes what people signed, and holds no key that an agent obeys.
keyring = "{keyring}"               # what these would refuse is not published
acl = "{acl}"
requests_at_a_time = 32
request_life_s = 3600               # a request is answered for so long at most

{link}"""

_BROKER: Final = """\
# The embedded broker. On a cluster of your own, none of this is used.
host = "{host}"
port = {port}
store = "{store}"
credentials = "{store}/services.creds"
sync_always = true                  # a result is on the disk before it is acknowledged
records_days = 400                  # how long it is kept who asked what, and how it ended

[enrolment]                         # how agents get credentials of their own
policy = "token"                    # who is let in: agents with a token; approve: by `investigator enrol approve`; open: all
"""


def _move_into_place(scratch: Path, home: Path) -> None:
    names = sorted(path.name for path in scratch.iterdir())
    for name in names:
        if os.path.lexists(home / name):
            raise DeploymentError(
                f"{home / name} is there already; nothing was changed", hint="Another --home makes another deployment."
            )
    for name in names:
        (scratch / name).rename(home / name)


def write_private(path: Path, content: bytes) -> None:
    """A new file that only its owner can read; raises `OSError`."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _person() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "investigator"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
