"""The inventory from the streams, of which only what is new is read and verified: the rest is in this console's store.

What is kept is that these bytes were signed by the key that the agent's id is derived from. Nothing that people sign, revoke
or configure changes that, so nothing of it makes a kept row wrong; who may be believed is judged each time, from what is known then.
A stream that was made anew is read from its start, and what the broker has let go of (`agents forget`, a revocation) goes here too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import msgspec

from investigator.broker.streams import stream_state
from investigator.console.checkers import Checkers
from investigator.console.checks import FactsFrames, Heartbeats
from investigator.console.inventory import Beat, Inventory
from investigator.console.not_collecting import not_collecting
from investigator.console.store import Signed
from investigator.protocol.action import utc
from investigator.protocol.facts import Facts, Heartbeat
from investigator.protocol.subjects import (
    ALL_FACTS,
    ALL_HEARTBEATS,
    FACTS,
    HEARTBEATS,
    facts_subject,
    heartbeat_subject,
)

if TYPE_CHECKING:
    from investigator.broker.connection import Broker, Stored
    from investigator.console.checks import Checked
    from investigator.console.store import SignedKind, Store

BATCH: Final = 1000
MAX_ASKED_FOR: Final = 500
_facts: Final = msgspec.json.Decoder(Facts)
_heartbeat: Final = msgspec.json.Decoder(Heartbeat)


async def load_inventory(
    broker: Broker, beats: Mapping[str, Beat] | None = None, *, store: Store | None = None
) -> Inventory:
    """Read facts and heartbeats from their streams; `beats` as `Inventory` takes them.

    With a store only what is new since it was filled.

    Raises:
        BrokerError: the broker does not answer, or has no such streams.
        DeploymentError: the store does not take it.
    """
    inventory = Inventory(beats)
    async with Checkers() as checkers:
        new = await _Facts(broker, checkers, store, inventory).load()
        await _Heartbeats(broker, checkers, store, inventory).load(new)
    return inventory


class _Facts:
    """Facts into the inventory: from the store, then from the stream."""

    def __init__(self, broker: Broker, checkers: Checkers, store: Store | None, inventory: Inventory) -> None:
        self._broker = broker
        self._checkers = checkers
        self._store = store
        self._inventory = inventory

    async def load(self) -> set[str]:
        """All that verifies; a line in `dropped` for each that does not. The agents that the store did not know."""
        if self._store is None:
            await self._read(0)
            return set()
        made, after = await _read_up_to(self._broker, self._store, FACTS, "facts")
        kept = await self._store.signed("facts") if after else []
        fresh = await self._read(after)
        newer = {one.agent for one in fresh}
        known = {one.agent: one for one in kept if one.agent not in newer}
        gone, missed = await self._unlike({*known, *newer})
        for agent in gone:
            known.pop(agent, None)
            self._inventory.hosts.pop(agent, None)
        self._take_all(known.values())
        newer |= {one.agent for one in await self._ask_for(missed)}
        if fresh:
            await self._store.keep_read_up_to(FACTS, made, max(one.sequence for one in fresh))
        return newer - {one.agent for one in kept}

    async def _read(self, after: int) -> list[Signed]:
        kept: list[Signed] = []
        async with aclosing(self._checkers.ahead(self._work(after))) as done:
            async for batch, checked in done:
                signed = list(map(_signed, batch, checked))
                self._take_all(signed)
                if self._store is not None:
                    await self._store.keep_signed("facts", signed)
                    kept += [one._replace(content=b"") for one in signed]
        return kept

    async def _work(self, after: int) -> AsyncIterator[tuple[list[Stored], FactsFrames]]:
        async for batch in _batches(self._broker, FACTS, ALL_FACTS, after):
            yield batch, FactsFrames([(_agent(stored), stored.data) for stored in batch])

    def _take_all(self, signed: Iterable[Signed]) -> None:
        with not_collecting():
            for one in signed:
                self._take(one)

    def _take(self, one: Signed) -> None:
        if one.problem:
            self._inventory.drop(one.problem)
            self._inventory.hosts.pop(one.agent, None)
        else:
            self._inventory.take_facts(one.agent, _facts.decode(one.content), utc(one.seen_s))

    async def _unlike(self, known: set[str]) -> tuple[set[str], set[str]]:
        """Those of which the stream has nothing any more, and those that it has and nobody here knows.

        The latter came a moment ago, or another console of ours forgot them just when they came back.
        """
        assert self._store is not None
        if (await stream_state(self._broker, FACTS)).messages == len(known):
            return set(), set()
        subjects = (await stream_state(self._broker, FACTS, subjects_filter=ALL_FACTS)).subjects
        there = {subject.rpartition(".")[2] for subject in subjects}
        gone = known - there
        await self._store.forget_signed("facts", sorted(gone))
        await self._store.forget_signed("heartbeats", sorted(gone))
        return gone, there - known

    async def _ask_for(self, agents: set[str]) -> list[Signed]:
        assert self._store is not None
        found: list[Signed] = []
        subjects = [facts_subject(agent) for agent in sorted(agents)]
        for at in range(0, len(subjects), MAX_ASKED_FOR):
            some = subjects[at : at + MAX_ASKED_FOR]
            stored = [one async for one in self._broker.batch_get(FACTS, subjects=some)]
            frames = FactsFrames([(_agent(one), one.data) for one in stored])
            signed = list(map(_signed, stored, await self._checkers.check(frames)))
            self._take_all(signed)
            await self._store.keep_signed("facts", signed)
            found += signed
        return found


class _Heartbeats:
    """Heartbeats of those hosts that the inventory has, likewise."""

    def __init__(self, broker: Broker, checkers: Checkers, store: Store | None, inventory: Inventory) -> None:
        self._broker = broker
        self._checkers = checkers
        self._store = store
        self._inventory = inventory

    async def load(self, new: set[str]) -> None:
        """The newest of each host.

        Those of hosts that are `new` may have come before their facts, and were passed over then, by this console or another
        of ours: so they are asked for by name, and so are those of hosts of which none is kept.
        """
        if self._store is None:
            await self._read(0)
            return
        made, after = await _read_up_to(self._broker, self._store, HEARTBEATS, "heartbeats")
        if len(new) > MAX_ASKED_FOR:
            after = 0
        kept = await self._store.signed("heartbeats") if after else []
        with not_collecting():
            for one in kept:
                self._take_kept(one)
        silent = self._inventory.hosts.keys() - {one.agent for one in kept}
        if after and (new or silent):
            wanted = [*sorted(new), *sorted(silent - new)][:MAX_ASKED_FOR]
            subjects = [heartbeat_subject(agent) for agent in wanted]
            asked_for = [stored async for stored in self._broker.batch_get(HEARTBEATS, subjects=subjects)]
            told, work = self._work(asked_for)
            await self._take_all(told, await self._checkers.check(work))
        newest = await self._read(after)
        if newest > after:
            await self._store.keep_read_up_to(HEARTBEATS, made, newest)

    async def _read(self, after: int) -> int:
        """The sequence of the last of them."""

        async def works() -> AsyncIterator[tuple[list[Stored], Heartbeats]]:
            nonlocal after
            async for batch in _batches(self._broker, HEARTBEATS, ALL_HEARTBEATS, after):
                after = batch[-1].sequence
                yield self._work(batch)

        async with aclosing(self._checkers.ahead(works())) as done:
            async for told, checked in done:
                await self._take_all(told, checked)
        return after

    def _work(self, batch: list[Stored]) -> tuple[list[Stored], Heartbeats]:
        """Those of hosts that are known, and what is to be checked of them."""
        hosts = self._inventory.hosts
        told = [stored for stored in batch if _agent(stored) in hosts]
        return told, Heartbeats([(hosts[_agent(stored)].facts.public_key, stored.data) for stored in told])

    async def _take_all(self, told: list[Stored], checked: list[Checked]) -> None:
        signed = list(map(_signed, told, checked))
        with not_collecting():
            for one in signed:
                self._take(one)
        if self._store is not None:
            await self._store.keep_signed("heartbeats", signed)

    def _take(self, one: Signed) -> None:
        host = self._inventory.hosts[one.agent]
        if one.problem:
            self._inventory.drop(f"{host.name}: {one.problem}")
        else:
            self._inventory.take_heartbeat(host, _heartbeat.decode(one.content), utc(one.seen_s))

    def _take_kept(self, one: Signed) -> None:
        """What was taken once; where this console has heard a newer one since, the stream has that too.

        Another console of ours may have kept it after we read how lately each agent was heard: then it is news here.
        """
        host = self._inventory.hosts.get(one.agent)
        if host is None:
            return
        if one.problem:
            self._inventory.drop(f"{host.name}: {one.problem}")
        elif (host.beat is not None and one.seen_s <= host.beat.seen_s) or not self._inventory.take_heartbeat(
            host, _heartbeat.decode(one.content), utc(one.seen_s)
        ):
            host.remember(one.content, utc(one.seen_s))


async def _read_up_to(broker: Broker, store: Store, stream: str, what: SignedKind) -> tuple[str, int]:
    """When the stream was made, and up to where it was read; one that was made anew, or is shorter, from its start."""
    state = await stream_state(broker, stream)
    return state.made, await store.begin_reading(what, stream, state.made, state.last_sequence)


async def _batches(broker: Broker, stream: str, subjects: str, after: int) -> AsyncIterator[list[Stored]]:
    batch: list[Stored] = []
    async for stored in broker.read_stream(stream, subjects, after_seq=after):
        batch.append(stored)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _agent(stored: Stored) -> str:
    return stored.subject.rpartition(".")[2]


def _signed(stored: Stored, checked: Checked) -> Signed:
    return Signed(_agent(stored), stored.sequence, stored.time.timestamp(), checked.content, checked.problem)
