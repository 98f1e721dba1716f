"""Tokens, and what agents prove with them: the proof that an agent carries in its facts for as long as it lives.

A token as it stands in agent.toml is one word:

    mig-token-1.<base64url of the 32 private bytes>.<base64url of the statement's envelope>

With its private half the agent signs a *claim*: its own key, name and machine. Claim, signature and the statement, which says whose
public half it is, are the proof. To the agent the statement is a text; whoever judges the proof has the keyring for it.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from investigator.errors import BadInput, Refused
from investigator.protocol.codec import convert, strict_loads
from investigator.protocol.identity import CLAIM, SUCCESSION, BadFrame, Identity, agent_id, signable
from investigator.protocol.statement import (
    KEY_BYTES,
    MAX_NAME_CHARACTERS,
    Token,
    check_key,
    key_bytes,
)

MAX_TOKEN_STATEMENT_BYTES: Final = 16 * 1024
"""The envelope of a token's statement: it travels in the facts."""
PREFIX: Final = "mig-token-1"
MAX_TOKEN_CHARACTERS: Final = 32 * 1024
MAX_CLAIM_BYTES: Final = 4 * 1024
MAX_MACHINE_CHARACTERS: Final = 80
CLOCK_SKEW_S: Final = 24 * 3600
"""How far an agent's clock may be behind, when it proves itself right after the token was made."""
T = TypeVar("T")

Machine = Annotated[
    str, msgspec.Meta(max_length=MAX_MACHINE_CHARACTERS, pattern=r"^([0-9a-f]{32})?\.([0-9a-f]{32})?\Z|^\Z")
]


@dataclass(frozen=True, slots=True, repr=False)
class SecretToken:
    """A token with its private half."""

    private: bytes
    statement: str
    """The envelope that says what it is good for, as a text."""

    def encode(self) -> str:
        """One word, for agent.toml."""
        return ".".join((PREFIX, _base64url(self.private), _base64url(self.statement.encode())))

    @property
    def key(self) -> str:
        """Base64 of the public half."""
        return base64.b64encode(Identity(self.private).public_key).decode()


def decode_token(text: str) -> SecretToken:
    """Read what `SecretToken.encode` wrote; the statement in it is not looked at.

    Raises:
        BadInput: it is none.
    """
    prefix, _, rest = text.strip().partition(".")
    private, _, statement = rest.partition(".")
    if prefix != PREFIX or len(text) > MAX_TOKEN_CHARACTERS:
        raise BadInput(
            f"enrolment token: it does not start with {PREFIX}", hint="`investigator enrol token` makes one."
        )
    try:
        raw, envelope = _from_base64url(private), _from_base64url(statement).decode()
    except ValueError:
        raise BadInput("enrolment token: cut off, or altered") from None
    if len(raw) != KEY_BYTES or not 0 < len(envelope) <= MAX_TOKEN_STATEMENT_BYTES:
        raise BadInput("enrolment token: cut off, or altered")
    return SecretToken(raw, envelope)


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a token's key signs for an agent."""

    key: str
    """Base64 of the agent's."""
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    machine: Machine
    t: int
    """When, by the agent's clock, seconds since 1970."""


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That an agent was enrolled by a token."""

    statement: Annotated[str, msgspec.Meta(max_length=MAX_TOKEN_STATEMENT_BYTES)]
    """The token's envelope, as it was made."""
    claim: Annotated[str, msgspec.Meta(max_length=MAX_CLAIM_BYTES)]
    """The signed text of a `Claim`."""
    signature: Annotated[str, msgspec.Meta(max_length=100)]
    """Base64 of the token's signature over it."""

    @property
    def mark(self) -> str:
        """What stands for its statement: SHA-256 of the envelope's text, so that it is judged once for all who carry it."""
        return hashlib.sha256(self.statement.encode()).hexdigest()


class Succession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent's former key signs when its state is found on another machine."""

    old: str
    key: str
    """Base64 of both."""
    machine: Machine
    t: int


