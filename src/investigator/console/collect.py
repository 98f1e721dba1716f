"""Stage 7: what comes back, live and from the stream, until the investigation is over (`intake` verifies it, `counting` counts it)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.broker.problems import NotPermittedError
from investigator.console.arrivals import Arrivals
from investigator.console.counting import MAX_DROPPED_TOLD
from investigator.console.intake import BATCH, Intake
from investigator.errors import BrokerError, DeploymentError
from investigator.protocol.action import utc
from investigator.protocol.subjects import ALL_HEARTBEATS, RESULTS, results_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from investigator.broker.connection import Message, Subscription
    from investigator.console.intake import Payloads

GRACE_S: Final = 5.0
"""How long after its expiry an action's last answers are awaited: what was killed at expiry still says so."""
READ_STREAM_EVERY_S: Final = 2.0
GIVE_UP_ON_BROKER_S: Final = 30.0
LOOK_UP_AFTER_S: Final = 0.2
"""However fast answers come: so often the broker, the strangers and the time are seen to."""


@dataclass(slots=True, kw_only=True)
class Collection(Intake):
    """One investigation as its answers come in."""

    placed: Mapping[str, int] = field(default_factory=dict)
    """Where in the actions' stream the action stands, by agent."""
    on_broker_back: Callable[[], Awaitable[None]] | None = None
    """Called when the broker was away and is back, and again while it raises `BrokerError`."""
    _last_sequence: int = 0
    _heartbeats_told: int = 0
    _beaten: set[str] = field(default_factory=set)
    """Agents whose heartbeats were heard live."""
    _subscriptions: list[Subscription] = field(default_factory=list)
    arrivals: Arrivals = field(default_factory=Arrivals)
    """What was heard live, until it is taken."""
    _held: bool = False
    """Whether answers wait for `begin`."""
    _unread: bool = False
    """Whether the broker did not answer when the stream was read last."""
    _came_back: bool = False

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
