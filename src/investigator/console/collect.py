"""Stage 7: what comes back is opened, checked, counted, until the investigation is over."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.broker.problems import NotPermittedError
from investigator.console.arrivals import Arrivals
from investigator.console.checkers import Checkers
from investigator.console.checks import Answers
from investigator.errors import BadInput, BrokerError, DeploymentError, Refused
from investigator.protocol.action import Action, sealing_key, utc
from investigator.protocol.answer import Assembly
from investigator.protocol.identity import BadFrame
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome
from investigator.protocol.sealing import NotSealedToUs, public_sealing_key
from investigator.protocol.subjects import (
    ALL_HEARTBEATS,
    FACTS,
    RESULTS,
    agent_routes,
    facts_subject,
    results_of,
    route_subject,
)
from investigator.protocol.tally import Tally

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
    from collections.abc import Collection as AnyOf
    from datetime import datetime

    from investigator.broker.connection import Broker, Message, Subscription
    from investigator.console.checks import Checked
    from investigator.console.enrolled import Enrolled
    from investigator.console.inventory import Host, Inventory
    from investigator.console.store import Store
    from investigator.protocol.answer import Head
    from investigator.protocol.piece import Place
    from investigator.protocol.result import State

Payloads = list[tuple[str, bytes]]
"""(agent id, payload) each."""
GRACE_S: Final = 5.0
"""How long after its expiry an action's last answers are awaited: what was killed at expiry still says so."""
READ_STREAM_EVERY_S: Final = 2.0
GIVE_UP_ON_BROKER_S: Final = 30.0
MAX_DROPPED_TOLD: Final = 5
MAX_STRANGE_BYTES: Final = 64 << 20
STRANGERS_AT_ONCE: Final = 500
BATCHES_AHEAD: Final = 11
BATCH: Final = 250
"""Answers that are counted together, in a few milliseconds."""
KEEP_AT_ONCE: Final = 1000
"""Answers that are stored together."""
LOOK_UP_AFTER_S: Final = 0.2
"""However fast answers come: so often the broker, the strangers and the time are seen to."""


class NotEnrolled(Refused):
    """An answer of an agent that is not proven to be one of ours."""

    code = "not-enrolled"


