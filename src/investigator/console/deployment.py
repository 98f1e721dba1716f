"""What `investigator init` makes: keys, keyring, ACL, credentials, and three configuration files, in one folder."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from investigator.broker import credentials
from investigator.config import AGENT_FILE, BROKER_FILE, CONSOLE_FILE
from investigator.console.keys import encode_sealing_key
from investigator.errors import DeploymentError
from investigator.pgp.secret import generate_key
from investigator.protocol.sealing import generate_sealing_key

SIGNING_KEY: Final = Path("secrets/investigator.asc")
SEALING_KEY: Final = Path("secrets/sealing.pem")
BROKER_FOLDER: Final = Path("broker")
KEYRING: Final = Path("keyring")
ACL: Final = Path("acl.json")


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was made."""

    home: Path
    fingerprint: str
    url: str
    protected: bool


def create_deployment(home: Path, *, port: int, passphrase: str | None) -> Deployment:
    """Make a deployment; port 0 takes one that is free now. Nothing is overwritten, and a failure leaves nothing.

    Raises:
        DeploymentError: one is there already, or the folder does not take it.
    """
    port = port or _free_port()
    url = f"nats://127.0.0.1:{port}"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".init-", dir=home))
    except OSError as error:
        raise DeploymentError(f"{home}: {error.strerror}") from None
    try:
        fingerprint = _fill(scratch, url=url, port=port, passphrase=passphrase)
        _move_into_place(scratch, home)
    except OSError as error:
        raise DeploymentError(f"{error.filename or home}: {error.strerror}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Deployment(home, fingerprint, url, passphrase is not None)


def _fill(folder: Path, *, url: str, port: int, passphrase: str | None) -> str:
    """Everything that a deployment holds; returns the investigator's fingerprint."""
    person, host = _person(), socket.gethostname()
    secret, public, fingerprint = generate_key(person, f"{person}@{host}", passphrase)
    _write(folder / SIGNING_KEY, secret.encode())
    _write(folder / SEALING_KEY, encode_sealing_key(generate_sealing_key(), passphrase))
    _write(folder / KEYRING / f"{fingerprint}.asc", public.encode())
    acl = {"default": {"minimumweight": 1, "investigators": {person: {"fingerprint": fingerprint, "weight": 1}}}}
    _write(folder / ACL, orjson.dumps(acl, option=orjson.OPT_INDENT_2) + b"\n")
    files = credentials.create(folder / BROKER_FOLDER)
    link = {role: str(path.relative_to(folder)) for role, path in files.items()}
    _write(
        folder / CONSOLE_FILE,
        _CONSOLE.format(
            url=url,
            credentials=link[credentials.Role.INVESTIGATOR],
            key=SIGNING_KEY,
            sealing_key=SEALING_KEY,
        ).encode(),
    )
    _write(
        folder / AGENT_FILE,
        _AGENT.format(url=url, credentials=link[credentials.Role.AGENTS], keyring=KEYRING, acl=ACL).encode(),
    )
    _write(folder / BROKER_FILE, _BROKER.format(port=port, store=BROKER_FOLDER).encode())
    return fingerprint


_CONSOLE: Final = """\
# The investigator's side of this deployment. Paths are taken from this file's folder.
store = "console.sqlite"            # what was asked, and every answer as received
sealing_key = "{sealing_key}"   # results are sealed to it: nobody else reads them

[broker]
url = "{url}"
credentials = "{credentials}"

[signer]
key = "{key}"       # or: gpg = "FULL FINGERPRINT", for a key that gpg holds

[targets]                           # -t NAME stands for a condition
# web = "tags->>'role' = 'web'"
"""

_AGENT: Final = """\
# What an agent needs, on every host: copy this file with the keyring, the ACL and the credentials that it names.
keyring = "{keyring}"               # whose signatures count
acl = "{acl}"                  # and with which weight
# name = "db-1.example.net"         # this host's name if not given
heartbeat_s = 60
module_timeout_s = 300              # an operation that takes longer is killed
module_memory_bytes = 1073741824    # and one that needs more
module_niceness = 19                # 0 to 19: lower answers sooner on a busy host, and disturbs it more

[broker]
url = "{url}"
credentials = "{credentials}"

[tags]
# operator = "IT"
"""

_BROKER: Final = """\
# The embedded broker. On a cluster of your own, none of this is used.
host = "127.0.0.1"
port = {port}
store = "{store}"
credentials = "{store}/broker.nk"
sync_always = true                  # a result is on the disk before it is acknowledged
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


def _write(path: Path, content: bytes) -> None:
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
