r"""Stage 6: an outcome, or a piece that goes ahead of it, on the wire: cut into parts, each signed by the agent, then sealed to the asker.

    part    = <head, one line of JSON> \n <slice of the outcome's JSON>
    frame   = <64-byte Ed25519 signature> <part>            (protocol.identity, kind "outcome")
    payload = 0x00 <frame>  |  0x01 <frame sealed to the action's sealto>     (protocol.sealing)

The head binds the slice to action, digest, agent, recipient, the whole outcome, and its place among the parts; one part
is the usual case.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.action import sealing_key
from investigator.protocol.codec import convert, strict_loads
from investigator.protocol.identity import OUTCOME, SIGNATURE_BYTES, BadFrame, Identity, agent_id, open_frame
from investigator.protocol.piece import Piece
from investigator.protocol.result import MAX_PIECES, NOT_FOR_AGENTS, Outcome
from investigator.protocol.sealing import NotSealedToUs, seal, unseal

MAX_PART_BYTES: Final = 256 * 1024
MAX_PARTS: Final = 256
MAX_OUTCOME_BYTES: Final = MAX_PARTS * MAX_PART_BYTES
MAX_ANSWERS_AT_A_TIME: Final = 4
"""Of one agent, of which some parts are still missing."""
_PLAIN: Final = b"\x00"
_SEALED: Final = b"\x01"


class Head(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The first line of every part: what the slice after it belongs to."""

    action: str
    digest: str
    agent: str
    key: str
    """Base64 of the agent's Ed25519 public key, which its id is derived from."""
    sealto: str | None
    whole: str
    """SHA-256 of the outcome's JSON, in lower hexadecimal: the parts of two outcomes never mix."""
    part: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)] = 1
    parts: Annotated[int, msgspec.Meta(ge=1, le=MAX_PARTS)] = 1


def pack(told: Outcome | Piece, identity: Identity, *, action: str, digest: str, sealto: str | None) -> Iterator[bytes]:
    """The payloads that tell an outcome or a piece, to be published in any order, made one at a time; a piece is one payload.

    Raises:
        BadInput: it is larger than all parts together; the caller says so to the asker instead.
    """
    document = msgspec.json.encode(told)  # not orjson: findings that are JSON text already are copied as they are
    most = MAX_PART_BYTES if isinstance(told, Piece) else MAX_OUTCOME_BYTES
    if len(document) > most:
        raise BadInput(f"result of {len(document):,} bytes; {most:,} at most")
    whole = hashlib.sha256(document).hexdigest()
    starts = range(0, len(document), MAX_PART_BYTES)
    for number, start in enumerate(starts, start=1):
        head = Head(
            action=action,
            digest=digest,
            agent=identity.id,
            key=base64.b64encode(identity.public_key).decode(),
            sealto=sealto,
            whole=whole,
            part=number,
            parts=len(starts),
        )
        frame = identity.frame(
            OUTCOME, orjson.dumps(msgspec.to_builtins(head)) + b"\n" + document[start : start + MAX_PART_BYTES]
        )
        if sealto is None:
            yield _PLAIN + frame
        else:
            yield _SEALED + seal(sealing_key(sealto), frame, context=_context(action, identity.id))


def unpack(payload: bytes, *, action: str, agent: str, private_key: bytes | None) -> tuple[Head, bytes]:
    """One part's head and slice, from a payload that came on the subject of this action and agent, opened and verified.

    Raises:
        NotSealedToUs: another console's.
        BadFrame: not signed by this agent, or about something else than the subject says.
        BadInput: its shape is none.
    """
    kind, frame = payload[:1], payload[1:]
    if kind == _SEALED:
        if private_key is None:
            raise NotSealedToUs("a sealed result, and this console has no key to open it")
        frame = unseal(private_key, frame, context=_context(action, agent))
    elif kind != _PLAIN:
        raise BadInput("result: neither plain nor sealed")
    head, piece = _split(frame[SIGNATURE_BYTES:])
    try:
        key = base64.b64decode(head.key, validate=True)
    except ValueError:
        key = b""
    if agent_id(key) != agent or head.agent != agent or head.action != action:
        raise BadFrame(f"a result of {agent} that speaks for another agent or action")
    if (kind == _SEALED) != (head.sealto is not None):
        raise BadFrame(f"a result of {agent} that is not sealed as it says")
    open_frame(OUTCOME, frame, key)
    return head, piece


