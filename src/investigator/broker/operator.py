"""A deployment's own authority on the broker: an operator, its three accounts, and the keys that mint users.

    operator.jwt                    whom the servers trust
    accounts/{SYS,MIG,AGENTS}.jwt   what each account may do, and which users of it are shut out
    people/<name>.jwt               each further investigator's user, so that one can be shut out without the others
    keys/operator.nk                signs accounts: needed where users are shut out
    keys/<scope>.nk                 signs that scope's users, and no others
    offline/*.nk                    the identities of the operator and the accounts: needed for nothing daily

The identities sign nothing but the operator's own token (strict signing keys), so the folder `offline` can be taken away
and kept in a safe once the deployment is made: with it, lost signing keys can be replaced.

A user's token names its user key, and the server has the user sign a nonce with it: tokens are no secrets. Users that are
shut out stand in their account's token as `revocations` (key: tokens made up to then); servers that run learn it by a
reload, or by `connection.push_claims`.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from investigator.broker import jwt, nkeys
from investigator.broker.credentials import Credentials
from investigator.broker.jwt import BadToken, Claims
from investigator.broker.scopes import TEMPLATES, Account, Scope, account_claims
from investigator.errors import DeploymentError

MAX_AGENT_LIFE_S: Final = 90 * 86_400
_MAX_SEED_BYTES: Final = 4096
_PERSON: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_AGENT: Final = re.compile(r"[a-z2-7]{26}|[A-Za-z0-9_-]{1,64}")
_OPERATOR: Final = "operator"
_OLD_USERS: Final = "users.json"
USERS: Final = (Scope.ENROL, Scope.GATEWAY, Scope.INVESTIGATOR, Scope.SERVICES, Scope.SYSTEM)
"""The scopes of which a deployment has one user from the beginning, `<scope>.creds`."""
_FOLDERS: Final = {Scope.INVESTIGATOR: "people", Scope.SCRIPT: "scripts"}
"""Where the tokens of further users are kept, by name."""


def create(folder: Path, *, now_s: int) -> None:
    """Make a new deployment's authority, and its first users' credentials.

    Raises:
        DeploymentError: one of the files exists (nothing is ever overwritten), or the folder cannot be written.
    """
    try:
        for path in (folder, *(folder / name for name in ("accounts", *_FOLDERS.values(), "keys", "offline"))):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DeploymentError(f"{error.filename or folder}: {error.strerror}") from None
    identity = _new_seed(folder / "offline" / f"{_OPERATOR}.nk", nkeys.Kind.OPERATOR)
    signing = _new_seed(folder / "keys" / f"{_OPERATOR}.nk", nkeys.Kind.OPERATOR)
    accounts = {
        account: nkeys.public_of(_new_seed(folder / "offline" / f"{account}.nk", nkeys.Kind.ACCOUNT))
        for account in Account
    }
    for scope in Scope:
        _new_seed(folder / "keys" / f"{scope}.nk", nkeys.Kind.ACCOUNT)
    claims = {
        "type": "operator",
        "signing_keys": [nkeys.public_of(signing)],
        "system_account": accounts[Account.SYS],
        "strict_signing_key_usage": True,
    }
    operator = nkeys.public_of(identity)
    token = jwt.encode(identity, subject=operator, name="investigator", nats=claims, now_s=now_s)
    _write_new(_operator_file(folder), token)
    for account, key in accounts.items():
        nats = account_claims(account, signing_keys=_scope_keys(folder), mig=accounts[Account.MIG])
        token = jwt.encode(signing, subject=key, name=account, nats=nats, now_s=now_s)
        _write_new(_account_file(folder, account), token)
    for scope in USERS:
        made = Credentials.generate(scope)
        token = _mint(folder, scope, name=scope, user_key=made.public_key, now_s=now_s)
        made.with_jwt(token).save(folder / f"{scope}.creds")


def mint_agent(folder: Path, *, agent: str, user_key: str, lives_s: int, now_s: int) -> str:
    """A token for an agent's user key: what it may do is what its id may do.

    Args:
        folder: the deployment's broker folder.
        agent: its id, which becomes its subjects' token.
        user_key: the public nkey ("U…") that it proves itself with.
        lives_s: how long the token is good for.
        now_s: seconds since 1970.

    Raises:
        DeploymentError: the key of the agents' scope is not here.
        ValueError: no such id, user key or life.
    """
    if not _AGENT.fullmatch(agent):  # a dot or a wildcard in it would widen its permissions
        raise ValueError(f"{agent[:60]!r} is no agent's id")
    if not 0 < lives_s <= MAX_AGENT_LIFE_S:
        raise ValueError(f"an agent's token lives from 1 to {MAX_AGENT_LIFE_S:,} s, not {lives_s:,}")
    return _mint(folder, Scope.AGENT, name=agent, user_key=user_key, now_s=now_s, expires_s=now_s + lives_s)


def mint_person(folder: Path, *, name: str, user_key: str, now_s: int) -> str:
    """A token for an investigator's user key, with an inbox of its own; good until it is revoked.

    Raises:
        DeploymentError: nobody can be called so, or the key of the investigators' scope is not here.
        ValueError: no such user key.
    """
    check_person(name)
    return _mint(folder, Scope.INVESTIGATOR, name=name, user_key=user_key, now_s=now_s)


def mint_leaf(folder: Path, *, name: str, user_key: str, now_s: int) -> str:
    """A token for a leaf node's user key; good until it is revoked.

    Raises:
        DeploymentError: the key of the leaf nodes' scope is not here.
        ValueError: no such user key.
    """
    return _mint(folder, Scope.LEAF, name=name, user_key=user_key, now_s=now_s)


def revoke_user(folder: Path, *, account: Account, user_key: str, now_s: int) -> None:
    """Shut a user out: no token of that key that was made up to now is good any more.

    The embedded server takes it within a second; to others it must be pushed (`connection.push_claims`).

    Raises:
        DeploymentError: the operator's signing key is not here, or the files cannot be read or written.
        ValueError: no such user key.
    """
    if not nkeys.is_public(nkeys.Kind.USER, user_key):
        raise ValueError(f"{user_key[:60]!r} is no user's public key")
    with _changing(folder):
        claims = load_account(folder, account)
        revoked = {**claims.nats.get("revocations", {}), user_key: now_s}
        _sign_account(folder, account, claims, {**claims.nats, "revocations": revoked}, now_s)


def check_person(name: str) -> None:
    """Raise `DeploymentError` unless an investigator's user can be called so: it becomes a file and a subject's token."""
    if not _PERSON.fullmatch(name) or name in set(Scope):
        raise DeploymentError(
            f"{name[:60]!r} cannot be a broker user's name",
            hint=f"1 to 32 letters, digits, - and _, starting with a letter or digit; not {', '.join(Scope)}.",
        )


def add_person(folder: Path, name: str, *, now_s: int, scope: Scope = Scope.INVESTIGATOR) -> Credentials:
    """A further investigator's (or script's) user; their token is kept, their seed is for whoever is called so.

    Raises:
        DeploymentError: there is one of that name, or the name is none, or the folder cannot be read or written.
    """
    check_person(name)
    made = Credentials.generate(name)
    token = _mint(folder, scope, name=name, user_key=made.public_key, now_s=now_s)
    for place in _FOLDERS.values():  # of one name are one inbox
        path = folder / place / f"{name}.jwt"
        if path.exists():
            raise DeploymentError(f"{path}: {name} is there already", hint="Remove it first, or choose another name.")
    path = folder / _FOLDERS[scope] / f"{name}.jwt"
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DeploymentError(f"{path.parent}: {error.strerror}") from None
    _write_new(path, token)
    return made.with_jwt(token)


def remove_person(folder: Path, name: str, *, now_s: int, scope: Scope = Scope.INVESTIGATOR) -> bool:
    """Shut an investigator's (or script's) user out; False if there is none of that name.

    Raises:
        DeploymentError: as `revoke_user`.
    """
    path = folder / _FOLDERS[scope] / f"{name}.jwt"
    if not _PERSON.fullmatch(name) or not path.exists():
        return False
    user = _load(path)
    revoke_user(folder, account=Account.MIG, user_key=user.sub, now_s=now_s)
    try:
        path.unlink()
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    return True


def people(folder: Path, *, scope: Scope = Scope.INVESTIGATOR) -> list[str]:
    """The further investigators' (or scripts') names, sorted."""
    return sorted(path.stem for path in (folder / _FOLDERS[scope]).glob("*.jwt"))


def load_operator(folder: Path) -> tuple[str, Claims]:
    """The operator's token, and what it says.

    Raises:
        DeploymentError: it is not there, or none.
    """
    path = _operator_file(folder)
    token = _read_token(path)
    claims = _decoded(path, token)
    if claims.iss != claims.sub or claims.nats.get("type") != "operator":
        raise DeploymentError(f"{path}: not an operator's own token")
    return token, claims


def load_account(folder: Path, account: Account) -> Claims:
    """What an account's token says.

    Raises:
        DeploymentError: it is not there, or the deployment's operator did not sign it.
    """
    return _load(_account_file(folder, account), issuers=load_operator(folder)[1].nats.get("signing_keys", []))


def account_tokens(folder: Path) -> dict[str, str]:
    """Each account's public key and token, for a server's configuration or a push.

    Raises:
        DeploymentError: as `load_account`.
    """
    return {load_account(folder, account).sub: _read_token(_account_file(folder, account)) for account in Account}


def settings(folder: Path) -> dict[str, Any]:
    """What a server's configuration says of whom it trusts; which `resolver` keeps the accounts is up to the caller.

    Raises:
        DeploymentError: as `load_account`.
    """
    return {
        "operator": load_operator(folder)[0],
        "system_account": load_account(folder, Account.SYS).sub,
        "resolver_preload": account_tokens(folder),
    }


def bring_up_to_date(folder: Path, *, now_s: int) -> list[str]:
    """Sign accounts anew that are not what this version makes of them; one line for each. Who is shut out stays so.

    Where the operator's signing key is not here they stay as they are, and the line says so.

    Raises:
        DeploymentError: the files cannot be read or written.
    """
    done: list[str] = []
    load_operator(folder)
    signs = folder / "keys" / f"{_OPERATOR}.nk"
    with _changing(folder):
        mig = load_account(folder, Account.MIG).sub
        for account in Account:
            claims = load_account(folder, account)
            keys = _present_scope_keys(claims)
            wanted = account_claims(account, signing_keys=keys | _scope_keys(folder), mig=mig)
            present = {key: value for key, value in claims.nats.items() if key not in ("revocations", "version")}
            if present != wanted and not signs.exists():
                done.append(f"account {account} is not as this version makes it, and {signs} is not here to sign it")
            elif present != wanted:
                revoked = claims.nats.get("revocations", {})
                nats = {**wanted, **({"revocations": revoked} if revoked else {})}
                _sign_account(folder, account, claims, nats, now_s)
                done.append(f"changed account {account}: its permissions are those of this version")
    return done


def stamp(folder: Path) -> tuple[tuple[int, ...], ...]:
    """What differs when an account's token was replaced."""
    return tuple(_stamp(_account_file(folder, account)) for account in Account)


