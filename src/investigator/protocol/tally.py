"""Stage 7: a pure fold over what comes back, until every targeted agent is in exactly one state.

The same for any order and any repetition: for one agent found beats notfound, then failed or timeout (the later),
cancelled, refused; whoever said nothing is expired (seen since publication) or offline (not seen). An agent that sends its
findings in pieces is final when its outcome and all pieces that this names are there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from investigator.protocol.piece import missing, whole
from investigator.protocol.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from investigator.protocol.piece import Piece, Place
    from investigator.protocol.result import State

STATES: Final[tuple[State, ...]] = (
    "found",
    "notfound",
    "failed",
    "timeout",
    "cancelled",
    "refused",
    "expired",
    "offline",
)
_RANK: Final[dict[State, int]] = {
    "found": 6,
    "notfound": 5,
    "failed": 4,
    "timeout": 4,
    "cancelled": 3,
    "refused": 2,
    "expired": 1,
    "offline": 0,
}
PROVISIONAL_CODES: Final = frozenset(("replayed",))
"""A refusal with such a code says that the agent has the action already: its real outcome is there or on its way."""


@dataclass(slots=True)
class Tally:
    """The state of one action; `targeted` maps the ids of the agents that were expected to answer to their names."""

    targeted: Mapping[str, str]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    pieces: dict[str, dict[Place, Piece]] = field(default_factory=dict)

    def add(self, agent: str, outcome: Outcome) -> bool:
        """Count an outcome; true where it changes the agent's. An agent that was not expected counts like the others."""
        known = self.outcomes.get(agent)
        if known is not None and _order(outcome) <= _order(known):
            return False
        self.outcomes[agent] = outcome
        return True

    def add_piece(self, agent: str, piece: Piece) -> bool:
        """Keep a piece of an agent's findings; true where it is a new one."""
        known = self.pieces.setdefault(agent, {})
        before = known.get(piece.place)
        if before is not None and before.order() <= piece.order():
            return False
        known[piece.place] = piece
        return True

    def missing(self, agent: str) -> list[Place]:
        """The pieces that this agent's outcome speaks of, and that are not here."""
        outcome = self.outcomes.get(agent)
        return missing(outcome, self.pieces.get(agent, ())) if outcome is not None else []

    def whole(self, agent: str, *, shown: Collection[Place] = ()) -> Outcome | None:
        """What an agent said, with the findings of its pieces but those `shown`; of one without an outcome these alone."""
        outcome, pieces = self.outcomes.get(agent), self.pieces.get(agent, {})
        if outcome is None:
            if not pieces:
                return None
            outcome = Outcome(state="expired", name=self.names()[agent], reason="it began to answer, and never ended")
        return whole(outcome, pieces, shown=shown)

    def is_final(self, agent: str) -> bool:
        """Whether nothing more is awaited from this agent."""
        outcome = self.outcomes.get(agent)
        return outcome is not None and not _is_provisional(outcome) and not self.missing(agent)

    def waiting(self, among: Collection[str]) -> set[str]:
        """Those of these agents that are not final yet."""
        return {agent for agent in among if not self.is_final(agent)}

    def names(self) -> dict[str, str]:
        """Every agent that was expected or that answered, id to name."""
        answered = {agent: outcome.name for agent, outcome in self.outcomes.items()}
        return {**{agent: agent for agent in self.pieces}, **answered, **self.targeted}

    def states(self, *, seen_since: Collection[str] = ()) -> dict[str, State]:
        """The state of each agent, as if nothing more came; `seen_since` are those seen after publication."""
        return {
            agent: outcome.state
            if (outcome := self.outcomes.get(agent)) is not None
            else ("expired" if agent in seen_since or agent in self.pieces else "offline")
            for agent in self.names()
        }

    def counts(self, *, seen_since: Collection[str] = ()) -> dict[State, int]:
        """How many agents are in each state; see `count`."""
        return count(self.states(seen_since=seen_since).values())


def count(states: Iterable[State]) -> dict[State, int]:
    """How many of each, in the order of `STATES`, without the zeros."""
    counted = Counter(states)
    return {state: counted[state] for state in STATES if counted[state]}


def _is_provisional(outcome: Outcome) -> bool:
    return outcome.state == "refused" and outcome.code in PROVISIONAL_CODES


def _order(outcome: Outcome) -> tuple[int, bool, float, bytes]:
    """A total order, so that the fold gives the same whatever came first; a final answer is never made provisional."""
    return (
        _RANK[outcome.state],
        not _is_provisional(outcome),
        outcome.finished_s,
        orjson.dumps(msgspec.to_builtins(outcome)),
    )
