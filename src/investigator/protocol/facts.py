"""What agents say about themselves: the full row (facts), and the small heartbeat that says it still holds.

Both are frames of `identity`. Facts carry the key, so that the id can be checked; a heartbeat is at most 200 bytes.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Annotated, Any, Final

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.audit import HEAD_DIGITS, MAX_COUNT
from investigator.protocol.codec import convert, strict_loads
from investigator.protocol.identity import FACTS, HEARTBEAT, BadFrame, Identity, agent_id, open_frame
from investigator.protocol.token import Machine, Proof, SignedSuccession

MAX_FACTS_BYTES: Final = 64 * 1024
MAX_HEARTBEAT_BYTES: Final = 200


class Facts(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """An agent's row of the agents table, its key, and how often it sends heartbeats."""

    key: str
    row: dict[str, Any]
    heartbeat_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)]
    machine: Machine = ""
    """Where it runs, see `token.machine_mark`."""
    proof: Proof | None = None
    """That it was enrolled by a token."""
    succession: SignedSuccession | None = None
    """Whose state it was before, on another machine."""

    @property
    def public_key(self) -> bytes:
        """The 32 bytes of `key`."""
        try:
            return base64.b64decode(self.key, validate=True)
        except ValueError:
            return b""


class Heartbeat(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, gc=False):
    """Short names, since every agent sends one a minute."""

    t: float
    """The agent's clock, seconds since 1970, to the millisecond: of two in one second, too, one is the later."""
    f: str
    """The first 16 hexadecimal digits of SHA-256 of the facts' body: another than ours means that facts changed."""
    s: int = 0
    """The stream sequence of the last action seen."""
    r: int = 0
    """Refusals that were counted instead of answered: too many of what no trusted key signed, or said before."""
    n: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)] = 0
    """The number of lines in the host's audit."""
    h: Annotated[str, msgspec.Meta(pattern=f"^([0-9a-f]{{{HEAD_DIGITS}}})?\\Z")] = ""
    """The first hexadecimal digits of SHA-256 of the newest of them, which stands for all of them."""
    x: bool = False
    """The agent is stopping: from now on it is offline."""


def facts_digest(body: bytes) -> str:
    """What a heartbeat's `f` says of these facts."""
    return hashlib.sha256(body).hexdigest()[:16]


def encode_facts(
    identity: Identity,
    row: dict[str, Any],
    *,
    heartbeat_s: float,
    machine: str = "",
    proof: Proof | None = None,
    succession: SignedSuccession | None = None,
) -> tuple[bytes, str]:
    """The frame, and the digest for heartbeats.

    Raises:
        BadInput: the row is larger than consoles take.
    """
    key = base64.b64encode(identity.public_key).decode()
    document: dict[str, Any] = {"key": key, "row": row, "heartbeat_s": heartbeat_s}
    if machine:
        document["machine"] = machine
    for name, value in (("proof", proof), ("succession", succession)):
        if value is not None:
            document[name] = msgspec.to_builtins(value)
    body = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    if len(body) > MAX_FACTS_BYTES:
        raise BadInput(f"facts of {len(body):,} bytes; {MAX_FACTS_BYTES:,} at most")
    return identity.frame(FACTS, body), facts_digest(body)


def decode_facts(frame: bytes, *, agent: str) -> tuple[Facts, str]:
    """The facts that this agent itself signed, and their digest.

    Raises:
        BadInput: their shape is none.
        BadFrame: another agent's, or not signed by the key that the id is derived from.
    """
    body = frame[64:]
    facts = convert(strict_loads(body, what="facts", max_bytes=MAX_FACTS_BYTES), Facts, what="facts")
    if agent_id(facts.public_key) != agent:
        raise BadFrame(f"facts of {agent} with a key that is not its own")
    open_frame(FACTS, frame, facts.public_key)
    if facts.row.get("id") != agent:
        raise BadFrame(f"facts of {agent} that claim another id")
    return facts, facts_digest(body)


def encode_heartbeat(identity: Identity, heartbeat: Heartbeat) -> bytes:
    """The frame for the wire."""
    return identity.frame(HEARTBEAT, orjson.dumps(msgspec.to_builtins(heartbeat)))


def decode_heartbeat(frame: bytes, public_key: bytes) -> Heartbeat:
    """A heartbeat that the holder of this key signed.

    Raises:
        BadInput: its shape is none.
        BadFrame: somebody else's.
    """
    body = open_frame(HEARTBEAT, frame, public_key)
    return convert(strict_loads(body, what="heartbeat", max_bytes=MAX_HEARTBEAT_BYTES), Heartbeat, what="heartbeat")
