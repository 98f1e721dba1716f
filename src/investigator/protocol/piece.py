"""Stage 6, before the end: findings that an agent hands on while an operation still runs, and how they become one result.

A piece is no state of the agent. Its final outcome says how many pieces of each operation there are, so that what is
missing is waited for, and named if it never comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import orjson

from investigator.protocol.result import MAX_OPERATIONS, MAX_PIECES, Outcome, Result

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

MAX_NUMBERS_NAMED: Final = 20
Place = tuple[int, int]
"""An operation's place in the action, from 0, and a piece's number in it, from 1."""


class Piece(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Findings of one operation that still ran when they were sent."""

    operation: Annotated[int, msgspec.Meta(ge=0, lt=MAX_OPERATIONS)]
    number: Annotated[int, msgspec.Meta(ge=1, le=MAX_PIECES)]
    elements: Any

    @property
    def place(self) -> Place:
        """What no other piece of an honest agent has."""
        return self.operation, self.number

    def order(self) -> bytes:
        """What decides between two pieces for one place, whichever came first."""
        return orjson.dumps(self.elements)


def missing(spoken_of: Sequence[int], places: Collection[Place]) -> list[Place]:
    """The pieces that an outcome speaks of (`Outcome.pieces`) and that are not among these."""
    return [
        (operation, number)
        for operation, count in enumerate(spoken_of)
        for number in range(1, count + 1)
        if (operation, number) not in places
    ]


def whole(outcome: Outcome, pieces: Mapping[Place, Piece], *, shown: Collection[Place] = ()) -> Outcome:
    """The outcome with the pieces' findings in its results, and in their errors which are missing.

    More pieces than it speaks of count too: they are findings, whatever became of the rest. Those in `shown` are left out, for
    whoever has seen them already.
    """
    if not pieces and not any(outcome.pieces):
        return outcome
    lacks = missing(outcome.pieces, pieces)
    of: dict[int, list[Piece]] = {}
    for place in sorted(pieces):
        of.setdefault(place[0], []).append(pieces[place])
    count = max(len(outcome.results), *(operation + 1 for operation in [*of, *(place[0] for place in lacks)]), 0)
    results = [*outcome.results, *(Result() for _ in range(count - len(outcome.results)))]
    return msgspec.structs.replace(
        outcome,
        results=[
            _with_pieces(result, of.get(at, []), [number for operation, number in lacks if operation == at], shown)
            for at, result in enumerate(results)
        ],
    )


def _with_pieces(result: Result, pieces: Sequence[Piece], lacks: Sequence[int], shown: Collection[Place]) -> Result:
    if not pieces and not lacks:
        return result
    elements, notes = None, []
    for part in [*(piece.elements for piece in pieces if piece.place not in shown), result.elements]:
        try:
            elements = joined(elements, part)
        except ValueError:
            notes = ["warning: some findings do not fit those before them, and are left out"]
    if lacks:
        numbers = ", ".join(map(str, lacks[:MAX_NUMBERS_NAMED])) + (", …" if len(lacks) > MAX_NUMBERS_NAMED else "")
        notes.append(f"warning: findings are missing: {len(lacks)} pieces did not arrive (number {numbers})")
    return Result(
        foundanything=result.foundanything or bool(pieces),  # only what was found is handed on
        success=result.success,
        elements=elements,
        statistics=result.statistics,
        errors=[*(result.errors or []), *notes] or None,
    )


def joined(one: Any, other: Any) -> Any:
    """Two values of findings as one: lists are appended, objects joined key by key, null is nothing.

    `one` is taken over and may change; `other` never does.

    Raises:
        ValueError: they are not of one shape.
    """
    if other is None:
        return one
    if isinstance(other, dict) and (one is None or isinstance(one, dict)):
        members = one if one is not None else {}
        for key, value in other.items():
            members[key] = joined(members.get(key), value)
        return members
    if isinstance(other, list) and (one is None or isinstance(one, list)):
        items = one if one is not None else []
        items.extend(other)
        return items
    if one is None or one == other:
        return other
    raise ValueError("not of one shape")
