"""What was asked stays on record, whoever asked and whatever came after; recorded results go a day later."""

import asyncio
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from investigator.broker.housekeeping import Housekeeper
from investigator.broker.problems import NotPermittedError, StreamFullError
from investigator.broker.scopes import Scope
from investigator.broker.streams import MAX_PER_ACTION_SUBJECT, ensure_streams
from investigator.protocol.envelope import Envelope
from investigator.protocol.record import TallyRecord
from investigator.protocol.subjects import (
    ACTIONS,
    ALL_ACTION_RECORDS,
    RECORDS,
    RESULTS,
    results_of,
    tally_subject,
)
from signed import ACTION_ID, ALICE, OTHER_ID

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


async def recorded(investigator, count):
    """The records, once there are so many: the server copies within milliseconds, and tells nobody."""
    async with asyncio.timeout(30):
        while True:
            items = [(i.subject, i.data) async for i in investigator.read_stream(RECORDS, ALL_ACTION_RECORDS)]
            if len(items) >= count:
                return items
            await asyncio.sleep(0.01)


def tally(**changes):
    plain = {
        "id": ACTION_ID,
        "digest": "d" * 64,
        "by": ALICE,
        "asked": NOW,
        "counted": NOW,
        "targeted": 1,
        "states": {"found": 1},
        "final": True,
        "through": 1,
        **changes,
    }
    return Envelope(action=TallyRecord(**plain).encode().decode()).encode()


async def test_an_action_its_copies_and_its_cancel_are_all_on_record_however_quickly_they_follow(running):
    async with running() as broker:
        investigator = await broker.investigator()
        for number in range(20):
            await asyncio.gather(
                investigator.publish_acked(f"mig.action.all.x{number}", b"action", message_id=f"a{number}", ttl_s=9),
                investigator.publish_acked(f"mig.action.os.linux.x{number}", b"action", message_id=f"b{number}"),
                investigator.publish_acked(f"mig.action.all.x{number}", b"cancel", message_id=f"c{number}", ttl_s=9),
            )
        items = await recorded(investigator, 60)
        for number in range(20):
            of = [(subject, data) for subject, data in items if subject.endswith(f".x{number}")]
            assert sorted(of) == [
                (f"mig.record.action.all.x{number}", b"action"),
                (f"mig.record.action.all.x{number}", b"cancel"),
                (f"mig.record.action.os.linux.x{number}", b"action"),
            ]


async def test_an_action_that_has_expired_stays_on_record_and_is_last_known_by_its_cancel_until_then(running):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        await investigator.publish_acked("mig.action.all.x", b"action", message_id="1", ttl_s=1)
        await investigator.publish_acked("mig.action.all.x", b"cancel", message_id="2", ttl_s=3)
        last = [i.data async for i in agent.batch_get(ACTIONS, subjects=["mig.action.all.*"])]
        assert last == [b"cancel"]
        async with asyncio.timeout(30):
            while left := [i.data async for i in investigator.read_stream(ACTIONS, ">")]:
                assert left[-1] == b"cancel"
                await asyncio.sleep(0.05)
        await broker.restart()
        assert [data for _, data in await recorded(investigator, 2)] == [b"action", b"cancel"]


async def test_nobody_pushes_an_action_out_before_it_is_recorded(running):
    async with running() as broker:
        investigator = await broker.investigator()
        await investigator.publish_acked("mig.action.all.x", b"action", message_id="1")
        for number in range(1, MAX_PER_ACTION_SUBJECT):
            await investigator.publish_acked("mig.action.all.x", b"noise", message_id=f"n{number}")
        with pytest.raises(StreamFullError, match="maximum messages per subject"):
            await investigator.publish_acked("mig.action.all.x", b"noise", message_id="one more")
        assert (await recorded(investigator, MAX_PER_ACTION_SUBJECT))[0] == ("mig.record.action.all.x", b"action")


