"""Whoever is told how an investigation goes: `render` has those that show it, a library may bring its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from investigator.protocol.action import Action
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, State

Shown = State | Literal["working"]
"""What an agent is shown as: its state, or that it had none yet when the investigation was cut short."""


@dataclass(frozen=True, slots=True)
class Summary:
    """An investigation that is over."""

    action: str
    targeted: int
    states: dict[State, int]
    elapsed_s: float
    working: int = 0
    """Agents that had no state yet when it was cut short: after Ctrl-C, or when the broker went away."""
    interrupted: bool = False
    dropped: int = 0
    """Answers that did not verify."""
    sealed: int = 0
    """Agents whose answers are sealed to another key than is at hand; they have no state here."""


class Audience(Protocol):
    """Whoever shows an investigation; the calls come in this order, `outcome` once per agent, when it is final."""

    def started(self, action: Action, *, targeted: int, expected: int) -> None:
        """It was published; an answer is expected of so many of the targeted."""

    def piece(self, agent: str, name: str, piece: Piece) -> bool:
        """Findings of an agent that is not final yet. True: they were shown, and its outcome comes without them."""

    def outcome(
        self, agent: str, name: str, state: Shown, outcome: Outcome | None, *, unfinished: bool = False
    ) -> None:
        """An agent's final state; the outcome is None where it said nothing.

        `unfinished`: some of its answer came, and not all of it. One that had no state yet is told only if some came.
        """

    async def room(self) -> None:
        """Return when more can be told; asked between batches of answers, which wait where their number has a bound."""

    def progress(self, *, targeted: int, answered: int, found: int, failed: int, elapsed_s: float) -> None:
        """How it stands."""

    def summary(self, summary: Summary) -> None:
        """It is over."""

    def warn(self, text: str) -> None:
        """Something that the person who asks should know."""


class Unmoved:
    """An audience that shows nothing and hands on the warnings; others change what they care for."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn

    def started(self, action: Action, *, targeted: int, expected: int) -> None:
        """Not shown."""

    def piece(self, agent: str, name: str, piece: Piece) -> bool:  # noqa: ARG002 - the audience's
        """Not shown: the outcome comes whole."""
        return False

    def outcome(
        self, agent: str, name: str, state: Shown, outcome: Outcome | None, *, unfinished: bool = False
    ) -> None:
        """Not shown."""

    async def room(self) -> None:
        """There always is: nothing is kept here."""

    def progress(self, *, targeted: int, answered: int, found: int, failed: int, elapsed_s: float) -> None:
        """Not shown."""

    def summary(self, summary: Summary) -> None:
        """Not shown."""

    def warn(self, text: str) -> None:
        """Handed on."""
        self._warn(text)
