"""Who may do what on the broker: two accounts, their users, and the keys that they prove themselves with.

MIG is the investigators' account and owns the streams; AGENTS is the agents'. What crosses between them is exported and
imported by name, because permissions alone are not enough: the server itself publishes to whatever reply subject a
message carries, so that in one account an agent could have it write into another agent's results. Across accounts an
answer goes back to the one who asked, and nowhere else.

Users prove themselves by signing a nonce (nkeys): the server's configuration holds public keys only. All agents of a
deployment share one user, so this keeps agents from acting as investigators, not one agent from posing as another, nor
from listening at another's inbox (`_INBOX.*.>` is as narrow as one user's permissions get). What an agent says is
signed by its own key for that reason.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from investigator.broker import nkeys
from investigator.errors import DeploymentError
from investigator.protocol import subjects

if TYPE_CHECKING:
    from pathlib import Path

USERS_FILE: Final = "users.json"
_MAX_SEED_FILE_BYTES: Final = 4096
_PERSON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


class Role(StrEnum):
    """The three users of a deployment; also the names of their files and the second token of their inboxes."""

    AGENTS = "agents"
    INVESTIGATOR = "investigator"
    BROKER = "broker"
    """The deployment's own services: makes the streams. Agents and investigators cannot."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that a connection needs to be let in."""

    name: str
    """The user's name; its inboxes are `_INBOX.<name>.…`, unless the connection is told otherwise."""
    seed: str = field(repr=False)
    """The nkey seed, "SU…"."""

    @classmethod
    def generate(cls, name: str) -> Credentials:
        """A new user."""
        return cls(name, nkeys.encode_seed(nkeys.Kind.USER, Ed25519PrivateKey.generate().private_bytes_raw()))

    @classmethod
    def load(cls, path: Path) -> Credentials:
        """Read what `save` wrote; the file's name is the user's.

        Raises:
            DeploymentError: there is no such file, or no user's seed in it.
        """
        try:
            with path.open("rb") as file:
                seed = file.read(_MAX_SEED_FILE_BYTES).decode("ascii").strip()
            kind, _ = nkeys.decode_seed(seed)
        except OSError as error:
            raise DeploymentError(f"broker credentials {path}: {error.strerror}", hint="`investigator init`") from None
        except ValueError as error:
            raise DeploymentError(f"broker credentials {path}: {error}") from None
        if kind is not nkeys.Kind.USER:
            raise DeploymentError(f"broker credentials {path}: the seed of an {kind.name.lower()}, not of a user")
        return cls(path.stem, seed)

    def save(self, path: Path) -> None:
        """Write the seed to a new file that only its owner can read.

        Raises:
            DeploymentError: the file exists already, or cannot be written.
        """
        _write_new(path, self.seed.encode() + b"\n")

    @property
    def public_key(self) -> str:
        """What the server knows this user by, "U…"."""
        _, private = nkeys.decode_seed(self.seed)
        return nkeys.encode_public(nkeys.Kind.USER, private.public_key().public_bytes_raw())

    def sign(self, nonce: str) -> bytes:
        """The proof that a server asks for: base 64 of the signature over its nonce."""
        _, private = nkeys.decode_seed(self.seed)
        return base64.b64encode(private.sign(nonce.encode()))


