"""Stage 7: a pure fold over what comes back, until every targeted agent is in exactly one state.

The same for any order and any repetition: for one agent found beats notfound, then failed or timeout (the later),
cancelled, refused; whoever said nothing is expired (seen since publication) or offline (not seen). An agent that sends its
findings in pieces is final when its outcome and all pieces that this names are there.

Of an agent that is final the findings can be let go (`release`): what remains of it is its state, so that a hundred thousand
answers cost no more memory than as many states do. Who wants the findings again has them in the store.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

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


class Said(NamedTuple):
    """What is kept of an agent's outcome for good; the order of two is the order in which outcomes beat each other.

    A total order, so that the fold gives the same whatever came first; a final answer is never made provisional.
    """

    rank: int
    final: bool
    """Not a refusal that says that the real outcome is on its way."""
    finished_s: float
    digest: bytes
    """SHA-256 of the outcome's JSON: it decides between two that differ in nothing else."""
    state: State
    name: str


@dataclass(slots=True)
class Tally:
    """The state of one action; `targeted` maps the ids of the agents that were expected to answer to their names."""

    targeted: Mapping[str, str]
    said: dict[str, Said] = field(default_factory=dict)
    """The best of what each agent said."""
    held: dict[str, Outcome] = field(default_factory=dict)
    """The same with its findings, of agents that were not released."""
    pieces: dict[str, dict[Place, Piece | None]] = field(default_factory=dict)
    """None: it is there, and was released."""
    _spoken_of: dict[str, list[int]] = field(default_factory=dict)
    """How many pieces of each operation an agent's outcome names, where it names any."""
    _released: set[str] = field(default_factory=set)
    _counts: Counter[State] = field(default_factory=Counter)

    def add(self, agent: str, outcome: Outcome) -> bool:
        """Count an outcome; true where it changes the agent's. An agent that was not expected counts like the others."""
        known, said = self.said.get(agent), _said(outcome)
        if known is not None:
            if said <= known:
                return False
            self._counts[known.state] -= 1
        self.said[agent] = said
        self._counts[said.state] += 1
        self._spoken_of.pop(agent, None)
        if any(outcome.pieces):
            self._spoken_of[agent] = outcome.pieces
        self._released.discard(agent)  # nobody was told of this one
        self.held[agent] = outcome
        return True

    def add_piece(self, agent: str, piece: Piece) -> bool:
        """Keep a piece of an agent's findings; true where it is a new one."""
        known = self.pieces.setdefault(agent, {})
        if agent in self._released:
            known.setdefault(piece.place, None)
            return False
        before = known.get(piece.place)
        if before is not None and before.order() <= piece.order():
            return False
        known[piece.place] = piece
        return True

    def release(self, agent: str) -> None:
        """Let go of what an agent found: it was told, and `whole` has it no more, until it says something better."""
        self._released.add(agent)
        self.held.pop(agent, None)
        if agent in self.pieces:
            self.pieces[agent] = dict.fromkeys(self.pieces[agent])

    def missing(self, agent: str) -> list[Place]:
        """The pieces that this agent's outcome speaks of, and that are not here."""
        spoken_of = self._spoken_of.get(agent)
        return missing(spoken_of, self.pieces.get(agent, ())) if spoken_of is not None else []

    def whole(self, agent: str, *, shown: Collection[Place] = ()) -> Outcome | None:
        """What an agent said, with the findings of its pieces but those `shown`; of one without an outcome these alone.

        None: it said nothing, or was released.
        """
        pieces = {place: piece for place, piece in self.pieces.get(agent, {}).items() if piece is not None}
        outcome = self.held.get(agent)
        if outcome is None:
            if not pieces:
                return None
            outcome = Outcome(state="expired", name=self.name(agent), reason="it began to answer, and never ended")
        return whole(outcome, pieces, shown=shown)

    def is_final(self, agent: str) -> bool:
        """Whether nothing more is awaited from this agent."""
        said = self.said.get(agent)
        return said is not None and said.final and not self.missing(agent)

    def waiting(self, among: Collection[str]) -> set[str]:
        """Those of these agents that are not final yet."""
        return {agent for agent in among if not self.is_final(agent)}

    def name(self, agent: str) -> str:
        """As it was expected; else as it calls itself."""
        said = self.said.get(agent)
        return self.targeted.get(agent) or (said.name if said is not None else agent)

    def agents(self) -> set[str]:
        """Every agent that was expected or that answered."""
        return {*self.targeted, *self.said, *self.pieces}

    def names(self) -> dict[str, str]:
        """The same, id to name."""
        return {agent: self.name(agent) for agent in self.agents()}

    def states(self, *, seen_since: Collection[str] = ()) -> dict[str, State]:
        """The state of each agent, as if nothing more came; `seen_since` are those seen after publication."""
        return {
            agent: said.state
            if (said := self.said.get(agent)) is not None
            else ("expired" if agent in seen_since or agent in self.pieces else "offline")
            for agent in self.agents()
        }

    def counts(self, *, seen_since: Collection[str] = ()) -> dict[State, int]:
        """How many agents are in each state; see `count`."""
        return count(self.states(seen_since=seen_since).values())

    def answered(self) -> dict[State, int]:
        """The same of those alone that said something; it costs nothing, however many they are."""
        return {state: self._counts[state] for state in STATES if self._counts[state]}


def count(states: Iterable[State]) -> dict[State, int]:
    """How many of each, in the order of `STATES`, without the zeros."""
    counted = Counter(states)
    return {state: counted[state] for state in STATES if counted[state]}


def _said(outcome: Outcome) -> Said:
    return Said(
        rank=_RANK[outcome.state],
        final=not (outcome.state == "refused" and outcome.code in PROVISIONAL_CODES),
        finished_s=outcome.finished_s,
        digest=hashlib.sha256(orjson.dumps(msgspec.to_builtins(outcome))).digest(),
        state=outcome.state,
        name=outcome.name,
    )
