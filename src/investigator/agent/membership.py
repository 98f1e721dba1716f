"""What makes this agent one of the fleet, in its state folder: a user of the broker, the JWT that lets it in, and proofs.

    agent.nk           the seed of the broker user: the broker chooses what it signs, so it is no other key of ours
    agent.jwt          the credential that the enrolment service minted for it
    agent.proof        that a token vouched for this agent: it goes into the facts
    agent.succession   whose state this was, where it was found on another machine; likewise

None but the first is a secret. What does not fit the agent's key any more is passed over.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import orjson

from investigator.agent.durable import write_private
from investigator.agent.permissions import refuse_loose
from investigator.broker import nkeys
from investigator.broker.credentials import Credentials
from investigator.errors import BadInput, DeploymentError, Refused
from investigator.protocol.codec import convert, strict_loads
from investigator.protocol.enrolment import MAX_ANSWER_BYTES
from investigator.protocol.token import MAX_TOKEN_CHARACTERS, Claim, Proof, SignedSuccession, check_succession

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from investigator.protocol.identity import Identity

USER_KEY_FILE: Final = "agent.nk"
JWT_FILE: Final = "agent.jwt"
PROOF_FILE: Final = "agent.proof"
SUCCESSION_FILE: Final = "agent.succession"
_MAX_SEED_BYTES: Final = 4096
T = TypeVar("T")


class Membership:
    """Of one agent; without a folder everything is in memory."""

    def __init__(self, folder: Path | None, identity: Identity, machine: str) -> None:
        """Read what there is, and make the user's key if there is none.

        Raises:
            DeploymentError: the key is open to others or none, or the folder cannot be read or written.
        """
        self.machine = machine
        """Where this runs (`token.machine_mark`)."""
        self._folder = folder
        self._identity = identity
        key = base64.b64encode(identity.public_key).decode()
        self.proof = self._load(PROOF_FILE, Proof, lambda proof: _claims(proof, key))
        """That a token vouched for this agent."""
        self.succession = self._load(SUCCESSION_FILE, SignedSuccession, lambda signed: _succeeds(signed, key))
        """Whose state this was before."""
        self.credentials = self._with_jwt(self._user())
        """The broker user; its `jwt` is empty until the service has minted one."""

    def keep_jwt(self, jwt: str) -> None:
        """Take a credential that the service minted.

        Raises:
            BadInput: it is for another user or another agent.
            DeploymentError: the disk does not take it; it counts for as long as this process lives.
        """
        try:
            credentials = self.credentials.with_jwt(jwt)
        except DeploymentError as error:
            raise BadInput(f"enrolment: {error}") from None
        if credentials.name != self._identity.id:
            raise BadInput("enrolment: the credential is another agent's")
        self.credentials = credentials
        self._write(JWT_FILE, jwt.encode())

    def keep_proof(self, proof: Proof) -> None:
        """Take the proof that let this agent in; raises `DeploymentError` as `keep_jwt`."""
        self.proof = proof
        self._write(PROOF_FILE, orjson.dumps(msgspec.to_builtins(proof)))

    def _user(self) -> Credentials:
        if self._folder is None:
            return Credentials.generate(self._identity.id)
        path = self._folder / USER_KEY_FILE
        try:
            if not os.path.lexists(path):
                made = Credentials.generate(self._identity.id)
                write_private(path, made.seed.encode() + b"\n")
                return made
            refuse_loose(path, private=True)
            with path.open("rb") as file:
                seed = file.read(_MAX_SEED_BYTES).decode("ascii", "replace").strip()
            kind, _ = nkeys.decode_seed(seed)
        except OSError as error:
            raise DeploymentError(f"{path}: {error.strerror}") from None
        except ValueError as error:
            raise DeploymentError(f"{path}: {error}", hint="Without it the agent makes a new one.") from None
        if kind is not nkeys.Kind.USER:
            raise DeploymentError(f"{path}: the seed of another kind of key than a user's")
        return Credentials(self._identity.id, seed)

    def _with_jwt(self, user: Credentials) -> Credentials:
        jwt = self._read(JWT_FILE, MAX_ANSWER_BYTES).decode("ascii", "replace").strip()
        try:
            credentials = user.with_jwt(jwt)
        except DeploymentError:
            return user
        return credentials if credentials.name == self._identity.id else user

    def _load(self, name: str, shape: type[T], fits: Callable[[T], bool]) -> T | None:
        raw = self._read(name, MAX_TOKEN_CHARACTERS)
        if not raw:
            return None
        try:
            value = convert(strict_loads(raw, what=name, max_bytes=MAX_TOKEN_CHARACTERS), shape, what=name)
            return value if fits(value) else None
        except BadInput:
            return None

    def _read(self, name: str, max_bytes: int) -> bytes:
        if self._folder is None:
            return b""
        path = self._folder / name
        try:
            with path.open("rb") as file:
                return file.read(max_bytes)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise DeploymentError(f"{path}: {error.strerror}") from None

    def _write(self, name: str, content: bytes) -> None:
        if self._folder is None:
            return
        try:
            write_private(self._folder / name, content)
        except OSError as error:
            raise DeploymentError(f"{self._folder / name}: {error.strerror}") from None


def _claims(proof: Proof, key: str) -> bool:
    """Whether a proof is this key's; whether it is any good is for others to say."""
    return claim_of(proof).key == key


def claim_of(proof: Proof) -> Claim:
    """What a proof claims; a proof of ours.

    Raises:
        BadInput: it is none.
    """
    return convert(
        strict_loads(proof.claim.encode(), what="claim", max_bytes=MAX_TOKEN_CHARACTERS), Claim, what="claim"
    )


def _succeeds(signed: SignedSuccession, key: str) -> bool:
    try:
        check_succession(signed, key=key)
    except Refused:
        return False
    return True