def create(folder: Path) -> dict[Role, Path]:
    """Make the keys of a new deployment's three users: `<role>.nk` each, and `users.json` with the public ones.

    Raises:
        DeploymentError: one of the files exists (nothing is ever overwritten), or the folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DeploymentError(f"{folder}: {error.strerror}") from None
    files: dict[Role, Path] = {}
    public: dict[str, str] = {}
    for role in Role:
        credentials = Credentials.generate(role)
        files[role] = folder / f"{role}.nk"
        credentials.save(files[role])
        public[role.value] = credentials.public_key
    _write_new(folder / USERS_FILE, orjson.dumps(public, option=orjson.OPT_INDENT_2))
    return files


class Users(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """users.json: public keys only."""

    agents: str
    investigator: str
    broker: str
    people: dict[str, str] = {}
    """Further investigators, each with a user of their own, so that one can be shut out without the others."""

    def __getitem__(self, role: Role) -> str:
        return str(getattr(self, role.value))


def load_users(folder: Path) -> Users:
    """The public keys for the server's configuration.

    Raises:
        DeploymentError: they are not there, or not whole.
    """
    path = folder / USERS_FILE
    try:
        users = msgspec.convert(orjson.loads(path.read_bytes()), Users)
    except OSError as error:
        raise DeploymentError(f"broker users {path}: {error.strerror}", hint="`investigator init`") from None
    except ValueError:  # msgspec's and orjson's are
        users = Users("", "", "")
    if not all(
        nkeys.is_public(nkeys.Kind.USER, key) for key in (*(users[role] for role in Role), *users.people.values())
    ):
        raise DeploymentError(f"broker users {path}: not a public key for each of {', '.join(Role)}")
    for name in users.people:
        check_person(name)
    return users


def check_person(name: str) -> None:
    """Raise `DeploymentError` unless an investigator's user can be called so: it becomes a file and a subject's token."""
    if not _PERSON.fullmatch(name) or name in set(Role):
        raise DeploymentError(
            f"{name[:60]!r} cannot be a broker user's name",
            hint=f"1 to 32 letters, digits, - and _, starting with a letter or digit; not {', '.join(Role)}.",
        )


def add_person(folder: Path, name: str) -> Credentials:
    """A further investigator's user: the public key goes into users.json, the seed to whoever is called so.

    Raises:
        DeploymentError: there is one of that name, or the name is none, or the file cannot be read or written.
    """
    check_person(name)
    users = load_users(folder)
    if name in users.people:
        raise DeploymentError(
            f"{folder / USERS_FILE}: {name} is there already", hint="`investigator people remove` first."
        )
    made = Credentials.generate(name)
    _write_users(folder, msgspec.structs.replace(users, people={**users.people, name: made.public_key}))
    return made


def remove_person(folder: Path, name: str) -> bool:
    """Take an investigator's user out of users.json; False if there is none of that name.

    Raises:
        DeploymentError: the file cannot be read or written.
    """
    users = load_users(folder)
    if name not in users.people:
        return False
    left = {person: key for person, key in users.people.items() if person != name}
    _write_users(folder, msgspec.structs.replace(users, people=left))
    return True


def _write_users(folder: Path, users: Users) -> None:
    """Whole or not at all: a broker may be about to read it."""
    scratch = folder / f"{USERS_FILE}.new"
    try:
        scratch.unlink(missing_ok=True)
        _write_new(scratch, orjson.dumps(msgspec.to_builtins(users), option=orjson.OPT_INDENT_2))
        scratch.replace(folder / USERS_FILE)
    except OSError as error:
        raise DeploymentError(f"{folder / USERS_FILE}: {error.strerror}") from None


_DIRECT_GET_ACTIONS: Final = f"$JS.API.DIRECT.GET.{subjects.ACTIONS}"
_SERVICES: Final = (
    subjects.ALL_RESULTS,
    subjects.ALL_HEARTBEATS,
    subjects.ALL_FACTS,
    subjects.ALL_ALERTS,
    _DIRECT_GET_ACTIONS,
)
_STREAMS: Final = (
    subjects.ACTIONS,
    subjects.RESULTS,
    subjects.FACTS,
    subjects.HEARTBEATS,
    subjects.ALERTS,
    subjects.RECORDS,
)
_RECORD: Final = (subjects.ALL_TALLIES, subjects.ALL_STATEMENTS)
"""What investigators record themselves; what they ask is recorded by the server."""
_FORGET: Final = tuple(f"$JS.API.STREAM.MSG.DELETE.{stream}" for stream in (subjects.FACTS, subjects.HEARTBEATS))
"""A host that is no more is taken out of the inventory; an agent that is there comes back with its next facts."""
_ACKNOWLEDGE: Final = f"$JS.API.STREAM.MSG.DELETE.{subjects.ALERTS}"
"""An alert is acknowledged by taking it out of its stream: all consoles see the same, whoever did it."""

_PERMISSIONS: Final[dict[Role, dict[str, list[str]]]] = {
    Role.AGENTS: {
        "publish": [*_SERVICES],
        "subscribe": [
            "mig.action.all.*",
            "mig.action.os.*.*",
            "mig.action.tag.*.*.*",
            "mig.action.agent.*.*",
            "_INBOX.*.>",
        ],
    },
    Role.INVESTIGATOR: {
        "publish": [
            subjects.ALL_ACTIONS,
            *(f"$JS.API.DIRECT.GET.{stream}" for stream in _STREAMS),
            *(f"$JS.API.STREAM.INFO.{stream}" for stream in _STREAMS),
            _ACKNOWLEDGE,
            *_RECORD,
            *_FORGET,
        ],
        "subscribe": [
            subjects.ALL_RESULTS,
            subjects.ALL_HEARTBEATS,
            subjects.ALL_FACTS,
            subjects.ALL_ALERTS,
            f"_INBOX.{Role.INVESTIGATOR}.>",
        ],
    },
    Role.BROKER: {
        "publish": ["$JS.API.>"],
        "subscribe": [f"_INBOX.{Role.BROKER}.>"],
    },
}


def accounts(users: Users) -> dict[str, Any]:
    """The `accounts` block of a nats-server's configuration for these users' public keys."""

    def user(role: Role) -> dict[str, Any]:
        return {"nkey": users[role], "permissions": _PERMISSIONS[role]}

    def person(name: str) -> dict[str, Any]:
        """As the investigator, with an inbox of their own: who is shut out must not have listened to the others'."""
        like = _PERMISSIONS[Role.INVESTIGATOR]
        inbox = [one for one in like["subscribe"] if not one.startswith("_INBOX.")] + [f"_INBOX.{name}.>"]
        return {"nkey": users.people[name], "permissions": {**like, "subscribe": inbox}}

    crossing = {"accounts": ["AGENTS"]}
    return {
        "SYS": {"users": []},
        "MIG": {
            "jetstream": "enabled",
            "users": [user(Role.INVESTIGATOR), user(Role.BROKER), *(person(name) for name in users.people)],
            "exports": [
                {"stream": subjects.ALL_ACTIONS, **crossing},
                *({"service": service, "response_type": "stream", **crossing} for service in _SERVICES),
            ],
        },
        "AGENTS": {
            "users": [user(Role.AGENTS)],
            "imports": [
                {"stream": {"account": "MIG", "subject": subjects.ALL_ACTIONS}},
                *({"service": {"account": "MIG", "subject": service}} for service in _SERVICES),
            ],
        },
    }


def _write_new(path: Path, content: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
