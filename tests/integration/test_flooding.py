"""A flood costs availability only, is seen, and ends: honest answers, which waited on their hosts, arrive afterwards."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import Deployment
from rogue import ask, ask_broker, look_again, signed, steal, stored, without_manners

from investigator.protocol.subjects import RESULTS, result_subject

MIB = 1 << 20


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        settings = deployment.home / "broker.toml"
        text = re.sub(r'(policy = "token".*\n)', rf"\1flood_bytes_per_minute = {MIB}\n", settings.read_text())
        assert "flood_bytes" in text
        settings.write_text(text)
        yield deployment


async def fill(fleet: Deployment, name: str) -> int:
    """Publish as this agent until the stream takes not even a byte more; how often it said so."""
    refused, number, rogue = 0, 0, steal(fleet, name)
    async with without_manners(fleet, rogue.credentials) as client:
        for size in (300_000, 10_000, 300, 1):
            while True:
                number += 1
                # random bytes are not compressed away
                answer = await client.request(
                    result_subject(f"{number:032x}", rogue.identity.id), number.to_bytes(4) * (size // 4), timeout=10
                )
                if "error" in orjson.loads(answer.data):
                    refused += 1
                    break
    return refused


async def listed(fleet: Deployment, name: str) -> dict[str, Any]:
    done = await asyncio.to_thread(fleet.call, "enrol", "list", "--output", "json")
    (row,) = (row for row in orjson.loads(done.stdout)["agents"] if row["name"] == name)
    return dict(row)


async def test_a_flooder_is_named_and_shut_out_and_honest_answers_arrive_afterwards(fleet: Deployment) -> None:
    broker = fleet.broker()
    await asyncio.to_thread(fleet.agents, "loud", "honest")
    config = (await ask_broker(fleet, f"STREAM.INFO.{RESULTS}", {}))["config"]
    await ask_broker(fleet, f"STREAM.UPDATE.{RESULTS}", {**config, "max_bytes": 2 * MIB, "compression": "none"})
    before = await ask(fleet, signed(fleet))
    assert await fill(fleet, "loud") == 4
    await asyncio.to_thread(broker.until, "sent more than 1,048,576 bytes within a minute")
    honest = steal(fleet, "honest").identity.id
    asked = await ask(fleet, signed(fleet))
    assert asked.states == {"loud": "found", "honest": "found"}, "what is heard live is not kept from who asks"
    assert any(f"stream {RESULTS} takes nothing more" in line for line in asked.warnings)
    subject = result_subject(asked.action, honest)
    assert await stored(fleet, RESULTS, subject) == []
    assert len(await stored(fleet, RESULTS, result_subject(before.action, honest))) == 1, "nothing was pushed out"
    done = await asyncio.to_thread(fleet.call, "enrol", "revoke", "loud", "--reason", "it floods")
    assert done.returncode == 0, done.stderr
    while not await stored(fleet, RESULTS, subject):  # noqa: ASYNC110 - an outbox has no event here
        await asyncio.sleep(0.2)
    assert (await look_again(fleet, asked.action)).states["honest"] == "found"
    row = await listed(fleet, "loud")
    assert row["state"] == "revoked"
    assert "sent more than" in row["notices"][0]
    while (await listed(fleet, "loud"))["bytes"] < MIB:  # noqa: ASYNC110 - the service writes its counts down every 10 s
        await asyncio.sleep(1)