def _split(part: bytes) -> tuple[Head, bytes]:
    line, newline, piece = part.partition(b"\n")
    if not newline:
        raise BadInput("result: a part without a head")
    return convert(strict_loads(line, what="result", max_bytes=4096), Head, what="result"), piece


def alone(head: Head, piece: bytes) -> Outcome | None:
    """The outcome that this part is all of; None for everything that an `Assembly` is for.

    Raises:
        BadInput: it is none, or another than the head says.
    """
    if head.parts != 1 or len(piece) > MAX_PART_BYTES:
        return None
    if hashlib.sha256(piece).hexdigest() != head.whole:
        raise BadInput("result: parts that do not make the whole")
    told = decode(piece)
    return told if isinstance(told, Outcome) else None


@dataclass(slots=True)
class Assembly:
    """The parts of one agent's outcomes of one action, as they come, in any order and any number of times."""

    parts: dict[tuple[str, str, int], dict[int, bytes]] = field(default_factory=dict)
    complete: set[str] = field(default_factory=set)
    """The wholes that were given out: their parts come again from the stream, and are not put together again."""
    pieces: int = 0
    piece_bytes: int = 0

    def add(self, head: Head, piece: bytes) -> Outcome | Piece | None:
        """The outcome, when its last missing part is here, or a piece; None before, and for what was given out already.

        An agent may send several outcomes (a refusal of a copy, then the answer): parts belong together by the digest,
        the whole and the count that they name.

        Raises:
            BadInput: the parts together are no outcome, or more than is kept.
        """
        if len(piece) > MAX_PART_BYTES or head.part > head.parts:
            raise BadInput("result: a part that cannot be")
        if head.whole in self.complete:
            return None
        key = (head.digest, head.whole, head.parts)
        if key not in self.parts and len(self.parts) >= MAX_ANSWERS_AT_A_TIME:
            raise BadInput("result: parts of too many different answers")
        kept = self.parts.setdefault(key, {})
        kept[head.part] = piece
        if len(kept) < head.parts:
            return None
        del self.parts[key]
        document = b"".join(kept[number] for number in sorted(kept))
        if hashlib.sha256(document).hexdigest() != head.whole:
            raise BadInput("result: parts that do not make the whole")
        told = decode(document)
        if isinstance(told, Piece):
            self._take_in(head, len(document))
        self.complete.add(head.whole)
        return told

    def lacking(self) -> tuple[int, int] | None:
        """Of the answer of which the most parts came without making it whole: how many are missing, of how many; else None."""
        came = [(len(kept), parts) for (_, _, parts), kept in self.parts.items()]
        if not came:
            return None
        most, parts = max(came)
        return parts - most, parts

    def _take_in(self, head: Head, size: int) -> None:
        """Count a piece, against an agent that would fill the console."""
        if head.parts != 1:
            raise BadInput("result: a piece in several parts")
        if self.pieces >= MAX_PIECES or self.piece_bytes + size > MAX_OUTCOME_BYTES:
            raise BadInput(f"result: more pieces than {MAX_PIECES:,}, or than {MAX_OUTCOME_BYTES:,} bytes of them")
        self.pieces += 1
        self.piece_bytes += size


def decode(document: bytes) -> Outcome | Piece:
    """An outcome, from its slices put together in order, or a piece, which alone has an `operation`.

    Raises:
        BadInput: it is neither.
    """
    value = strict_loads(document, what="result", max_bytes=MAX_OUTCOME_BYTES)
    if isinstance(value, dict) and "operation" in value:
        return convert(value, Piece, what="result")
    outcome = convert(value, Outcome, what="result")
    if outcome.state in NOT_FOR_AGENTS:
        raise BadInput(f"result: an agent cannot say {outcome.state!r} of itself")
    if sum(outcome.pieces) > MAX_PIECES:
        raise BadInput(f"result: an outcome of more than {MAX_PIECES:,} pieces")
    return outcome


def _context(action: str, agent: str) -> bytes:
    return f"investigator/1 outcome {action} {agent}".encode()
