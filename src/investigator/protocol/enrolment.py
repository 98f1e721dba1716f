"""Enrolment on the wire: how an agent asks the service for its broker credential, and what it hears.

A request is a frame of kind `enrol`, signed by the agent's identity, on `mig.enrol.request`; the answer is JSON. The credential is a
JWT for a *second* key of the agent, a user of the broker: a broker chooses what that key signs, so the identity never does this.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Final, Literal

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.codec import convert, strict_loads
from investigator.protocol.identity import ENROL, BadFrame, Identity, agent_id, open_frame
from investigator.protocol.statement import MAX_NAME_CHARACTERS, key_bytes
from investigator.protocol.token import Machine, Proof, SignedSuccession

MAX_REQUEST_BYTES: Final = 32 * 1024
MAX_ANSWER_BYTES: Final = 32 * 1024
MAX_ADMIN_BYTES: Final = 1 << 20
LIST_AT_ONCE: Final = 500
_USER: Final = re.compile(r"U[A-Z2-7]{55}")
State = Literal["enrolled", "pending", "denied", "busy"]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent asks."""

    key: str
    """Base64 of its identity's public key."""
    user: str
    """Its user of the broker, `U…`."""
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    machine: Machine
    t: int
    """Its clock, seconds since 1970: so that no two requests are the same."""
    proof: Proof | None = None
    succession: SignedSuccession | None = None

    @property
    def agent(self) -> str:
        """Its id, by its key."""
        return agent_id(key_bytes(self.key))


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the service says."""

    request: str
    """SHA-256 of the request's frame: where many wait at one inbox, nobody takes what was said to another."""
    state: State
    jwt: str = ""
    reason: str = ""
    """Why it is denied, or what it waits for."""


def encode_request(identity: Identity, request: Request) -> bytes:
    """The frame.

    Raises:
        BadInput: more than the service takes.
    """
    body = orjson.dumps(msgspec.to_builtins(request))
    if len(body) > MAX_REQUEST_BYTES:
        raise BadInput(f"enrolment: a request of {len(body):,} bytes; {MAX_REQUEST_BYTES:,} at most")
    return identity.frame(ENROL, body)


def decode_request(frame: bytes) -> Request:
    """A request that the holder of the key in it signed.

    Raises:
        BadInput: its shape is none.
        BadFrame: its key did not sign it.
    """
    document = strict_loads(frame[64:], what="enrolment", max_bytes=MAX_REQUEST_BYTES)
    request = convert(document, Request, what="enrolment")
    if not key_bytes(request.key):
        raise BadFrame("enrolment: a key that is none")
    open_frame(ENROL, frame, key_bytes(request.key))
    if not _USER.fullmatch(request.user):
        raise BadInput("enrolment: user: no key of a user of NATS")
    if not request.name.isprintable():
        raise BadInput("enrolment: name: not printable")
    return request


def request_mark(frame: bytes) -> str:
    """What an answer's `request` says."""
    return hashlib.sha256(frame).hexdigest()


def encode_answer(answer: Answer) -> bytes:
    """For the wire."""
    return orjson.dumps(msgspec.to_builtins(answer))


def decode_answer(raw: bytes, *, to: bytes) -> Answer:
    """The answer to this request's frame; nobody signed it, and it can deny and delay, no more.

    Raises:
        BadInput: its shape is none.
        BadFrame: it answers another request.
    """
    answer = convert(strict_loads(raw, what="answer", max_bytes=MAX_ANSWER_BYTES), Answer, what="answer")
    if answer.request != request_mark(to):
        raise BadFrame("enrolment: an answer to another request")
    return answer


class Listing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An investigator's question to the service: whom it knows; sent as `{"list": {…}}`. Pages follow each other by id."""

    state: Literal["", "enrolled", "pending", "denied", "revoked"] = ""
    after: str = ""


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as the service knows it."""

    agent: str
    key: str
    name: str
    machine: str
    state: Literal["enrolled", "pending", "denied", "revoked"]
    reason: str
    first_s: float
    last_s: float
    """When it asked first, and last."""
    expires_s: float
    """When its newest credential ends."""
    token: str
    """The key of the token that it came with, or nothing."""
    bytes: int
    """What was heard from it, while the service ran."""
    notices: list[str] = []
    """What an investigator should look at."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The service's answer to an investigator."""

    ok: bool
    said: str = ""
    agents: list[Known] = []
    more: bool = False
    """There are agents behind the last one."""
    policy: str = ""


def encode_told(told: Told) -> bytes:
    """For the wire."""
    return orjson.dumps(msgspec.to_builtins(told))


def decode_told(raw: bytes) -> Told:
    """The service's answer; nobody signed it.

    Raises:
        BadInput: its shape is none.
    """
    return convert(
        strict_loads(raw, what="the service's answer", max_bytes=MAX_ADMIN_BYTES), Told, what="the service's answer"
    )


def decode_listing(document: Any) -> Listing:
    """The value of `list` in an investigator's question.

    Raises:
        BadInput: its shape is none.
    """
    return convert(document, Listing, what="list")