@dataclass(frozen=True, slots=True)
class Relay:
    """For who passes on what others open."""

    on_payload: Callable[[str, str, bytes], None]
    """Called with agent id, name, and payload as it came."""
    settled_after_s: float = 2.0
    """Whether a sealed answer has more parts nobody can tell who cannot open it: after so much silence it is awaited no longer."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Payloads that are being verified."""

    payloads: Payloads
    fresh: Mapping[bytes, tuple[str, bytes]]
    """Those that were not taken before, by SHA-256."""
    strange: Payloads
    """Of agents that nobody has judged."""
    believed: Payloads
    checking: asyncio.Task[list[Checked]]


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
    enrolled: Enrolled | None = None
    """Whose answers count; without it, everybody's."""
    on_piece: Callable[[str, str, Piece], bool] = lambda _agent, _name, _piece: False
    """Called with agent id, name and findings that came ahead of an outcome; where it is true, the outcome comes without them."""
    relay: Relay | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    """Further agents that an answer is expected of, id to name: the inventory may have forgotten them."""
    vouched: AnyOf[str] = ()
    """Agents that were judged here when they were asked, and that the inventory has forgotten since."""
    placed: Mapping[str, int] = field(default_factory=dict)
    """Where in the actions' stream the action stands, by agent."""
    on_broker_back: Callable[[], Awaitable[None]] | None = None
    """Called when the broker was away and is back, and again while it raises `BrokerError`."""
    tally: Tally = field(init=False)
    seen_since: set[str] = field(default_factory=set)
    dropped: int = 0
    sealed: set[str] = field(default_factory=set)
    """Agents that have answered, and whose answers are sealed to another key."""
    store_problem: DeploymentError | None = None
    """Why answers are not kept any more."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    _assemblies: dict[str, Assembly] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)
    _shown: dict[str, set[Place]] = field(default_factory=dict)
    _taken: set[bytes] = field(default_factory=set)
    _under_way: set[bytes] = field(default_factory=set)
    _last_sequence: int = 0
    _heartbeats_told: int = 0
    _newest_sealed_s: float = 0.0
    _beaten: set[str] = field(default_factory=set)
    """Agents whose heartbeats were heard live."""
    _refusers: set[str] = field(default_factory=set)
    """Agents that refused the cancel, which is told once."""
    _unkept: list[tuple[str, bytes]] = field(default_factory=list)
    _strangers: dict[str, list[bytes]] = field(default_factory=dict)
    """Payloads of agents that nobody has judged yet."""
    _strange_bytes: int = 0
    _subscriptions: list[Subscription] = field(default_factory=list)
    arrivals: Arrivals = field(default_factory=Arrivals)
    """What was heard live, until it is taken."""
    _checkers: Checkers = field(default_factory=Checkers)
    _held: bool = False
    """Whether answers wait for `begin`."""
    _unread: bool = False
    """Whether the broker did not answer when the stream was read last."""
    _came_back: bool = False

    def __post_init__(self) -> None:
        """Expect an answer of every targeted agent."""
        self.tally = Tally({**self.names, **{host.id: host.name for host in self.targeted}})

    @property
    def is_for_us(self) -> bool:
        """Whether the key that is at hand opens what this action's agents answer."""
        if self.action.sealto is None or self.private_key is None:
            return self.action.sealto is None
        return sealing_key(self.action.sealto) == public_sealing_key(self.private_key)

    @property
    def is_over(self) -> bool:
        """Whether the action's time is over, with what is granted to the last answers."""
        return time.time() >= self.action.expireafter.timestamp() + GRACE_S

    @property
    def through(self) -> int:
        """Up to where the results' stream was read."""
        return self._last_sequence

    async def listen(self, *, hold: bool = False) -> None:
        """Subscribe before the action goes out: the first answers come within milliseconds.

        With `hold` answers wait for `begin`, so that none is told before whoever shows them knows that they are asked for.
        """
        self._held = hold
        self._checkers.expect(len(self.targeted))
        for subject, callback in ((results_of(self.action.id), self._on_answer), (ALL_HEARTBEATS, self._on_heartbeat)):
            self._subscriptions.append(await self.broker.subscribe(subject, callback))
        await self.broker.flush()

    def begin(self) -> None:
        """From now on what came since `listen`, and what comes, is taken."""
        self._held = False
        self.changed.set()

    async def close(self) -> None:
        """Hear no more: the connection may live on, and lead other investigations."""
        for subscription in self._subscriptions:
            await subscription.unsubscribe()
        self._subscriptions.clear()
        await self._checkers.close()

    async def until_over(self, *, awaited: set[str], wait: bool, tick: Callable[[], None]) -> None:
        """Collect until every awaited agent is final (with `wait`: every targeted one, else to the end of its life).

        Raises:
            BrokerError: the broker went away and did not come back; what had arrived is counted and kept.
        """
        everyone = set(self.tally.targeted)
        next_read_s, lost_s = time.monotonic() + READ_STREAM_EVERY_S, None
        while True:
            self.changed.clear()
            await self.take_arrived(for_s=LOOK_UP_AFTER_S)
            await self._judge_strangers()
            missing = self.tally.waiting(everyone if wait else {agent for agent in awaited if not self._stopped(agent)})
            if not missing - self._settled():
                return
            if self.is_over:
                await self.read_stream()
                return
            lost_s = self._watch_broker(lost_s)
            behind = self.arrivals.overflown and not len(self.arrivals)
            if (behind or time.monotonic() >= next_read_s) and self.broker.is_connected:
                await self.read_stream()
                await self._tell_it_came_back()
                next_read_s = time.monotonic() + READ_STREAM_EVERY_S
            await self._keep()
            tick()
            if not len(self.arrivals):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_UP_AFTER_S):
                        await self.changed.wait()

    async def take_arrived(self, *, for_s: float = float("inf")) -> None:
        """Take what was heard live, for about so long."""
        ends_s = time.monotonic() + for_s
        under_way = 0

        async def batches() -> AsyncIterator[Payloads]:
            nonlocal under_way
            while not self._held and time.monotonic() < ends_s:
                batch = self.arrivals.some(BATCH, after=under_way)
                if not batch:
                    return
                under_way += len(batch)
                yield batch

        def taken(batch: Payloads) -> None:
            nonlocal under_way
            under_way -= len(batch)
            self.arrivals.taken(len(batch))

        await self._take_all(batches(), taken)

    async def read_store(self) -> None:
        """Take what the store has: the stream may have let go of it."""
        await self._take_all(self.store.answers(self.action.id), kept=True)

    def withheld(self) -> list[str]:
        """The names of agents that say in their own signed heartbeats that they have the action, and of which nothing came.

        While the action's time is not over they may be running it.
        """
        if not self.is_over:
            return []
        return [
            self.name_of(agent)
            for agent, sequence in sorted(self.placed.items())
            if sequence and agent not in self.tally.said and agent not in self.sealed and self._has(agent, sequence)
        ]

    def _has(self, agent: str, sequence: int) -> bool:
        host = self.inventory.hosts.get(agent)
        return host is not None and host.heartbeat is not None and host.heartbeat.s >= sequence

    def states(self) -> dict[str, State]:
        """The state of every agent, as if nothing more came."""
        return self.tally.states(seen_since=self.seen_since)

    async def finish(self) -> None:
        """Keep what is not kept yet, what each agent came to, and what heartbeats told meanwhile: the heads of audits, and the time."""
        await self._keep()
        if self.store_problem is None:
            try:
                await self.store.keep_states(self.action.id, self.states())
                await self.store.keep_heads(self.inventory.heads(self._beaten))
                await self.store.keep_beats({agent: self.inventory.beats[agent] for agent in self._beaten})
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
        await self.take_arrived()
        self.arrivals.overflown = False
        try:
            await self._read_on()
            self._unread = False
            await self._judge_strangers()
        except NotPermittedError:
            raise
        except BrokerError as error:
            if not self._unread:
                self.on_warning(str(error))
            self._unread = True

    async def _read_on(self) -> None:
        """What is taken moves on where the stream is read from the next time."""
        ends: deque[int] = deque()

        async def batches() -> AsyncIterator[Payloads]:
            batch: list[tuple[str, bytes]] = []
            after = self._last_sequence
            async for stored in self.broker.read_stream(RESULTS, results_of(self.action.id), after_seq=after):
                batch.append((stored.subject.rpartition(".")[2], stored.data))
                after = stored.sequence
                if len(batch) >= BATCH:
                    ends.append(after)
                    yield batch
                    batch = []
            ends.append(after)
            yield batch

        def taken(_: Payloads) -> None:
            self._last_sequence = ends.popleft()

        await self._take_all(batches(), taken)

    async def _keep(self) -> None:
        batch = list(self._unkept)
        if batch and self.store_problem is None:
            try:
                await self.store.keep_answers(self.action.id, batch)
            except DeploymentError as error:
                self._store_failed(error)
        del self._unkept[: len(batch)]

    def _store_failed(self, error: DeploymentError) -> None:
        """A full disk here must not hide what the fleet says; the stream still has the answers."""
        self.store_problem = error
        self.on_warning(f"answers are shown and not kept: {error}")

    def _on_answer(self, message: Message) -> None:
        self.arrivals.put(message.subject.rpartition(".")[2], message.data)
        self.changed.set()

    def _on_heartbeat(self, message: Message) -> None:
        agent = message.subject.rpartition(".")[2]
        known = len(self.inventory.dropped)
        taken = self.inventory.hear_heartbeat(agent, message.data, utc(time.time()))
        for line in self.inventory.dropped[known:]:
            self._heartbeats_told += 1
            if self._heartbeats_told <= MAX_DROPPED_TOLD:
                self.on_warning(line)
        if not taken:
            return
        self._beaten.add(agent)
        if self.inventory.hosts[agent].stopped:
            self.seen_since.discard(agent)
            self.changed.set()
        else:
            self.seen_since.add(agent)

    async def _take_all(
        self,
        batches: AsyncIterator[Payloads],
        taken: Callable[[Payloads], None] = lambda _: None,
        *,
        kept: bool = False,
    ) -> None:
        """Payloads, live, from the stream or (`kept`) from the store, batch by batch, of which `taken` is told.

        While some are counted and stored others are verified, and no more is read than that: whoever is slow reads slowly.
        """
        under_way: deque[_Batch] = deque()
        try:
            async for payloads in batches:
                under_way.append(self._begin(payloads))
                if len(under_way) > BATCHES_AHEAD:
                    await self._end(under_way[0], kept=kept)
                    taken(under_way.popleft().payloads)
            while under_way:
                await self._end(under_way[0], kept=kept)
                taken(under_way.popleft().payloads)
            await self._keep()
        finally:
            for batch in under_way:
                batch.checking.cancel()
                self._under_way.difference_update(batch.fresh)

    def _begin(self, payloads: Payloads) -> _Batch:
        fresh: dict[bytes, tuple[str, bytes]] = {}
        for agent, payload in payloads:
            mark = hashlib.sha256(payload).digest()
            # the stream repeats what was heard live; opening it again would cost as much
            if mark not in self._taken and mark not in self._under_way:
                fresh[mark] = (agent, payload)
        self._under_way.update(fresh)
        known = [one for one in fresh.values() if not self._is_strange(one[0])]
        strange = [one for one in fresh.values() if self._is_strange(one[0])]
        return _Batch(payloads, fresh, strange, *self._verify(known))

    async def _end(self, batch: _Batch, *, kept: bool) -> None:
        """What does not verify is dropped, counted and named."""
        checked = await batch.checking
        await asyncio.sleep(0)  # the event loop's turn: it feeds the processes that verify
        for (agent, payload), part in zip(batch.believed, checked, strict=True):
            self.accept(agent, payload, part, kept=kept)
        for agent, payload in batch.strange:
            self._hold(agent, payload)
        self._taken.update(batch.fresh)
        self._under_way.difference_update(batch.fresh)
        if len(self._unkept) >= KEEP_AT_ONCE:
            await self._keep()

    def _is_strange(self, agent: str) -> bool:
        """Whether it came after the inventory was read: what it says waits until it was judged."""
        host = self.inventory.hosts.get(agent)
        if self.enrolled is None or (host is None and agent in self.vouched):
            return False
        return host is None or host.judged is None

    def _hold(self, agent: str, payload: bytes) -> None:
        self._strange_bytes += len(payload)
        if self._strange_bytes > MAX_STRANGE_BYTES:
            self._drop(agent, Refused("more comes from agents that nobody knows than is held"))
            return
        self._strangers.setdefault(agent, []).append(payload)
        self.changed.set()

    async def _judge_strangers(self) -> None:
        """Read the facts of agents that came meanwhile, judge them, and take what they said."""
        if not self._strangers or self.enrolled is None or not self.broker.is_connected:
            return
        agents = list(self._strangers)
        try:
            for start in range(0, len(agents), STRANGERS_AT_ONCE):
                subjects = [facts_subject(agent) for agent in agents[start : start + STRANGERS_AT_ONCE]]
                async for stored in self.broker.batch_get(FACTS, subjects=subjects):
                    self.inventory.hear_facts(stored.subject.rpartition(".")[2], stored.data, stored.time)
            await self.enrolled.judge([host for host in self.inventory.hosts.values() if host.judged is None])
        except BrokerError as error:
            self.on_warning(str(error))
        believed, checking = self._verify(
            [(agent, payload) for agent, payloads in self._strangers.items() for payload in payloads]
        )
        for (agent, payload), part in zip(believed, await checking, strict=True):
            self.accept(agent, payload, part, kept=False)
        self._strangers, self._strange_bytes = {}, 0

    def _why_not(self, agent: str) -> str:
        host = self.inventory.hosts.get(agent)
        if self.enrolled is None or (host is None and agent in self.vouched):
            return ""
        return self.enrolled.why_not(host)

    def _verify(self, payloads: Payloads) -> tuple[Payloads, asyncio.Task[list[Checked]]]:
        """Those of agents that are believed, and what becomes of each."""
        believed = []
        for agent, payload in payloads:
            why = self._why_not(agent)
            if why:
                self._drop(agent, NotEnrolled(why))
            else:
                believed.append((agent, payload))
        work = Answers(self.action.id, self.private_key, believed)
        return believed, asyncio.create_task(self._checkers.check(work))

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

    def _settled(self) -> set[str]:
        """Agents of which nothing more is awaited here, though they are in no state."""
        if self.relay is None or time.monotonic() - self._newest_sealed_s < self.relay.settled_after_s:
            return set()
        return self.sealed

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

    def _take_refusal(self, agent: str, outcome: Outcome | Piece | None) -> None:
        if isinstance(outcome, Outcome) and outcome.state == "refused" and outcome.envelope in self.cancel:
            self.seen_since.add(agent)
            if self.on_cancel_refused is not None and agent not in self._refusers:
                self._refusers.add(agent)
                self.on_cancel_refused(agent, outcome)
            self.changed.set()

    def name_of(self, agent: str) -> str:
        """As the inventory knows it, whatever an answer claims."""
        host = self.inventory.hosts.get(agent)
        name = host.name if host is not None else self.tally.name(agent)
        disputed = bool(self._why_not(agent))
        return f"{name} ({agent})" if disputed and name != agent else name

    def _drop(self, agent: str, error: Exception) -> None:
        self.dropped += 1
        if self.dropped <= MAX_DROPPED_TOLD:
            self.on_warning(f"an answer in the name of {self.name_of(agent)} was dropped: {error}")


def awaited(targeted: list[Host], now: datetime) -> set[str]:
    """The agents that the investigation waits for: those seen within three of their heartbeats."""
    return {host.id for host in targeted if host.is_online(now)}


def placed_for(hosts: Iterable[Host], sequences: Mapping[str, int]) -> dict[str, int]:
    """Where an action stands for each of these agents, of the sequences by subject; agents that no subject leads to are left out."""
    placed = {}
    for host in hosts:
        row = host.facts.row
        tags = row.get("tags")
        tags = {str(key): str(value) for key, value in tags.items()} if isinstance(tags, dict) else {}
        leads = {route_subject(route) for route in agent_routes(host.id, str(row.get("os")), tags)}
        found = [sequence for subject, sequence in sequences.items() if subject.rpartition(".")[0] in leads]
        if found:
            placed[host.id] = min(found)
    return placed
