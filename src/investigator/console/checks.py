"""Stage 7, the checks that cost time whoever makes them: signatures, and boxes to open. Pure; `checker` makes them in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import orjson

from investigator.errors import BadInput, InvestigatorError, Refused
from investigator.protocol.answer import Head, alone, unpack
from investigator.protocol.facts import decode_facts, decode_heartbeat
from investigator.protocol.identity import BadFrame
from investigator.protocol.result import Outcome
from investigator.protocol.sealing import NotSealedToUs


class Answers(msgspec.Struct, frozen=True, tag="answers", array_like=True):
    """Payloads of results, to be opened and verified."""

    action: str
    private_key: bytes | None
    items: list[tuple[str, bytes]]
    """(agent id, payload) each."""


class FactsFrames(msgspec.Struct, frozen=True, tag="facts", array_like=True):
    """Frames of facts."""

    items: list[tuple[str, bytes]]
    """(agent id, frame) each."""


class Heartbeats(msgspec.Struct, frozen=True, tag="heartbeats", array_like=True):
    """Frames of heartbeats."""

    items: list[tuple[bytes, bytes]]
    """(the agent's public key, frame) each."""


Work = Answers | FactsFrames | Heartbeats


class Checked(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What became of one item."""

    content: bytes = b""
    """The JSON of facts or of a heartbeat, verified; of an answer that is not told by one part alone, this part's slice."""
    code: str = ""
    problem: str = ""
    head: Head | None = None
    """Of an answer's part."""
    told: Outcome | None = None
    """What an answer of one part says: whoever asked gets it decoded, and has nothing to do but to count it."""

    def error(self) -> InvestigatorError | None:
        """What the check raised."""
        if not self.problem:
            return None
        return _ERRORS.get(self.code, Refused)(self.problem)


_ERRORS: dict[str, type[InvestigatorError]] = {each.code: each for each in (BadFrame, BadInput, NotSealedToUs)}


def check(work: Work) -> list[Checked]:
    """Make the checks, in order; a failed one is told in its place."""
    match work:
        case Answers():
            return _each(work.items, lambda agent, payload: _answer(work, agent, payload))
        case FactsFrames():
            return _each(work.items, lambda agent, frame: _written(decode_facts(frame, agent=agent)[0]))
        case Heartbeats():
            return _each(work.items, lambda key, frame: _written(decode_heartbeat(frame, key)))


def split(work: Work, at_most: int) -> list[Work]:
    """The same in portions, in order."""
    return [
        msgspec.structs.replace(work, items=work.items[start : start + at_most])
        for start in range(0, len(work.items), at_most)
    ]


def _each(items: Sequence[tuple[Any, bytes]], one: Callable[[Any, bytes], Checked]) -> list[Checked]:
    return [_one(key, item, one) for key, item in items]


def _one(key: Any, item: bytes, one: Callable[[Any, bytes], Checked]) -> Checked:
    try:
        return one(key, item)
    except (Refused, BadInput) as error:
        return Checked(b"", error.code, str(error) or error.code)


def _answer(work: Answers, agent: str, payload: bytes) -> Checked:
    head, piece = unpack(payload, action=work.action, agent=agent, private_key=work.private_key)
    told = alone(head, piece)
    return Checked(b"" if told is not None else piece, head=head, told=told)


def _written(value: object) -> Checked:
    return Checked(orjson.dumps(msgspec.to_builtins(value)))