def _mint(folder: Path, scope: Scope, *, name: str, user_key: str, now_s: int, expires_s: int = 0) -> str:
    if not nkeys.is_public(nkeys.Kind.USER, user_key):
        raise ValueError(f"{user_key[:60]!r} is no user's public key")
    account = load_account(folder, TEMPLATES[scope].account)
    nats = {"type": "user", "issuer_account": account.sub}
    seed = _read_seed(folder / "keys" / f"{scope}.nk")
    return jwt.encode(seed, subject=user_key, name=name, nats=nats, now_s=now_s, expires_s=expires_s)


def _sign_account(folder: Path, account: Account, claims: Claims, nats: Mapping[str, Any], now_s: int) -> None:
    seed = _read_seed(folder / "keys" / f"{_OPERATOR}.nk")
    # A server keeps the newer of two tokens, by the second.
    made_s = max(now_s, claims.iat + 1)
    token = jwt.encode(seed, subject=claims.sub, name=account, nats=dict(nats), now_s=made_s)
    path = _account_file(folder, account)
    scratch = path.with_suffix(".new")
    try:
        scratch.unlink(missing_ok=True)
        _write_new(scratch, token)
        scratch.replace(path)  # whole or not at all: a broker may be about to read it
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None


def _scope_keys(folder: Path) -> dict[Scope, str]:
    """The public keys of those scopes whose signing keys are here."""
    paths = {scope: folder / "keys" / f"{scope}.nk" for scope in Scope}
    return {scope: nkeys.public_of(_read_seed(path)) for scope, path in paths.items() if path.exists()}


