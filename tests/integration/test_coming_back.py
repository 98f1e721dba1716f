"""Agents that come back after their broker was away: the broker has their facts, they have what was asked meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket

import pytest

from investigator.broker import backoff
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.link import Link
from investigator.broker.streams import stream_state
from investigator.protocol.subjects import ALL_FACTS, FACTS, HEARTBEATS, RESULTS, result_subject
from living import living, until
from scene import action, signed
from signed import ACTION_ID

CROWD = 200
ANYONE = Credentials.generate("anyone")


async def facts_of(investigator, agent):
    return [stored async for stored in investigator.read_stream(FACTS, f"mig.facts.{agent}")]


async def answered(investigator):
    extent = await stream_state(investigator, RESULTS, subjects_filter="mig.result.*.*")
    return set(extent.subjects)


async def test_facts_that_the_broker_has_are_not_stored_again(running):
    async with running() as broker, living(broker) as one:
        investigator = await broker.investigator()
        (before,) = await facts_of(investigator, one.agent.id)
        beats = (await stream_state(investigator, HEARTBEATS)).last_sequence
        await broker.restart()
        await until(lambda: one.link.is_connected and investigator.is_connected, "all are back")
        async with asyncio.timeout(30):  # with the facts comes a heartbeat
            while (await stream_state(investigator, HEARTBEATS)).last_sequence == beats:  # noqa: ASYNC110 - the stream tells nobody
                await asyncio.sleep(0.05)
        assert await facts_of(investigator, one.agent.id) == [before]


async def test_facts_that_the_broker_lost_are_stored_again(running):
    async with running() as broker, living(broker) as one:
        investigator = await broker.investigator()
        (before,) = await facts_of(investigator, one.agent.id)
        await broker.lose_store()
        await until(lambda: investigator.is_connected, "the console is back")
        async with asyncio.timeout(30):
            while not (now := await facts_of(investigator, one.agent.id)):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.05)
        assert [stored.data[64:] for stored in now] == [before.data[64:]]


async def test_facts_that_are_not_ours_are_replaced_when_the_agent_comes_back(running):
    async with running() as broker, living(broker) as one:
        investigator = await broker.investigator()
        (before,) = await facts_of(investigator, one.agent.id)
        forger = await broker.agent(one.agent.id)  # whoever has the agent's credential
        await forger.publish_acked(f"mig.facts.{one.agent.id}", b"rubbish", message_id="1")
        await broker.restart()
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(Exception):
                    (now,) = await facts_of(investigator, one.agent.id)
                    if now.data != b"rubbish":
                        break
                await asyncio.sleep(0.05)
        assert now.data[64:] == before.data[64:]


async def test_a_crowd_is_back_after_a_kill_and_has_answered_what_was_asked_meanwhile(running):
    async with running() as broker, contextlib.AsyncExitStack() as stack:
        crowd = await asyncio.gather(*(stack.enter_async_context(living(broker)) for _ in range(CROWD)))
        for one in crowd:
            one.link._supervisor._dialer.servers = [
                "nats://127.0.0.1:1"
            ]  # nobody finds the way back before the action is there
        os.kill(broker.server.pid, signal.SIGKILL)
        await broker.server.stop()
        await broker.server.start()
        investigator = await broker.investigator()
        await investigator.publish_acked(f"mig.action.all.{ACTION_ID}", signed(action()), message_id="1")
        assert not any(one.runs for one in crowd)
        for one in crowd:
            one.link._supervisor._dialer.servers = [broker.server.url]
        wanted = {result_subject(ACTION_ID, one.agent.id) for one in crowd}
        async with asyncio.timeout(90):
            while await answered(investigator) != wanted:  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.1)
        assert [one.runs for one in crowd] == [1] * CROWD
        extent = await stream_state(investigator, FACTS, subjects_filter=ALL_FACTS)
        assert (len(extent.subjects), extent.last_sequence) == (CROWD, CROWD)  # none of them was stored again


@pytest.mark.parametrize(("is_there", "longest_s"), [(False, 5.0), (True, 30.0)])
async def test_agents_make_way_for_a_broker_that_is_busy_and_wait_less_for_one_that_is_not_there(
    monkeypatch, is_there, longest_s
):
    """One that takes connections and says nothing is a server with too much to do."""
    pauses_s, patience_s = [], []
    enough = asyncio.Event()

    def drawn(_, most_s):
        pauses_s.append(most_s)
        if len(pauses_s) == 12:
            enough.set()
        return 0.0

    async def open_soon(link, *words, timeout_s, **more):
        patience_s.append(timeout_s)
        return await open_link(link, *words, timeout_s=0.02 if is_there else timeout_s, **more)

    open_link = Link.open
    monkeypatch.setattr(backoff._random, "uniform", drawn)
    monkeypatch.setattr(Link, "open", open_soon)
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the kernel takes the connections, and nobody answers
        url = f"nats://127.0.0.1:{listener.getsockname()[1]}"
        if not is_there:
            listener.close()
        connecting = asyncio.create_task(connect(url, ANYONE, name="a", give_up_after_s=None))
        async with asyncio.timeout(60):
            await enough.wait()
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
    assert pauses_s == sorted(pauses_s)
    assert (pauses_s[0], pauses_s[11]) == (0.5, longest_s)
    assert (patience_s[0], patience_s[11]) == (10.0, 20.0 if is_there else 10.0)
