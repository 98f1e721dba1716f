"""Stage 7: what comes back is opened, checked, counted, until the investigation is over."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.broker.problems import NotPermittedError
from investigator.errors import BadInput, BrokerError, DeploymentError, Refused
from investigator.protocol.action import Action, utc
from investigator.protocol.answer import Assembly, unpack
from investigator.protocol.identity import BadFrame
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome
from investigator.protocol.subjects import ALL_HEARTBEATS, RESULTS, results_of
from investigator.protocol.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from investigator.broker.connection import Broker, Message
    from investigator.console.inventory import Host, Inventory
    from investigator.console.store import Store
    from investigator.protocol.answer import Head
    from investigator.protocol.piece import Place
    from investigator.protocol.result import State

GRACE_S: Final = 5.0
"""How long after its expiry an action's last answers are awaited: what was killed at expiry still says so."""
READ_STREAM_EVERY_S: Final = 2.0
GIVE_UP_ON_BROKER_S: Final = 30.0
MAX_DROPPED_TOLD: Final = 5


@dataclass(slots=True)
class Collection:
    """One investigation as its answers come in."""

    action: Action
    digest: str
    envelope: str
    """SHA-256 of the envelope as it was published."""
    broker: Broker
    store: Store
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
    on_piece: Callable[[str, str, Piece], bool] = lambda _agent, _name, _piece: False
    """Called with agent id, name and findings that came ahead of an outcome; where it is true, the outcome comes without them."""
    on_broker_back: Callable[[], Awaitable[None]] | None = None
    """Called when the broker was away and is back, and again while it raises `BrokerError`."""
    tally: Tally = field(init=False)
    seen_since: set[str] = field(default_factory=set)
    dropped: int = 0
    store_problem: DeploymentError | None = None
    """Why answers are not kept any more."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _assemblies: dict[str, Assembly] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _shown: dict[str, set[Place]] = field(default_factory=dict)
    _taken: set[bytes] = field(default_factory=set)
    _last_sequence: int = 0
    _unkept: list[tuple[str, bytes]] = field(default_factory=list)
    _unread: bool = False
    """Whether the broker did not answer when the stream was read last."""
    _came_back: bool = False

    def __post_init__(self) -> None:
        """Expect an answer of every targeted agent."""
        self.tally = Tally({host.id: host.name for host in self.targeted})

    async def listen(self) -> None:
        """Subscribe before the action goes out: the first answers come within milliseconds."""
        await self.broker.subscribe(results_of(self.action.id), self._on_answer)
        await self.broker.subscribe(ALL_HEARTBEATS, self._on_heartbeat)
        await self.broker.flush()

    async def until_over(self, *, awaited: set[str], wait: bool, tick: Callable[[], None]) -> None:
        """Collect until every awaited agent is final (with `wait`: every targeted one, else to the end of its life).

        Raises:
            BrokerError: the broker went away and did not come back; what had arrived is counted and kept.
        """
        deadline_s = self.action.expireafter.timestamp() + GRACE_S
        everyone = set(self.tally.targeted)
        next_read_s, lost_s = time.monotonic() + READ_STREAM_EVERY_S, None
        while True:
            missing = self.tally.waiting(everyone if wait else {agent for agent in awaited if not self._stopped(agent)})
            if not missing:
                return
            if time.time() >= deadline_s:
                await self.read_stream()
                return
            lost_s = self._watch_broker(lost_s)
            if time.monotonic() >= next_read_s and self.broker.is_connected:
                await self.read_stream()
                await self._tell_it_came_back()
                next_read_s = time.monotonic() + READ_STREAM_EVERY_S
            await self._keep()
            tick()
            self.changed.clear()
            try:
                async with asyncio.timeout(0.2):
                    await self.changed.wait()
            except TimeoutError:
                pass

    def states(self) -> dict[str, State]:
        """The state of every agent, as if nothing more came."""
        return self.tally.states(seen_since=self.seen_since)

    async def finish(self) -> None:
        """Keep what is not kept yet, what each agent came to, and the heads of the audits that heartbeats told meanwhile."""
        await self._keep()
        if self.store_problem is None:
            try:
                await self.store.keep_states(self.action.id, self.states())
                await self.store.keep_heads(self.inventory.heads())
            except DeploymentError as error:
                self._store_failed(error)

    def _stopped(self, agent: str) -> bool:
        host = self.inventory.hosts.get(agent)
        return host is not None and host.stopped

    def _watch_broker(self, lost_s: float | None) -> float | None:
        if self.broker.is_connected and not self._unread:
            if lost_s is not None:
                self.on_warning("the broker is back")
                self._came_back = True
            return None
        if lost_s is None:
            self.on_warning("the broker went away; trying again")
            return time.monotonic()
        if time.monotonic() - lost_s > GIVE_UP_ON_BROKER_S:
            raise BrokerError(
                f"the broker went away for more than {GIVE_UP_ON_BROKER_S:.0f} s",
                hint="Agents keep their answers until it is back.",
            )
        return lost_s

    async def _tell_it_came_back(self) -> None:
        """Its store may be a new one: then what was read of the old one says nothing, and the action is not in it."""
        if not self._came_back or self._unread:
            return
        self._last_sequence = 0  # what was taken before is known by its bytes
        with contextlib.suppress(BrokerError):
            if self.on_broker_back is not None:
                await self.on_broker_back()
            self._came_back = False

    async def read_stream(self) -> None:
        """Take what the stream has and was not heard live; a broker that does not answer now may do so later.

        Raises:
            NotPermittedError: it never will.
        """
        try:
            async for stored in self.broker.read_stream(
                RESULTS, results_of(self.action.id), after_seq=self._last_sequence
            ):
                self._last_sequence = max(self._last_sequence, stored.sequence)
                self._take(stored.subject, stored.data)
            self._unread = False
        except NotPermittedError:
            raise
        except BrokerError as error:
            if not self._unread:
                self.on_warning(str(error))
            self._unread = True

    async def _keep(self) -> None:
        batch, self._unkept = self._unkept, []
        if batch and self.store_problem is None:
            try:
                await self.store.keep_answers(self.action.id, batch)
            except DeploymentError as error:
                self._store_failed(error)

    def _store_failed(self, error: DeploymentError) -> None:
        """A full disk here must not hide what the fleet says; the stream still has the answers."""
        self.store_problem = error
        self.on_warning(f"answers are shown and not kept: {error}")

    def _on_answer(self, message: Message) -> None:
        self._take(message.subject, message.data)

    def _on_heartbeat(self, message: Message) -> None:
        agent = message.subject.rpartition(".")[2]
        if not self.inventory.hear_heartbeat(agent, message.data, utc(time.time())):
            return
        if self.inventory.hosts[agent].stopped:
            self.seen_since.discard(agent)
            self.changed.set()
        else:
            self.seen_since.add(agent)

    def _take(self, subject: str, payload: bytes) -> None:
        """One payload, live or from the stream; what does not verify is dropped, counted and named."""
        agent = subject.rpartition(".")[2]
        mark = hashlib.sha256(payload).digest()
        if mark in self._taken:  # the stream repeats what was heard live; opening it again would cost as much
            return
        self._taken.add(mark)
        try:
            head, piece = unpack(payload, action=self.action.id, agent=agent, private_key=self.private_key)
            if self.cancel and head.digest != self.digest:
                self._take_refusal(agent, head, piece)
                return
            if head.digest != self.digest:
                # somebody published other bytes under this action's id, and the agent answered to those
                raise BadFrame("it answers other bytes than this action's")
            told = self._assemblies.setdefault(agent, Assembly()).add(head, piece)
            if told is not None:
                self._check(head, told)
        except (Refused, BadInput) as error:
            self._drop(agent, error)
            return
        self._unkept.append((agent, payload))
        self.seen_since.add(agent)
        if told is not None:
            self._count(agent, told)
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

    def _take_refusal(self, agent: str, head: Head, piece: bytes) -> None:
        outcome = self._assemblies.setdefault(agent, Assembly()).add(head, piece)
        if isinstance(outcome, Outcome) and outcome.state == "refused" and outcome.envelope in self.cancel:
            self.seen_since.add(agent)
            if self.on_cancel_refused is not None:
                self.on_cancel_refused(agent, outcome)
            self.changed.set()

    def name_of(self, agent: str) -> str:
        """As the inventory knows it, whatever an answer claims."""
        host = self.inventory.hosts.get(agent)
        return host.name if host is not None else self.tally.names().get(agent, agent)

    def _drop(self, agent: str, error: Exception) -> None:
        self.dropped += 1
        if self.dropped <= MAX_DROPPED_TOLD:
            self.on_warning(f"an answer in the name of {self.name_of(agent)} was dropped: {error}")


def awaited(targeted: list[Host], now: datetime) -> set[str]:
    """The agents that the investigation waits for: those seen within three of their heartbeats."""
    return {host.id for host in targeted if host.is_online(now)}
