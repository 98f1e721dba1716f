"""Stage 6: what a module answers, and what an agent says about a whole action."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from investigator.protocol.codec import strict_loads

MAX_FINDINGS_BYTES: Final = 64 << 20
MAX_OPERATIONS: Final = 1000
PIECE_BYTES: Final = 256_000
"""When so many bytes of JSON are found, a module hands them over and goes on (`modules.interface.Context.hand_over`)."""
PIECE_FRAME_BYTES: Final = 256
"""At most, of a piece, around its findings."""
MAX_PIECE_BYTES: Final = (256 << 10) - PIECE_FRAME_BYTES
"""Of the findings in one piece, which then is one part of an answer."""
MAX_PIECES: Final = 1024
"""Of one agent for one action, whatever their size."""

if TYPE_CHECKING:
    from collections.abc import Sequence


class Result(msgspec.Struct, kw_only=True):
    """One operation's result: MIG's JSON, its five keys always present and in this order (MIG's modules contract).

    `elements` are findings (metadata, never content) in the module's own shape; `statistics` likewise, or None;
    `errors` are texts: soft ones, or with `success=False` the fatal one.
    """

    foundanything: bool = False
    success: bool = False
    elements: Any = None
    statistics: Any = None
    errors: list[str] | None = None

    def read(self) -> Result:
        """The same with its findings decoded, where an agent passes them on as the JSON text that its worker wrote.

        Raises:
            BadInput: they are no JSON.
        """
        return Result(
            foundanything=self.foundanything,
            success=self.success,
            elements=_read(self.elements),
            statistics=_read(self.statistics),
            errors=self.errors,
        )

    @classmethod
    def failed(cls, *errors: str) -> Result:
        """The result of an operation that could not be done."""
        return cls(errors=list(errors))


class UnreadResult(msgspec.Struct, kw_only=True):
    """A `Result` as JSON text: large findings, decoded, would cost an agent ten times their size in memory."""

    foundanything: bool = False
    success: bool = False
    elements: msgspec.Raw = msgspec.Raw(b"null")
    statistics: msgspec.Raw = msgspec.Raw(b"null")
    errors: list[str] | None = None

    def passed_on(self) -> Result:
        """The result to be encoded again, its findings untouched."""
        return Result(
            foundanything=self.foundanything,
            success=self.success,
            elements=self.elements,
            statistics=self.statistics,
            errors=self.errors,
        )


def _read(value: Any) -> Any:
    return (
        strict_loads(bytes(value), what="result", max_bytes=MAX_FINDINGS_BYTES)
        if isinstance(value, msgspec.Raw)
        else value
    )


State = Literal["found", "notfound", "failed", "timeout", "refused", "cancelled", "expired", "offline"]
"""What one targeted agent comes to; the last two are the console's to say, the others the agent's."""
NOT_FOR_AGENTS: Final[frozenset[State]] = frozenset(("expired", "offline"))


class Outcome(msgspec.Struct, kw_only=True, frozen=True):
    """What an agent says about one action: one state, and a result for each operation that ran."""

    state: State
    name: str
    """The agent's name, for people; the id is in the answer's head, bound to the key."""
    code: str = ""
    """Why it failed, timed out or was refused: docs/protocol.md lists the codes."""
    reason: str = ""
    envelope: str = ""
    """With a refusal, SHA-256 of the envelope that is refused: a copy with its signatures cut off has the action's digest
    too, and must not pass for the action's refusal."""
    results: list[Result] = []
    started_s: float = 0.0
    finished_s: float = 0.0
    """The agent's clock, seconds since 1970."""
    pieces: Annotated[
        list[Annotated[int, msgspec.Meta(ge=0, le=MAX_PIECES)]], msgspec.Meta(max_length=MAX_OPERATIONS)
    ] = []
    """How many pieces (`protocol.piece`) of each operation's findings went ahead; empty where there are none."""


def merged_state(results: Sequence[Result]) -> State:
    """The state of an agent that ran every operation to its end."""
    if any(not result.success for result in results):
        return "failed"
    return "found" if any(result.foundanything for result in results) else "notfound"
