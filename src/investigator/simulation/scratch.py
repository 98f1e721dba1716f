"""The deployment that a simulation fills: its own, in an empty folder, or in one that an earlier simulation made."""

from __future__ import annotations

import secrets
import shutil
import time
from typing import TYPE_CHECKING, Final

import msgspec

from investigator.broker import jwt, nkeys, operator
from investigator.broker.credentials import Credentials
from investigator.broker.scopes import Account
from investigator.config import MAX_CONFIG_BYTES, read_file
from investigator.console.deployment import BROKER_FOLDER, create_deployment, write_private
from investigator.errors import DeploymentError
from investigator.protocol import subjects

if TYPE_CHECKING:
    from pathlib import Path

MARK: Final = "simulation.json"
_WIDE: Final = "simulation"


class Mark(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """In a simulation's deployment, and in no other."""

    secret: str
    """What the simulated agents' keys follow from."""


def open_scratch(home: Path) -> bytes:
    """Make a deployment here, or take the one that an earlier simulation made, with empty streams; the agents' secret.

    Raises:
        DeploymentError: something else is in the folder, or it cannot be used.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        present = {path.name for path in home.iterdir()}
        if present and MARK not in present:
            raise DeploymentError(
                f"{home}: no simulation made this, and one would fill it with agents that are not there",
                hint="Without --home a simulation makes its own deployment; with it, in an empty folder.",
            )
        if not present:
            write_private(home / MARK, msgspec.json.encode(Mark(secret=secrets.token_hex(32))))
            create_deployment(home, port=0, passphrase=None)
        shutil.rmtree(home / BROKER_FOLDER / "store", ignore_errors=True)
    except OSError as error:
        raise DeploymentError(f"{error.filename or home}: {error.strerror}") from None
    try:
        mark = msgspec.json.decode(read_file(home / MARK, max_bytes=MAX_CONFIG_BYTES), type=Mark)
        return bytes.fromhex(mark.secret)
    except ValueError as error:
        raise DeploymentError(f"{home / MARK}: {error}") from None


def mint_wide(folder: Path, *, now_s: int) -> Credentials:
    """A user that may speak for every agent: what no deployment has, so this one's account gets another signing key.

    It lasts as long as the server that reads the account now: `investigator broker`, started here later, takes the key out again.

    Raises:
        DeploymentError: the account's files cannot be read or written.
    """
    signing = nkeys.generate_seed(nkeys.Kind.ACCOUNT)
    claims = operator.load_account(folder, Account.AGENTS)
    keys = [*claims.nats.get("signing_keys", []), nkeys.public_of(signing)]
    _sign_account(folder, claims, {**claims.nats, "signing_keys": keys}, now_s)
    made = Credentials.generate(_WIDE)
    allowed = {
        "pub": {"allow": [subjects.ALL_RESULTS, subjects.ALL_FACTS, subjects.ALL_HEARTBEATS]},
        "sub": {"allow": [subjects.ALL_ACTIONS, f"_INBOX.{_WIDE}.>"]},
    }
    nats = {"type": "user", "issuer_account": claims.sub, "subs": -1, "data": -1, "payload": -1, **allowed}
    return made.with_jwt(jwt.encode(signing, subject=made.public_key, name=_WIDE, nats=nats, now_s=now_s))


def _sign_account(folder: Path, claims: jwt.Claims, nats: dict[str, object], now_s: int) -> None:
    path = folder / "accounts" / f"{Account.AGENTS}.jwt"
    try:
        seed = (folder / "keys" / "operator.nk").read_text().strip()
        made_s = max(now_s, claims.iat + 1)  # a server keeps the newer of two, by the second
        token = jwt.encode(seed, subject=claims.sub, name=Account.AGENTS, nats=nats, now_s=made_s)
        fresh = path.with_suffix(".new")
        fresh.write_text(token + "\n")
        fresh.replace(path)
    except OSError as error:
        raise DeploymentError(f"{error.filename or path}: {error.strerror}") from None


def now() -> int:
    """Whole seconds since 1970."""
    return int(time.time())
