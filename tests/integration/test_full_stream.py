"""A results' stream that is full, or nearly so, is said by whoever reads from it."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from deployment import Deployment
from rogue import ask_broker

from investigator.broker.streams import how_full
from investigator.console.audience import Unmoved
from investigator.console.full_stream import warn_of_full_stream
from investigator.protocol.answer import MAX_PART_BYTES
from investigator.protocol.subjects import RESULTS

MAX_BYTES = 20 * MAX_PART_BYTES


@pytest.mark.parametrize(
    ("parts", "said"),
    [(0, ""), (17, ""), (18.2, "is 91 % full; at 100 % answers wait"), (19.2, "takes nothing more: answers wait")],
)
async def test_one_line_says_how_little_room_is_left(running, parts, said):
    async with running() as broker:
        owner, agent, console = await broker.owner(), await broker.agent(), await broker.investigator()
        config = orjson.loads(await owner.request(f"$JS.API.STREAM.INFO.{RESULTS}", b""))["config"]
        changed = {**config, "max_bytes": MAX_BYTES, "compression": "none"}
        await owner.request(f"$JS.API.STREAM.UPDATE.{RESULTS}", orjson.dumps(changed))
        left = int(parts * MAX_PART_BYTES)
        while left > 0:
            size = min(left, 200_000)
            await agent.publish_acked("mig.result.x.a1", bytes(size), message_id=str(left))
            left -= size
        state = await how_full(console, RESULTS)
        assert abs(state.bytes - parts * MAX_PART_BYTES) < 10_000
        assert state.room_bytes == MAX_BYTES - state.bytes
        warnings: list[str] = []
        await warn_of_full_stream(console, Unmoved(warnings.append))
        assert len(warnings) == bool(said)
        assert said in "".join(warnings)


async def test_a_broker_that_is_away_or_has_no_such_stream_is_no_reason_for_a_word(running):
    async with running(streams=False) as broker:
        console = await broker.investigator()
        warnings: list[str] = []
        await warn_of_full_stream(console, Unmoved(warnings.append))
        await console.close()
        await warn_of_full_stream(console, Unmoved(warnings.append))
        assert warnings == []


async def test_results_says_that_the_stream_has_no_room(tmp_path: Path):
    with Deployment(tmp_path / "home") as alone:
        alone.broker()
        alone.agent("web-1")
        assert alone.ask("-t", "all", "pkg", "--name", "^nothing$").states == {"web-1": "notfound"}
        before = alone.call("results", "last")
        assert b"answers wait" not in before.stderr
        config = (await ask_broker(alone, f"STREAM.INFO.{RESULTS}", {}))["config"]
        await ask_broker(alone, f"STREAM.UPDATE.{RESULTS}", {**config, "max_bytes": MAX_PART_BYTES})
        after = alone.call("results", "last")
        assert after.returncode == before.returncode == 0
        assert after.stderr.count(b"stream MIG_RESULTS takes nothing more: answers wait on their hosts") == 1
