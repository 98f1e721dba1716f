"""The streams, and reading them without consumers."""

import asyncio

import orjson
import pytest

from investigator.broker import batch
from investigator.broker.problems import NotLastError
from investigator.broker.scopes import Scope
from investigator.broker.streams import STREAMS, ensure_streams
from investigator.errors import BrokerError
from investigator.protocol.subjects import ACTIONS, FACTS, HEARTBEATS, RESULTS


async def test_streams_are_made_once_and_then_left_alone(running):
    async with running(streams=False) as broker:
        owner = await broker.connect(Scope.SERVICES)
        made = await ensure_streams(owner)
        assert [line.split(" (")[0] for line in made] == [f"made stream {name}" for name in STREAMS]
        assert await ensure_streams(owner) == []
        await broker.restart()
        assert await ensure_streams(owner) == []


async def test_a_stream_that_differs_is_brought_up_to_date_and_keeps_its_messages(running):
    async with running(streams=False) as broker:
        owner, agent = await broker.connect(Scope.SERVICES), await broker.agent()
        old = {"name": RESULTS, "subjects": ["mig.result.>"], "max_consumers": 10000, "discard": "old"}
        await owner.request(f"$JS.API.STREAM.CREATE.{RESULTS}", orjson.dumps(old))
        await agent.publish_acked("mig.result.x.a1", b"kept", message_id="1")
        (changed,) = [line for line in await ensure_streams(owner) if line.startswith("changed")]
        assert f"changed stream {RESULTS}: " in changed
        assert "discard old is now new" in changed
        assert await ensure_streams(owner) == []
        investigator = await broker.investigator()
        assert [item.data async for item in investigator.read_stream(RESULTS, ">")] == [b"kept"]


async def test_what_cannot_be_changed_names_the_stream(running):
    async with running(streams=False) as broker:
        owner = await broker.connect(Scope.SERVICES)
        old = {"name": FACTS, "subjects": ["mig.facts.*"], "storage": "memory"}
        await owner.request(f"$JS.API.STREAM.CREATE.{FACTS}", orjson.dumps(old))
        with pytest.raises(BrokerError, match=f"^stream {FACTS}: .*can not"):
            await ensure_streams(owner)


async def test_special_features_are_off_everywhere(running):
    async with running() as broker:
        investigator = await broker.investigator()
        for name in STREAMS:
            answer = orjson.loads(await investigator.request(f"$JS.API.STREAM.INFO.{name}", b""))
            configuration = answer["config"]
            for feature in ("allow_rollup_hdrs", "allow_msg_schedules", "allow_msg_counter", "allow_atomic"):
                assert not configuration.get(feature)
            assert bool(configuration.get("allow_msg_ttl")) is (name == ACTIONS)
            assert configuration["discard"] == "new"