@pytest.mark.parametrize("who", ["an investigator", "an agent"])
@pytest.mark.parametrize(
    "subject",
    [
        f"mig.record.action.all.{ACTION_ID}",
        f"$JS.API.STREAM.PURGE.{RECORDS}",
        f"$JS.API.STREAM.MSG.DELETE.{RECORDS}",
        f"$JS.API.STREAM.PURGE.{RESULTS}",
    ],
)
async def test_neither_investigators_nor_agents_write_or_unwrite_what_the_server_records(running, who, subject):
    async with running() as broker:
        somebody = await (broker.investigator() if who == "an investigator" else broker.agent())
        with pytest.raises(NotPermittedError, match="not allowed to publish to"):
            await somebody.request(subject, b"{}", timeout_s=20)


async def test_not_even_the_brokers_own_user_takes_a_record_out(running):
    async with running() as broker:
        owner, investigator = await broker.connect(Scope.SERVICES), await broker.investigator()
        await investigator.publish_acked("mig.action.all.x", b"action", message_id="1")
        await recorded(investigator, 1)
        for request, body in (("PURGE", {}), ("MSG.DELETE", {"seq": 1})):
            answer = orjson.loads(await owner.request(f"$JS.API.STREAM.{request}.{RECORDS}", orjson.dumps(body)))
            assert "not permitted" in answer["error"]["description"]
        assert await recorded(investigator, 1)


async def test_how_long_records_stay_is_the_deployments_to_say_and_can_be_changed(running):
    async with running(streams=False) as broker:
        owner = await broker.connect(Scope.SERVICES)
        await ensure_streams(owner, records_days=30)
        (line,) = await ensure_streams(owner, records_days=400)
        assert line == f"changed stream {RECORDS}: max_age {30 * 86_400 * 10**9} is now {400 * 86_400 * 10**9}"
        assert await ensure_streams(owner) == []


async def answered(broker, agent_id, action=ACTION_ID):
    agent = await broker.agent(agent_id)
    return await agent.publish_acked(f"mig.result.{action}.{agent_id}", b"x", message_id=f"{action}{agent_id}")


async def test_results_go_a_day_after_their_end_is_on_record_and_no_others(running):
    async with running() as broker:
        owner, investigator = await broker.connect(Scope.SERVICES), await broker.investigator()
        first = await answered(broker, "a1")
        await answered(broker, "a2", OTHER_ID)
        await investigator.publish_acked(tally_subject(ACTION_ID, ALICE), tally(through=first), message_id="t")
        await answered(broker, "a3")
        housekeeper, now = Housekeeper(owner), datetime.now(UTC)
        assert await housekeeper.once(now=now + timedelta(hours=23)) == []
        (line,) = await housekeeper.once(now=now + timedelta(hours=25))
        assert line.startswith(f"purged 1 results of action {ACTION_ID}")
        left = [i.subject async for i in investigator.read_stream(RESULTS, ">")]
        assert left == [f"mig.result.{OTHER_ID}.a2", f"mig.result.{ACTION_ID}.a3"]
        assert await housekeeper.once(now=now + timedelta(hours=49)) == []


@pytest.mark.parametrize(
    "payload",
    [b"rubbish", b"{}", tally(final=False), tally(id=OTHER_ID), tally()[:-9], tally(through=0)],
    ids=["rubbish", "no envelope", "not final", "another action", "cut", "nothing counted"],
)
async def test_what_is_no_final_tally_of_an_action_purges_nothing(running, payload):
    async with running() as broker:
        owner, investigator = await broker.connect(Scope.SERVICES), await broker.investigator()
        await answered(broker, "a1")
        await investigator.publish_acked(tally_subject(ACTION_ID, ALICE), payload, message_id="t")
        assert await Housekeeper(owner).once(now=datetime.now(UTC) + timedelta(days=2)) == []
        assert [i.data async for i in investigator.read_stream(RESULTS, results_of(ACTION_ID))] == [b"x"]
