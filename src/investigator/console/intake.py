"""Stage 7, what came of an investigation in batches: verified ahead, counted, kept; and nothing twice.

What comes of agents that nobody has judged yet waits until they are.
"""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.console.checkers import Checkers
from investigator.console.checks import Answers
from investigator.console.counting import Counting
from investigator.errors import BrokerError, DeploymentError, Refused
from investigator.protocol.subjects import FACTS, facts_subject

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from investigator.broker.connection import Broker
    from investigator.console.store import Store

Payloads = list[tuple[str, bytes]]
"""(agent id, payload) each."""
BATCH: Final = 250
"""Answers that are counted together, in a few milliseconds."""
KEEP_AT_ONCE: Final = 1000
"""Answers that are stored together."""
MAX_STRANGE_BYTES: Final = 64 << 20
STRANGERS_AT_ONCE: Final = 500


class NotEnrolled(Refused):
    """An answer of an agent that is not proven to be one of ours."""

    code = "not-enrolled"


@dataclass(frozen=True, slots=True)
class _Batch:
    """Payloads that are being verified."""

    payloads: Payloads
    fresh: Mapping[bytes, tuple[str, bytes]]
    """Those that were not taken before, by SHA-256."""
    strange: Payloads
    """Of agents that nobody has judged."""
    believed: Payloads


@dataclass(slots=True, kw_only=True)
class Intake(Counting):
    """One investigation's answers on their way from whoever brings them to where they count."""

    broker: Broker
    store: Store
    store_problem: DeploymentError | None = None
    """Why answers are not kept any more."""
    room: Callable[[], Awaitable[None]] | None = None
    """Awaited after each batch: whoever is told takes so much at a time, and what comes meanwhile waits in stream and `arrivals`."""
    _checkers: Checkers = field(default_factory=Checkers)
    _taken: set[bytes] = field(default_factory=set)
    _under_way: set[bytes] = field(default_factory=set)
    _strangers: dict[str, list[bytes]] = field(default_factory=dict)
    """Payloads of agents that nobody has judged yet."""
    _strange_bytes: int = 0

    async def read_store(self) -> None:
        """Take what the store has: the stream may have let go of it."""
        await self._take_all(self.store.answers(self.action.id), kept=True)

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
        begun: set[bytes] = set()

        async def works() -> AsyncIterator[tuple[_Batch, Answers]]:
            async for payloads in batches:
                batch = self._begin(payloads)
                begun.update(batch.fresh)
                yield batch, self._work(batch.believed)

        try:
            async with aclosing(self._checkers.ahead(works())) as done:
                async for batch, checked in done:
                    for (agent, payload), part in zip(batch.believed, checked, strict=True):
                        self.accept(agent, payload, part, kept=kept)
                    for agent, payload in batch.strange:
                        self._hold(agent, payload)
                    self._taken.update(batch.fresh)
                    taken(batch.payloads)
                    if len(self._unkept) >= KEEP_AT_ONCE:
                        await self._keep()
                    if self.room is not None:
                        await self.room()
        finally:
            self._under_way.difference_update(begun)
        await self._keep()

    def _begin(self, payloads: Payloads) -> _Batch:
        fresh: dict[bytes, tuple[str, bytes]] = {}
        for agent, payload in payloads:
            mark = hashlib.sha256(payload).digest()
            # the stream repeats what was heard live; opening it again would cost as much
            if mark not in self._taken and mark not in self._under_way:
                fresh[mark] = (agent, payload)
        self._under_way.update(fresh)
        strange = [one for one in fresh.values() if self._is_strange(one[0])]
        known = [one for one in fresh.values() if not self._is_strange(one[0])]
        return _Batch(payloads, fresh, strange, self._believed(known))

    def _believed(self, payloads: Payloads) -> Payloads:
        """Those of agents that are believed."""
        believed = []
        for agent, payload in payloads:
            why = self._why_not(agent)
            if why:
                self._drop(agent, NotEnrolled(why))
            else:
                believed.append((agent, payload))
        return believed

    def _work(self, believed: Payloads) -> Answers:
        return Answers(self.action.id, self.private_key, believed)

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
        believed = self._believed(
            [(agent, payload) for agent, payloads in self._strangers.items() for payload in payloads]
        )
        checked = await self._checkers.check(self._work(believed))
        for (agent, payload), part in zip(believed, checked, strict=True):
            self.accept(agent, payload, part, kept=False)
        self._strangers, self._strange_bytes = {}, 0

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