def _present_scope_keys(claims: Claims) -> dict[Scope, str]:
    """Those that the account's token names, for scopes whose signing keys are elsewhere."""
    keys = claims.nats.get("signing_keys", [])
    return {Scope(key["role"]): key["key"] for key in keys if isinstance(key, dict) and key.get("role") in set(Scope)}


def _operator_file(folder: Path) -> Path:
    return folder / "operator.jwt"


def _account_file(folder: Path, account: Account) -> Path:
    return folder / "accounts" / f"{account}.jwt"


@functools.lru_cache(maxsize=8)
def _decoded(path: Path, token: str) -> Claims:
    """Remembered, because each token that is minted asks for the same: an account's is thousands of bytes."""
    try:
        return jwt.decode(token)
    except BadToken as error:
        raise DeploymentError(f"{path}: {error}") from None


def _load(path: Path, *, issuers: list[str] | None = None) -> Claims:
    claims = _decoded(path, _read_token(path))
    if issuers is not None and (claims.iss not in issuers or claims.nats.get("type") != "account"):
        raise DeploymentError(f"{path}: not an account that this deployment's operator signed")
    return claims


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(jwt.MAX_JWT_BYTES + 1).decode("ascii", "replace").strip()
    except OSError as error:
        if (path.parent / _OLD_USERS).exists():
            raise DeploymentError(
                f"{path.parent}: made by an older version, whose users are of another kind",
                hint="`investigator init` in another --home makes a new deployment.",
            ) from None
        raise DeploymentError(f"{path}: {error.strerror}", hint="`investigator init`") from None


def _read_seed(path: Path) -> str:
    try:
        with path.open("rb") as file:
            seed = file.read(_MAX_SEED_BYTES).decode("ascii", "replace").strip()
        nkeys.decode_seed(seed)
    except OSError as error:
        raise DeploymentError(f"signing key {path}: {error.strerror}") from None
    except ValueError as error:
        raise DeploymentError(f"signing key {path}: {error}") from None
    return seed


def _new_seed(path: Path, kind: nkeys.Kind) -> str:
    seed = nkeys.generate_seed(kind)
    _write_new(path, seed)
    return seed


def _write_new(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _changing(folder: Path) -> Iterator[None]:
    """One at a time: who reads an account and writes it back must not undo what another did meanwhile."""
    path = folder / "accounts" / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}", hint="`investigator init`") from None
    try:
        _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined,unused-ignore]  # where it is there
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _stamp(path: Path) -> tuple[int, ...]:
    with suppress(OSError):
        info = path.stat()
        return info.st_ino, info.st_size, info.st_mtime_ns
    return ()
