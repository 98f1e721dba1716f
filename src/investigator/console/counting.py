"""Stage 7, what answers say once they are verified: checked against what was asked, counted, and told to whoever shows them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.errors import BadInput, Refused
from investigator.protocol.action import Action, sealing_key
from investigator.protocol.answer import Assembly
from investigator.protocol.identity import BadFrame
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome
from investigator.protocol.sealing import NotSealedToUs, public_sealing_key
from investigator.protocol.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from investigator.console.checks import Checked
    from investigator.console.enrolled import Enrolled
    from investigator.console.inventory import Host, Inventory
    from investigator.protocol.answer import Head
    from investigator.protocol.piece import Place
    from investigator.protocol.result import State

MAX_DROPPED_TOLD: Final = 5


@dataclass(frozen=True, slots=True)
class Relay:
    """For who passes on what others open."""

    on_payload: Callable[[str, str, bytes], None]
    """Called with agent id, name, and payload as it came."""
    settled_after_s: float = 2.0
    """Whether a sealed answer has more parts nobody can tell who cannot open it: after so much silence it is awaited no longer."""


@dataclass(slots=True, kw_only=True)
class Counting:
    """One investigation's answers as they count, wherever they come from."""

    action: Action
    digest: str
    envelope: str
    """SHA-256 of the envelope as it was published."""
    inventory: Inventory
    targeted: list[Host]
    private_key: bytes | None
    on_outcome: Callable[[str, str, Outcome], None]
    """Called with agent id, name and outcome, once per agent, when it is final."""
    on_warning: Callable[[str], None]
    cancel: frozenset[str] = frozenset()
    """SHA-256 of the envelope of a cancel of this action, with and without the action: its refusals are awaited too."""
    on_cancel_refused: Callable[[str, Outcome], None] | None = None
    """Called with agent id and outcome for each agent that refuses it."""
    enrolled: Enrolled | None = None
    """Whose answers count; without it, everybody's."""
    on_piece: Callable[[str, str, Piece], bool] = lambda _agent, _name, _piece: False
    """Called with agent id, name and findings that came ahead of an outcome; where it is true, the outcome comes without them."""
    relay: Relay | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """Further agents that an answer is expected of, id to name: the inventory may have forgotten them."""
    vouched: Collection[str] = ()
    """Agents that were judged here when they were asked, and that the inventory has forgotten since."""
    tally: Tally = field(init=False)
    seen_since: set[str] = field(default_factory=set)
    dropped: int = 0
    sealed: set[str] = field(default_factory=set)
    """Agents that have answered, and whose answers are sealed to another key."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _assemblies: dict[str, Assembly] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _shown: dict[str, set[Place]] = field(default_factory=dict)
    _newest_sealed_s: float = 0.0
    _refusers: set[str] = field(default_factory=set)
    """Agents that refused the cancel, which is told once."""
    _unkept: list[tuple[str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Expect an answer of every targeted agent."""
        self.tally = Tally({**self.names, **{host.id: host.name for host in self.targeted}})

    @property
    def is_for_us(self) -> bool:
        """Whether the key that is at hand opens what this action's agents answer."""
        if self.action.sealto is None or self.private_key is None:
            return self.action.sealto is None
        return sealing_key(self.action.sealto) == public_sealing_key(self.private_key)

    def accept(self, agent: str, payload: bytes, part: Checked, *, kept: bool) -> None:
        """What was opened and verified, into the tally, to whoever shows it and to what the store is to keep."""
        try:
            problem = part.error()
            if problem is not None:
                raise problem
            head = part.head
            assert head is not None
            if self.cancel and head.digest != self.digest:
                self._take_refusal(agent, self._put_together(agent, head, part))
                return
            if head.digest != self.digest:
                # somebody published other bytes under this action's id, and the agent answered to those
                raise BadFrame("it answers other bytes than this action's")
            told = self._put_together(agent, head, part)
            if told is not None:
                self._check(head, told)
        except (Refused, BadInput) as error:
            if isinstance(error, NotSealedToUs) and not self.is_for_us:
                self._pass_on(agent, payload)
            else:
                self._drop(agent, error)
            return
        if not kept:
            self._unkept.append((agent, payload))
        if self.relay is not None:
            self.relay.on_payload(agent, self.name_of(agent), payload)
        self.seen_since.add(agent)
        if told is not None:
            self._count(agent, told)
        self.changed.set()

    def _put_together(self, agent: str, head: Head, part: Checked) -> Outcome | Piece | None:
        """What is told, when all of it is there. Most answers are one part, and nothing is kept of them."""
        if part.told is not None:
            return part.told
        return self._assemblies.setdefault(agent, Assembly()).add(head, part.content)

    def _pass_on(self, agent: str, payload: bytes) -> None:
        """Sealed to somebody else, who will tell whether it is an answer at all."""
        self.sealed.add(agent)
        self.seen_since.add(agent)
        self._newest_sealed_s = time.monotonic()
        if self.relay is not None:
            self.relay.on_payload(agent, self.name_of(agent), payload)
        self.changed.set()

    def _check(self, head: Head, told: Outcome | Piece) -> None:
        """Raise BadFrame for what verifies, and is no answer to what was asked."""
        refusal = isinstance(told, Outcome) and told.state == "refused"
        # bytes that no trusted key signed are refused in the open: their `sealto` was not believed
        if head.sealto != self.action.sealto and not refusal:
            raise BadFrame("it is sealed to another key than was asked")
        if isinstance(told, Outcome) and refusal and told.envelope != self.envelope:
            raise BadFrame("it refuses a copy that was not sent from here")
        last = told.operation + 1 if isinstance(told, Piece) else len(told.pieces)
        if last > len(self.action.operations):
            raise BadFrame("it has findings of an operation that was not asked")

    def _count(self, agent: str, told: Outcome | Piece) -> None:
        """Into the tally; to whoever shows it, a piece at once and an outcome when nothing of it is missing."""
        if isinstance(told, Outcome):
            self.tally.add(agent, told)
        elif self.tally.add_piece(agent, told) and self.on_piece(agent, self.name_of(agent), told):
            self._shown.setdefault(agent, set()).add(told.place)
        outcome = self.unshown(agent) if self.tally.is_final(agent) and agent not in self._told else None
        if outcome is not None:
            self._told.add(agent)
            self.on_outcome(agent, self.name_of(agent), outcome)
            self._release(agent)

    def _release(self, agent: str) -> None:
        """Its findings were shown, and are in the store: nothing of them stays here."""
        self.tally.release(agent)
        self._shown.pop(agent, None)
        if (
            agent in self._assemblies and not self._assemblies[agent].parts
        ):  # of another answer, which may beat this one
            del self._assemblies[agent]

    def _take_refusal(self, agent: str, outcome: Outcome | Piece | None) -> None:
        if isinstance(outcome, Outcome) and outcome.state == "refused" and outcome.envelope in self.cancel:
            self.seen_since.add(agent)
            if self.on_cancel_refused is not None and agent not in self._refusers:
                self._refusers.add(agent)
                self.on_cancel_refused(agent, outcome)
            self.changed.set()

    def _settled(self) -> set[str]:
        """Agents of which nothing more is awaited here, though they are in no state."""
        if self.relay is None or time.monotonic() - self._newest_sealed_s < self.relay.settled_after_s:
            return set()
        return self.sealed

    def states(self) -> dict[str, State]:
        """The state of every agent, as if nothing more came."""
        return self.tally.states(seen_since=self.seen_since)

    def unshown(self, agent: str) -> Outcome | None:
        """What an agent said, without the findings that `on_piece` took."""
        return self.tally.whole(agent, shown=self._shown.get(agent, ()))

    def lacking(self, agent: str) -> str:
        """What of this agent's answer did not arrive, for people; empty where nothing is known to be missing."""
        pieces = len(self.tally.missing(agent))
        if pieces:
            return f"{pieces} pieces of its findings did not arrive"
        assembly = self._assemblies.get(agent)
        parts = assembly.lacking() if assembly is not None and not self.tally.is_final(agent) else None
        return f"{parts[0]} of {parts[1]} parts of its answer did not arrive" if parts is not None else ""

    def name_of(self, agent: str) -> str:
        """As the inventory knows it, whatever an answer claims."""
        host = self.inventory.hosts.get(agent)
        name = host.name if host is not None else self.tally.name(agent)
        disputed = bool(self._why_not(agent))
        return f"{name} ({agent})" if disputed and name != agent else name

    def _why_not(self, agent: str) -> str:
        host = self.inventory.hosts.get(agent)
        if self.enrolled is None or (host is None and agent in self.vouched):
            return ""
        return self.enrolled.why_not(host)

    def _drop(self, agent: str, error: Exception) -> None:
        self.dropped += 1
        if self.dropped <= MAX_DROPPED_TOLD:
            self.on_warning(f"an answer in the name of {self.name_of(agent)} was dropped: {error}")