async def test_of_facts_and_heartbeats_only_the_last_is_kept(running):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        for number in range(3):
            await agent.publish_acked("mig.facts.a1", b"%d" % number, message_id=str(number))
            await agent.publish("mig.hb.a1", b"%d" % number)
        await agent.flush()
        assert [item.data async for item in investigator.read_stream(FACTS, "mig.facts.*")] == [b"2"]
        async with asyncio.timeout(20):  # heartbeats are not acknowledged, so the last may be on its way
            while [i.data async for i in investigator.read_stream(HEARTBEATS, "mig.hb.*")] != [b"2"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_heartbeats_wait_for_no_disk_and_their_stream_is_made_anew_where_they_did(running):
    async with running(streams=False) as broker:
        owner, agent = await broker.connect(Scope.SERVICES), await broker.agent()
        old = {**STREAMS[HEARTBEATS], "name": HEARTBEATS, "num_replicas": 1}
        await owner.request(f"$JS.API.STREAM.CREATE.{HEARTBEATS}", orjson.dumps(old))
        (line,) = [line for line in await ensure_streams(owner) if HEARTBEATS in line]
        assert line == f"made stream {HEARTBEATS} anew: heartbeats come again within a minute"
        assert await ensure_streams(owner) == []
        config = orjson.loads(await owner.request(f"$JS.API.STREAM.INFO.{HEARTBEATS}", b""))["config"]
        assert config["persist_mode"] == "async"
        await agent.publish("mig.hb.a1", b"here")
        await agent.flush()
        async with asyncio.timeout(20):
            while [i.data async for i in owner.read_stream(HEARTBEATS, "mig.hb.*")] != [b"here"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_what_a_sender_says_of_the_last_message_decides_whether_its_own_is_stored(running):
    async with running() as broker:
        agent = await broker.agent()
        assert await agent.publish_acked("mig.facts.a1", b"one", message_id="1", last=0) == 1
        with pytest.raises(NotLastError) as raised:
            await agent.publish_acked("mig.facts.a1", b"two", message_id="2", last=0)
        assert raised.value.last == 1
        assert await agent.publish_acked("mig.facts.a1", b"two", message_id="2", last=1) == 2


async def publish_actions(broker, subjects):
    owner = await broker.investigator()
    await asyncio.gather(*(owner.publish_acked(s, s.encode(), message_id=s, timeout_s=30) for s in subjects))


async def test_an_agent_fetches_what_it_missed_in_order_and_once(running):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        for subject in ("all.x1", "os.linux.x2", "os.windows.x3", "agent.a1.x4", "agent.a2.x5", "tag.role.db.x6"):
            await investigator.publish_acked(f"mig.action.{subject}", b"first", message_id=subject)
        await investigator.publish_acked("mig.action.all.x1", b"cancel", message_id="cancel")
        mine = ["mig.action.all.*", "mig.action.os.linux.*", "mig.action.tag.role.db.*", "mig.action.agent.a1.*"]
        items = [item async for item in agent.batch_get(ACTIONS, subjects=mine, after_seq=0)]
        assert [(item.sequence, item.subject.rpartition(".")[2], item.data) for item in items] == [
            (2, "x2", b"first"),
            (4, "x4", b"first"),
            (6, "x6", b"first"),
            (7, "x1", b"cancel"),
        ]
        assert all(item.time.utcoffset() is not None for item in items)
        assert [item async for item in agent.batch_get(ACTIONS, subjects=mine, after_seq=7)] == []


async def test_a_stream_that_was_made_anew_is_read_from_its_beginning(running):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        await investigator.publish_acked("mig.action.all.x1", b"do", message_id="1")
        items = [item async for item in agent.batch_get(ACTIONS, subjects=["mig.action.all.*"], after_seq=99)]
        assert [(item.sequence, item.data) for item in items] == [(1, b"do")]


async def test_more_subjects_than_one_request_may_match_are_all_fetched(running):
    async with running() as broker:
        agent = await broker.agent()
        subjects = [f"mig.action.{route}.x{n}" for n in range(600) for route in ("all", "os.linux")]
        await publish_actions(broker, subjects)
        mine = ["mig.action.all.*", "mig.action.os.linux.*", "mig.action.agent.a1.*"]
        items = [item async for item in agent.batch_get(ACTIONS, subjects=mine, after_seq=0)]
        assert sorted(item.subject for item in items) == sorted(subjects)
        newest = [item async for item in agent.batch_get(ACTIONS, subjects=mine, after_seq=1195)]
        assert sorted(item.sequence for item in newest) == [1196, 1197, 1198, 1199, 1200]


async def test_overlapping_filters_bring_a_message_once(running):
    async with running() as broker:
        agent = await broker.agent()
        await publish_actions(broker, [f"mig.action.all.x{n}" for n in range(1100)])
        mine = ["mig.action.all.*", "mig.action.*.x1"]
        items = [item async for item in agent.batch_get(ACTIONS, subjects=mine)]
        assert len(items) == len({item.sequence for item in items}) == 1100


async def test_pages_that_are_smaller_than_a_message_bring_one_each(running):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        for number in range(3):
            await investigator.publish_acked(f"mig.action.all.x{number}", bytes(100_000), message_id=str(number))
        items = [
            item async for item in agent.batch_get(ACTIONS, subjects=["mig.action.all.*"], after_seq=0, page_bytes=1000)
        ]
        assert [(item.sequence, len(item.data)) for item in items] == [(1, 100_000), (2, 100_000), (3, 100_000)]


@pytest.mark.parametrize("sizes", [[10] * (2 * batch.PAGE_MESSAGES + 1), [300_000] * 18, []])
async def test_a_stream_of_many_pages_is_read_whole(running, sizes):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        await asyncio.gather(
            *(
                agent.publish_acked(f"mig.result.x{n}.a1", bytes(size), message_id=str(n), timeout_s=30)
                for n, size in enumerate(sizes)
            )
        )
        items = [item async for item in investigator.read_stream(RESULTS, "mig.result.*.a1")]
        assert [item.sequence for item in items] == list(range(1, len(sizes) + 1))
        assert [len(item.data) for item in items] == sizes


async def test_a_feature_that_somebody_turned_on_is_turned_off_again(running):
    async with running() as broker:
        owner = await broker.connect(Scope.SERVICES)
        answer = orjson.loads(await owner.request(f"$JS.API.STREAM.INFO.{RESULTS}", b""))
        changed = answer["config"] | {"allow_rollup_hdrs": True}
        await owner.request(f"$JS.API.STREAM.UPDATE.{RESULTS}", orjson.dumps(changed))
        assert await ensure_streams(owner) == [f"changed stream {RESULTS}: allow_rollup_hdrs True is now False"]
        assert await ensure_streams(owner) == []