class SignedSuccession(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `Succession` as a text, and base64 of the former key's signature over it."""

    text: Annotated[str, msgspec.Meta(max_length=MAX_CLAIM_BYTES)]
    signature: Annotated[str, msgspec.Meta(max_length=100)]


def prove(token: SecretToken, *, key: bytes, name: str, machine: str, now_s: int) -> Proof:
    """The proof for an agent with this public key."""
    claim = Claim(key=base64.b64encode(key).decode(), name=name, machine=machine, t=now_s)
    text = orjson.dumps(msgspec.to_builtins(claim))
    signature = Identity(token.private).sign(CLAIM, text)
    return Proof(statement=token.statement, claim=text.decode(), signature=base64.b64encode(signature).decode())


def check_proof(proof: Proof, token: Token, *, key: str, name: str) -> Claim:
    """The claim in a proof, if this token's key made it for the agent with this key and name, in the token's time.

    `token` is the content of the proof's own statement, which the caller has judged.

    Raises:
        BadInput, Refused: what is wrong with it.
    """
    check_claim_signature(token.key, proof.claim, proof.signature)
    return check_claim(proof, token, key=key, name=name)


def check_claim_signature(token_key: str, claim: str, signature: str) -> None:
    """The first half of `check_proof`, which costs time: the token with this key signed this text.

    Raises:
        BadFrame: it did not.
    """
    _verify(token_key, CLAIM, claim, signature)


def check_claim(proof: Proof, token: Token, *, key: str, name: str) -> Claim:
    """The other half, for whoever has made the first.

    Raises:
        BadInput, Refused: what is wrong with it.
    """
    claim = _read(proof.claim, Claim, what="claim")
    if claim.key != key:
        raise BadFrame("the proof is another agent's")
    if claim.name != name:
        raise Refused(f"it was enrolled as {claim.name[:100]!r} and calls itself {name[:100]!r}")
    if not fnmatch.fnmatchcase(name, token.names):
        raise Refused(f"the token is for names like {token.names[:100]!r}")
    if not token.created.timestamp() - CLOCK_SKEW_S <= claim.t <= token.expires.timestamp():
        raise Refused(f"it was enrolled outside the token's time, which ended {token.expires:%Y-%m-%dT%H:%M:%SZ}")
    return claim


def succeed(old: Identity, new: Identity, *, machine: str, now_s: int) -> SignedSuccession:
    """The former key's word for the new one."""
    keys = [base64.b64encode(each.public_key).decode() for each in (old, new)]
    text = orjson.dumps(msgspec.to_builtins(Succession(old=keys[0], key=keys[1], machine=machine, t=now_s)))
    return SignedSuccession(text=text.decode(), signature=base64.b64encode(old.sign(SUCCESSION, text)).decode())


def check_succession(signed: SignedSuccession, *, key: str) -> str:
    """The id of the agent whose key says that the agent with this key follows it.

    Raises:
        BadInput, Refused: no former key said so.
    """
    succession = _read(signed.text, Succession, what="succession")
    check_key(succession.old, what="succession: old")
    _verify(succession.old, SUCCESSION, signed.text, signed.signature)
    if succession.key != key:
        raise BadFrame("the succession is another agent's")
    return agent_id(key_bytes(succession.old))


def same_machine(one: str, other: str) -> bool:
    """Whether two machines can be the same: what is known of both is equal.

    A machine is `<hash of the machine id>.<hash of the firmware's UUID>`, either of which may be unknown, and so empty.
    """
    return all(not a or not b or a == b for a, b in zip(one.split("."), other.split("."), strict=False))


def known_of_both(one: str, other: str) -> str:
    """What two marks of one machine know together: only root can read all of it."""
    if not one or not other:
        return one or other
    return ".".join(a or b for a, b in zip(one.split("."), other.split("."), strict=False))


def machine_mark(machine_id: str, firmware_uuid: str) -> str:
    """The text for a machine; both are hashed, since machine ids are not to be told to networks (machine-id(5))."""
    parts = [("machine-id", machine_id.strip().lower()), ("firmware", firmware_uuid.strip().lower())]
    return ".".join(
        hashlib.sha256(f"investigator/1 {kind} {text}".encode()).hexdigest()[:32] if text else ""
        for kind, text in parts
    )


def _read(text: str, shape: type[T], *, what: str) -> T:
    return convert(strict_loads(text.encode(), what=what, max_bytes=MAX_CLAIM_BYTES), shape, what=what)


def _verify(key: str, kind: str, text: str, signature: str) -> None:
    try:
        public = Ed25519PublicKey.from_public_bytes(key_bytes(key))
        public.verify(base64.b64decode(signature, validate=True), signable(kind, text.encode()))
    except (InvalidSignature, ValueError):
        raise BadFrame(f"{kind}: not signed by the key that it needs") from None


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _from_base64url(text: str) -> bytes:
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if _base64url(raw) != text:
        raise ValueError("not canonical")
    return raw
