"""What a console verified of its fleet it keeps, and takes from the streams only what is new, or is no more."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from investigator.console import inventory_cache
from investigator.console.checkers import Checkers
from investigator.console.checks import Checked, Work
from investigator.console.fleet import known_inventory
from investigator.console.forgetting import forget_agent
from investigator.console.inventory import Inventory
from investigator.console.inventory_cache import load_inventory
from investigator.console.store import Signed, Store
from investigator.protocol.facts import Heartbeat, encode_facts, encode_heartbeat
from investigator.protocol.identity import Identity
from investigator.protocol.subjects import FACTS, facts_subject, heartbeat_subject

AGENTS = [Identity(bytes([number]) * 32) for number in range(1, 6)]


@contextlib.asynccontextmanager
async def kept(running: Any, tmp_path: Path) -> AsyncIterator[tuple[Any, Store]]:
    """A broker, and a console's store."""
    async with running() as it, Store(tmp_path / "console.sqlite") as store:
        yield it, store


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many signatures each check was about."""
    counted: list[int] = []

    class Counting(Checkers):
        async def check(self, work: Work) -> list[Checked]:
            counted.append(len(work.items))
            return await super().check(work)

    monkeypatch.setattr(inventory_cache, "Checkers", Counting)
    return counted


async def tell(it: Any, agent: Identity, *, name: str = "", frame: bytes | None = None, t: float = 0) -> None:
    """Facts and a heartbeat, or this in place of the facts."""
    facts, digest = encode_facts(agent, {"id": agent.id, "name": name or agent.id, "os": "linux"}, heartbeat_s=60)
    connection = await it.agent(agent.id)
    await connection.publish_acked(
        facts_subject(agent.id), frame or facts, message_id=f"{agent.id}{time.monotonic_ns()}"
    )
    heartbeat = Heartbeat(t=int(time.time() + t), f=digest, n=3, h="a" * 24)
    await connection.publish(heartbeat_subject(agent.id), encode_heartbeat(agent, heartbeat))
    await connection.flush()
    await connection.close()


def seen(inventory: Inventory) -> dict[str, Any]:
    return {
        host.id: (host.name, host.facts, host.facts_seen, host.beat, host.heartbeat, host.heartbeat_seen)
        for host in inventory.hosts.values()
    }


async def test_what_is_kept_is_what_reading_everything_gives_and_is_not_verified_again(
    verified: list[int], running: Any, tmp_path: Path
) -> None:
    async with kept(running, tmp_path) as (it, store):
        for agent in AGENTS:
            await tell(it, agent)
        broker = await it.investigator()
        first = await known_inventory(broker, store)
        assert len(first.hosts) == len(AGENTS)
        verified.clear()
        again = await known_inventory(broker, store)
        assert sum(verified) == 0
        assert seen(again) == seen(first)
        await tell(it, AGENTS[0], name="renamed", t=1)
        changed = await known_inventory(broker, store)
        assert sum(verified) == 2
        assert changed.hosts[AGENTS[0].id].name == "renamed"
        async with Store(tmp_path / "another.sqlite") as another:
            assert seen(await known_inventory(broker, another)) == seen(changed)


async def test_what_does_not_verify_is_told_each_time_and_takes_the_place_of_what_did(
    running: Any, tmp_path: Path
) -> None:
    async with kept(running, tmp_path) as (it, store):
        good, stranger = AGENTS[:2]
        await tell(it, good)
        broker = await it.investigator()
        assert set((await known_inventory(broker, store)).hosts) == {good.id}
        forged = encode_facts(stranger, {"id": good.id, "name": "forged"}, heartbeat_s=60)[0]
        await tell(it, good, frame=forged)
        for _ in range(2):
            inventory = await known_inventory(broker, store)
            assert not inventory.hosts
            assert len(inventory.dropped) == 1
            assert good.id in inventory.dropped[0]
        await tell(it, good)
        assert set((await known_inventory(broker, store)).hosts) == {good.id}


async def test_a_host_that_another_console_forgot_is_gone_here_too(running: Any, tmp_path: Path) -> None:
    async with kept(running, tmp_path) as (it, store):
        for agent in AGENTS:
            await tell(it, agent)
        broker = await it.investigator()
        await known_inventory(broker, store)
        async with Store(tmp_path / "another.sqlite") as another:
            await forget_agent(broker, another, AGENTS[0].id)
        assert set((await known_inventory(broker, store)).hosts) == {agent.id for agent in AGENTS[1:]}
        await tell(it, AGENTS[0])
        back = await known_inventory(broker, store)
        assert back.hosts[AGENTS[0].id].heartbeat is not None


async def test_a_stream_that_was_made_anew_is_read_from_its_start(running: Any, tmp_path: Path) -> None:
    async with kept(running, tmp_path) as (it, store):
        for agent in AGENTS:
            await tell(it, agent)
        broker = await it.investigator()
        await known_inventory(broker, store)
        await it.make_anew(await it.owner(), FACTS)
        assert not (await known_inventory(broker, store)).hosts
        await tell(it, AGENTS[1])
        assert set((await known_inventory(broker, store)).hosts) == {AGENTS[1].id}


async def test_several_consoles_that_begin_at_once_with_one_store_all_know_everybody(
    running: Any, tmp_path: Path
) -> None:
    async with kept(running, tmp_path) as (it, _):
        for agent in AGENTS:
            await tell(it, agent)
        broker = await it.investigator()

        async def begin(store: Store) -> dict[str, Any]:
            return seen(await known_inventory(broker, store))

        for time_ in range(10):
            async with contextlib.AsyncExitStack() as opened:
                path = tmp_path / f"shared-{time_}.sqlite"
                stores = [await opened.enter_async_context(Store(path)) for _ in range(8)]
                first, *others = await asyncio.gather(*map(begin, stores))
                assert len(first) == len(AGENTS)
                assert all(heartbeat is not None for *_, heartbeat, _ in first.values())
                for other in others:
                    assert other == first


async def test_what_a_console_has_read_stays_when_another_begins_to_read(tmp_path: Path) -> None:
    async with Store(tmp_path / "one.sqlite") as one, Store(tmp_path / "one.sqlite") as other:
        row = Signed("a" * 32, 3, 1.0, b"{}", "")
        assert await one.begin_reading("facts", FACTS, "made", 3) == 0
        await one.keep_signed("facts", [row])
        assert await other.begin_reading("facts", FACTS, "made", 3) == 0
        await one.keep_read_up_to(FACTS, "made", 3)
        assert await other.begin_reading("facts", FACTS, "made", 3) == 3
        assert await other.signed("facts") == [row]
        for made, last in (("made", 2), ("made anew", 3)):
            assert await other.begin_reading("facts", FACTS, made, last) == 0
            assert await other.signed("facts") == []
            await one.keep_signed("facts", [row])


async def test_a_heartbeat_that_another_console_kept_a_moment_ago_is_heard_here_too(
    running: Any, tmp_path: Path
) -> None:
    async with kept(running, tmp_path) as (it, store):
        await tell(it, AGENTS[0])
        broker = await it.investigator()
        await known_inventory(broker, store)
        beats = await store.beats()
        await tell(it, AGENTS[0], t=5)
        after = seen(await known_inventory(broker, store))
        for before in (beats, {}):
            assert seen(await load_inventory(broker, before, store=store)) == after


async def test_facts_and_heartbeats_that_the_store_lacks_are_asked_for_by_name(running: Any, tmp_path: Path) -> None:
    async with kept(running, tmp_path) as (it, store):
        for agent in AGENTS:
            await tell(it, agent)
        broker = await it.investigator()
        whole = seen(await known_inventory(broker, store))
        await store.forget_signed("facts", [AGENTS[0].id])
        await store.forget_signed("heartbeats", [AGENTS[1].id])
        for _ in range(2):
            assert seen(await known_inventory(broker, store)) == whole


async def test_a_heartbeat_that_came_before_its_facts_counts_once_they_are_there(running: Any, tmp_path: Path) -> None:
    async with kept(running, tmp_path) as (it, store):
        await tell(it, AGENTS[0])
        broker = await it.investigator()
        await known_inventory(broker, store)
        connection = await it.agent(AGENTS[1].id)
        facts, digest = encode_facts(AGENTS[1], {"id": AGENTS[1].id, "name": "late"}, heartbeat_s=60)
        await connection.publish(
            heartbeat_subject(AGENTS[1].id), encode_heartbeat(AGENTS[1], Heartbeat(t=int(time.time()), f=digest))
        )
        await connection.flush()
        await known_inventory(broker, store)
        await connection.publish_acked(facts_subject(AGENTS[1].id), facts, message_id="late")
        late = (await known_inventory(broker, store)).hosts[AGENTS[1].id]
        assert late.heartbeat is not None
