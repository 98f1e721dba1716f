"""A console that is slower than the stream loses nothing: every answer is counted once, whatever it did not hear live."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from investigator.broker.connection import State
from investigator.console import collect
from investigator.console.arrivals import Arrivals
from investigator.console.checkers import AT_ONCE, Checkers
from investigator.console.checks import Answers, Checked, Work
from investigator.console.collect import Collection
from investigator.console.inventory import Inventory
from investigator.console.store import Store
from investigator.protocol.action import Action, Operation
from investigator.protocol.answer import pack
from investigator.protocol.identity import Identity
from investigator.protocol.result import Outcome, Result
from investigator.protocol.sealing import generate_sealing_key, public_sealing_key
from investigator.protocol.subjects import result_subject
from signed import ACTION_ID

DIGEST = "d" * 64
NOW = datetime.now(UTC)
PRIVATE = generate_sealing_key()
SEALTO = base64.b64encode(public_sealing_key(PRIVATE)).decode()
ACTION = Action(
    id=ACTION_ID,
    name="n",
    target="all",
    condition=[],
    validfrom=NOW - timedelta(seconds=60),
    expireafter=NOW + timedelta(days=1),
    operations=(Operation(module="file"),),
    sealto=SEALTO,
)
AGENTS = [Identity(bytes([number]) * 32) for number in range(1, 41)]


class Gate(Checkers):
    """Checks nothing before it is opened: the slow console."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()

    async def check(self, work: Work) -> list[Checked]:
        await self.open.wait()
        return await super().check(work)


def answer(agent: Identity, size: int) -> bytes:
    found = Result(success=True, foundanything=True, elements=[agent.id * (size // len(agent.id))])
    told = Outcome(state="found", name=agent.id, results=[found])
    (payload,) = pack(told, agent, action=ACTION_ID, digest=DIGEST, sealto=SEALTO)
    return payload


def collection(broker: Any, store: Store, told: list[str], **more: Any) -> Collection:
    hosts = [SimpleNamespace(id=agent.id, name=agent.id, stopped=False, heartbeat=None) for agent in AGENTS]
    inventory = Inventory()
    inventory.hosts.update({host.id: cast(Any, host) for host in hosts})
    return Collection(
        action=ACTION,
        digest=DIGEST,
        envelope="",
        broker=broker,
        store=store,
        inventory=inventory,
        targeted=cast(Any, hosts),
        private_key=PRIVATE,
        on_outcome=lambda agent, _name, _outcome: told.append(agent),
        on_warning=lambda _line: None,
        **more,
    )


async def kept(store: Store) -> list[str]:
    return [agent async for page in store.answers(ACTION_ID) for agent, _ in page]


async def answer_all(running: Any, size: int) -> None:
    for agent in AGENTS:
        connection = await running.agent(agent.id)
        await connection.publish_acked(result_subject(ACTION_ID, agent.id), answer(agent, size), message_id=agent.id)
        await connection.close()


async def test_what_a_busy_console_has_no_room_for_is_read_from_the_stream_once(running: Any, tmp_path: Path) -> None:
    told: list[str] = []
    gate = Gate()
    room = Arrivals(max_bytes=5 * 60_000)
    async with running() as it, Store(tmp_path / "console.sqlite") as store:
        slow = collection(await it.investigator(), store, told, arrivals=room, _checkers=gate)
        await slow.listen()
        everyone = {agent.id for agent in AGENTS}
        work = asyncio.create_task(slow.until_over(awaited=everyone, wait=False, tick=lambda: None))
        await answer_all(it, 60_000)
        await slow.broker.flush()
        assert room.overflown
        assert not told
        gate.open.set()
        async with asyncio.timeout(60):
            await work
        await slow.finish()
        await slow.close()
        assert sorted(told) == sorted(everyone)
        assert sorted(await kept(store)) == sorted(everyone)
    assert slow.states() == dict.fromkeys(everyone, "found")
    assert slow.dropped == 0


async def test_whoever_has_no_room_is_told_a_batch_at_a_time_and_each_answer_once(
    running: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect, "BATCH", 5)
    told: list[str] = []
    asked, free = asyncio.Event(), asyncio.Event()

    async def room() -> None:
        asked.set()
        await free.wait()

    async with running() as it, Store(tmp_path / "console.sqlite") as store:
        slow = collection(await it.investigator(), store, told, room=room)
        await slow.listen(hold=True)
        await answer_all(it, 1000)
        await slow.broker.flush()
        everyone = {agent.id for agent in AGENTS}
        work = asyncio.create_task(slow.until_over(awaited=everyone, wait=False, tick=lambda: None))
        slow.begin()
        async with asyncio.timeout(30):
            await asked.wait()
        assert 0 < len(told) <= 5
        free.set()
        async with asyncio.timeout(60):
            await work
        await slow.finish()
        await slow.close()
        assert sorted(await kept(store)) == sorted(everyone)
    assert sorted(told) == sorted(everyone)


async def test_what_the_connection_drops_is_read_from_the_stream_once(
    running: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped = asyncio.Event()
    told: list[str] = []

    def note(state: State) -> None:
        if state is State.DROPPED:
            dropped.set()

    async with running() as it, Store(tmp_path / "console.sqlite") as store:
        broker = await it.investigator(on_state=note)
        subscribe = broker.subscribe

        def with_little_room(subject: str, callback: Any) -> Any:
            return subscribe(subject, callback, max_waiting_bytes=1000)

        monkeypatch.setattr(broker, "subscribe", with_little_room)
        slow = collection(broker, store, told)
        await slow.listen()
        await answer_all(it, 60_000)
        async with asyncio.timeout(30):
            await dropped.wait()
        everyone = {agent.id for agent in AGENTS}
        async with asyncio.timeout(60):
            await slow.until_over(awaited=everyone, wait=False, tick=lambda: None)
        await slow.finish()
        await slow.close()
        assert sorted(await kept(store)) == sorted(everyone)
    assert sorted(told) == sorted(everyone)


async def test_processes_check_as_it_is_checked_here_and_one_that_is_killed_costs_nothing() -> None:
    good = [(agent.id, answer(agent, 100)) for agent in AGENTS]
    bad = [(AGENTS[0].id, good[1][1]), (AGENTS[0].id, b"\x00"), (AGENTS[1].id, good[1][1][:-1])]
    work = Answers(ACTION_ID, PRIVATE, (good + bad) * (AT_ONCE // len(good) + 1))
    async with Checkers() as here, Checkers() as checkers:
        expected = []
        for start in range(0, len(work.items), AT_ONCE):
            expected += await here.check(Answers(ACTION_ID, PRIVATE, work.items[start : start + AT_ONCE]))
        assert await checkers.check(work) == expected
        for process in checkers._processes:
            assert process._process is not None
            process._process.kill()
        assert await checkers.check(work) == expected
    assert sum(not one.problem for one in expected) == len(good) * (AT_ONCE // len(good) + 1)


async def test_whoever_is_interrupted_while_processes_check_gets_the_right_answers_the_next_time() -> None:
    first = Answers(ACTION_ID, PRIVATE, [(agent.id, answer(agent, 100)) for agent in AGENTS] * 20)
    async with Checkers() as checkers:
        await checkers.check(first)
        interrupted = asyncio.create_task(checkers.check(first))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        interrupted.cancel()
        with pytest.raises(asyncio.CancelledError):
            await interrupted
        second = Answers(ACTION_ID, PRIVATE, [(AGENTS[0].id, b"\x00")] * 900)
        assert {one.code for one in await checkers.check(second)} == {"bad-input"}
