"""Streams into files and back: with all that they held, into empty ones only."""

import stat

import orjson
import pytest

from investigator.broker.backup import back_up, restore
from investigator.broker.scopes import Scope
from investigator.broker.streams import stream_states
from investigator.errors import BadInput, BrokerError, DeploymentError
from investigator.protocol.subjects import ACTIONS, ALL_ACTIONS


async def messages(broker):
    investigator = await broker.investigator()
    return [one async for one in investigator.read_stream(ACTIONS, ALL_ACTIONS)]


@pytest.fixture
def backup(tmp_path, running):
    """Make one of a broker that holds these many actions; returns what was in it."""

    async def make(number):
        async with running() as broker:
            investigator = await broker.investigator()
            for index in range(number):
                data = bytes([index % 256]) * 100_000
                await investigator.publish_acked(f"mig.action.all.a{index}", data, message_id=f"{index}", ttl_s=3600)
            services = await broker.connect(Scope.SERVICES)
            lines = await back_up(services, tmp_path / "backup")
            assert f"saved stream {ACTIONS}: {number} messages" in lines[0]
            return await messages(broker)

    return make


async def test_what_is_read_back_is_what_was_there_to_the_sequence_and_time(backup, running, broker_folder, tmp_path):
    before = await backup(30)
    (broker_folder / "store").rename(tmp_path / "gone")
    async with running() as broker:
        services = await broker.connect(Scope.SERVICES)
        lines = await restore(services, tmp_path / "backup")
        assert f"restored stream {ACTIONS}: 30 messages" in lines
        assert await messages(broker) == before
        assert all(state.exists for state in await stream_states(services))


async def test_a_backup_is_its_owners_alone_and_never_written_over(backup, running, tmp_path):
    await backup(1)
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    async with running() as broker:
        services = await broker.connect(Scope.SERVICES)
        with pytest.raises(DeploymentError, match="backup: File exists"):
            await back_up(services, tmp_path / "backup")


async def test_streams_that_hold_something_are_not_replaced(backup, running, tmp_path):
    before = await backup(2)
    async with running() as broker:
        services = await broker.connect(Scope.SERVICES)
        with pytest.raises(BrokerError, match=f"stream {ACTIONS} holds 2 messages already; nothing was changed"):
            await restore(services, tmp_path / "backup")
        assert await messages(broker) == before


async def test_what_is_no_backup_is_one_clear_line(backup, running, broker_folder, tmp_path):
    await backup(3)
    (broker_folder / "store").rename(tmp_path / "gone")
    saved = tmp_path / "backup"
    async with running() as broker:
        services = await broker.connect(Scope.SERVICES)
        with pytest.raises(DeploymentError, match="there is no backup of streams"):
            await restore(services, tmp_path)
        description = (saved / f"{ACTIONS}.json").read_bytes()
        for spoiled in (b"rubbish", b"[]", orjson.dumps({"config": {"name": "MIG_RESULTS"}, "state": {}})):
            (saved / f"{ACTIONS}.json").write_bytes(spoiled)
            with pytest.raises(BadInput, match=f"{ACTIONS}.json: "):
                await restore(services, saved)
        (saved / f"{ACTIONS}.json").write_bytes(description)
        (saved / f"{ACTIONS}.snapshot").write_bytes(b"rubbish")
        with pytest.raises(BrokerError, match=f"stream {ACTIONS}: "):
            await restore(services, saved)


async def test_agents_and_investigators_make_no_backups(running, tmp_path):
    async with running() as broker:
        for user in (await broker.agent("a1"), await broker.investigator()):
            with pytest.raises(BrokerError):
                await back_up(user, tmp_path / user.inbox)
