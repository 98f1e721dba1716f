"""What an agent missed it fetches: at its start, after each gap of its connection, and every minute, for a gap that nobody tells of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from investigator.agent import service
from investigator.broker.connection import Broker, Stored
from investigator.protocol.subjects import ACTIONS
from living import living, until
from scene import action, signed


def numbered(number: int) -> tuple[str, bytes]:
    """The subject and the envelope of an action of its own."""
    action_id = f"{number:032x}"
    return f"mig.action.all.{action_id}", signed(action(id=action_id, name=f"n{number}"))


async def publish(investigator: Any, number: int) -> None:
    subject, raw = numbered(number)
    await investigator.publish_acked(subject, raw, message_id=str(number))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """After which sequence the stream of actions was asked each time."""
    after: list[int] = []
    batch_get = Broker.batch_get

    def noting(broker: Broker, stream: str, **more: Any) -> AsyncIterator[Stored]:
        assert stream == ACTIONS
        after.append(more["after_seq"])
        return batch_get(broker, stream, **more)

    monkeypatch.setattr(Broker, "batch_get", noting)
    return after


async def test_at_its_start_an_agent_fetches_what_it_missed_with_one_request(running, asked):
    async with running() as broker:
        investigator = await broker.investigator()
        for number in range(20):
            await publish(investigator, number)
        async with living(broker) as one:
            await until(lambda: one.runs == 20, "all ran")
            assert asked == [0]


async def test_after_a_gap_an_agent_fetches_all_that_is_valid_and_runs_what_is_new(running, wire, asked):
    async with running() as broker, wire(broker.server.url) as between:
        investigator = await broker.investigator()
        async with living(broker, url=between.url) as one:
            await publish(investigator, 1)
            await until(lambda: one.runs == 1, "heard live")
            between.freeze()
            between.cut()
            await publish(investigator, 2)
            between.thaw()
            await until(lambda: one.runs == 2, "fetched")
            assert asked == [0, 0]


async def test_every_minute_an_agent_fetches_what_a_silent_gap_has_kept_from_it(running, wire, asked):
    """A leaf node that lost its hub: the connection answers every ping, and brings no message."""
    async with running() as broker, wire(broker.server.url) as between:
        investigator = await broker.investigator()
        between.swallow("mig.action.")
        async with living(broker, url=between.url, catch_up_s=0.05) as one:
            await publish(investigator, 1)
            await until(lambda: one.runs == 1, "fetched")
            await publish(investigator, 2)
            await until(lambda: one.runs == 2, "fetched")
            assert between.swallowed == 2
            assert one.link.problem == ""
            await until(lambda: asked[-1] == 2, "it asks only for what is new")


async def test_what_was_heard_live_and_is_fetched_again_runs_once(running):
    async with running() as broker:
        investigator = await broker.investigator()
        async with living(broker, catch_up_s=0.05) as one:
            await publish(investigator, 1)
            await until(lambda: one.runs == 1, "heard live")
            await broker.restart()
            await publish(await broker.investigator(), 2)
            await until(lambda: one.runs == 2, "the second ran")
            assert [refusal for refusal in await answers(await broker.investigator()) if b"replayed" in refusal] == []


async def test_of_what_was_heard_live_nothing_is_held_while_the_rest_is_fetched(running, monkeypatch):
    """Actions wait until what cancels them was read; a week's worth that was heard must not lie in memory for that."""
    async with running() as broker:
        investigator = await broker.investigator()
        async with living(broker) as one:
            for number in range(20):
                await publish(investigator, number)
            await until(lambda: one.runs == 20, "heard live")
            monkeypatch.setattr(service, "HELD_BYTES", 1)  # what goes beyond it is asked for a second time
            asked, missed = [], one.agent._missed

            def counted(link: Any, after: int) -> AsyncIterator[Stored]:
                asked.append(after)
                return missed(link, after)

            monkeypatch.setattr(one.agent, "_missed", counted)
            await one.agent._hear_missed(one.link, 0)
            assert asked == [0]


async def test_a_stream_with_as_many_messages_as_the_lost_one_hides_nothing(running):
    """The agent has seen sequence 1 of the old stream; sequence 1 of the new one is another action."""
    async with running() as broker:
        await publish(await broker.investigator(), 1)
        async with living(broker) as one:
            await until(lambda: one.runs == 1, "fetched")
            await broker.lose_store()
            await publish(await broker.investigator(), 2)
            await until(lambda: one.runs == 2, "fetched or heard")
            async with living(broker) as other:
                await until(lambda: other.runs == 1, "the new stream has only the second")


async def test_a_stream_that_was_made_anew_behind_a_silent_gap_is_noticed_too(running, wire):
    async with running() as broker, wire(broker.server.url) as between:
        owner, investigator = await broker.owner(), await broker.investigator()
        for number in range(3):
            await publish(investigator, number)
        between.swallow("mig.action.")
        async with living(broker, url=between.url, catch_up_s=0.05) as one:
            await until(lambda: one.runs == 3, "fetched")
            await broker.make_anew(owner, ACTIONS)
            await publish(investigator, 4)
            await until(lambda: one.runs == 4, "fetched from the beginning")


async def answers(investigator: Broker) -> list[bytes]:
    await asyncio.sleep(0)
    return [stored.data async for stored in investigator.read_stream("MIG_RESULTS", "mig.result.*.*")]
