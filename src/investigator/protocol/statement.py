"""Statements: what investigators sign about who is who. They travel in the envelope that all kinds share, and last for good.

    token      whoever proves to hold this key, so many agents until then, is one of ours
    pin        the name is that of this agent's key, from now on; also after another key had it
    unenrol    this agent is none of ours any more; or: nobody comes in by this token but these

Of one agent (and of one token) the statement that was written last counts, so that an old one played back changes nothing.
`judge_statement` is their gate. It takes signatures of any age: what was signed once about a host holds until somebody with the
weight for `enrol` signs something else.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec
import orjson

from investigator.errors import BadInput, Refused
from investigator.protocol.acl import ENROL
from investigator.protocol.action import check_year
from investigator.protocol.codec import convert, strict_loads
from investigator.protocol.envelope import Envelope
from investigator.protocol.identity import agent_id
from investigator.protocol.kinds import PIN, TOKEN, UNENROL, read_signed

if TYPE_CHECKING:
    from investigator.protocol.acl import Acl
    from investigator.protocol.admission import Keyring

MAX_STATEMENT_BYTES: Final = 64 * 1024
MAX_STATEMENT_ENVELOPE_BYTES: Final = 96 * 1024
MAX_KEPT: Final = 2000
MAX_NAME_CHARACTERS: Final = 255
MAX_COUNT: Final = 100_000
MAX_TOKEN_LIFE: Final = timedelta(days=400)
MAX_SIGNATURE_AGE_S: Final = 100 * 365 * 86_400
KEY_BYTES: Final = 32
_AGENT: Final = re.compile(r"[a-z2-7]{26}")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key pair whose private half lets agents in."""

    type: Literal["token"] = "token"
    key: str
    """Base64 of the Ed25519 public half."""
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
    """How many agents it vouches for."""
    created: Moment
    expires: Moment
    names: Name = "*"
    """Which names they may have: a glob, with letter case."""


class Pin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whose a name is."""

    type: Literal["pin"] = "pin"
    agent: str
    key: str
    """Base64 of the agent's key, from which its id is derived."""
    name: Name
    replaces: str = ""
    """The id of the agent that had the name, and is none of ours from now on: as if it were unenrolled."""
    created: Moment


class Unenrol(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is let in no more: an agent by its id; or, by a token's key, all that come with it but those that are named."""

    type: Literal["unenrol"] = "unenrol"
    agent: str = ""
    token: str = ""
    keep: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_KEPT)] = ()
    """With a token: the ids of those that came by it and stay; more stand in another statement."""
    reason: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    created: Moment


Statement: TypeAlias = Token | Pin | Unenrol
_SHAPES: Final[dict[str, type[Statement]]] = {TOKEN: Token, PIN: Pin, UNENROL: Unenrol}


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement that people with the weight for it signed; made by `judge_statement`."""

    statement: Statement
    envelope: Envelope
    signers: tuple[str, ...]
    """Their certificates' fingerprints, sorted."""

    @property
    def digest(self) -> str:
        """SHA-256 of the signed bytes."""
        return self.envelope.digest


def encode_statement(statement: Statement) -> bytes:
    """The bytes to sign."""
    return orjson.dumps(msgspec.to_builtins(statement, builtin_types=(datetime,)), option=orjson.OPT_UTC_Z)


def parse_statement(text: bytes) -> Statement:
    """Read signed bytes as a statement, strictly.

    Raises:
        BadInput: what and where, in one line; another kind of signed thing is none.
    """
    document = strict_loads(text, what="statement", max_bytes=MAX_STATEMENT_BYTES)
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in _SHAPES:
        raise BadInput(f"statement: type: {str(kind)[:40]!r}; it must be one of {', '.join(_SHAPES)}")
    statement: Statement = read_signed(text, _SHAPES[kind], kind=kind, max_bytes=MAX_STATEMENT_BYTES)
    check_year(statement.created, what=f"{kind}: created")
    match statement:
        case Token():
            check_key(statement.key, what="token: key")
            check_year(statement.expires, what="token: expires")
            if not timedelta(0) < statement.expires - statement.created <= MAX_TOKEN_LIFE:
                raise BadInput(f"token: expires: not within {MAX_TOKEN_LIFE.days} days after it was created")
        case Pin():
            check_key(statement.key, what="pin: key")
            if agent_id(key_bytes(statement.key)) != statement.agent:
                raise BadInput("pin: agent: not the id of this key")
            if statement.replaces:
                check_agent(statement.replaces, what="pin: replaces")
        case Unenrol():
            if bool(statement.agent) == bool(statement.token):
                raise BadInput("unenrol: agent or token: one of the two")
            if statement.agent:
                check_agent(statement.agent, what="unenrol: agent")
            else:
                check_key(statement.token, what="unenrol: token")
            if statement.agent and statement.keep:
                raise BadInput("unenrol: keep: there is no token")
            for agent in statement.keep:
                check_agent(agent, what="unenrol: keep")
    return statement


def decode_statement_envelope(raw: bytes) -> Envelope:
    """Read a statement's envelope; only its shape is checked, nothing in it is trusted.

    Raises:
        BadInput: it is none, or too large.
    """
    document = strict_loads(raw, what="statement", max_bytes=MAX_STATEMENT_ENVELOPE_BYTES)
    return convert(document, Envelope, what="statement")


def judge_statement(envelope: Envelope, *, keyring: Keyring, acl: Acl, now_s: float) -> Stated:
    """The statement in an envelope, if people whom this keyring and this ACL give the weight for `enrol` signed it.

    Raises:
        BadInput: what was signed is no statement.
        Refused: nobody known signed it, or their weight does not suffice.
    """
    signers, problems = set(), []
    for text in envelope.pgpsignatures:
        try:
            good = keyring.verify(envelope.signed_bytes, text.encode(), int(now_s), max_age_s=MAX_SIGNATURE_AGE_S)
        except Refused as error:
            problems.append(str(error))
        else:
            signers.add(good.certificate)
    if not signers:
        raise Refused(f"statement: {'; '.join(problems)[:300] or 'nobody signed it'}")
    statement = parse_statement(envelope.signed_bytes)
    weighing = acl.weigh(ENROL, signers)
    if weighing.missing:
        raise Refused(str(weighing))
    return Stated(statement, envelope, tuple(sorted(signers)))


def key_bytes(text: str) -> bytes:
    """The 32 bytes of a key in base64; nothing, if it is none."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    # one key, one text: base64 leaves bits that a lenient reader ignores
    return raw if len(raw) == KEY_BYTES and base64.b64encode(raw).decode() == text else b""


def check_key(text: str, *, what: str) -> None:
    """Raise `BadInput` unless this is a key in base64."""
    if not key_bytes(text):
        raise BadInput(f"{what}: not 32 bytes in base64")


def check_agent(text: str, *, what: str) -> None:
    """Raise `BadInput` unless this is an agent's id."""
    if not _AGENT.fullmatch(text):
        raise BadInput(f"{what}: {text[:40]!r} is no agent's id (26 letters and digits)")
