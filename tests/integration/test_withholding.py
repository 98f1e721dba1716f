"""A broker that takes no result on is seen by the agents' own heartbeats, and has only delayed what they found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployment import Deployment
from rogue import ask, look_again, signed, steal, stored

from investigator.broker import operator
from investigator.broker.scopes import Account
from investigator.protocol.subjects import ALL_RESULTS, RESULTS, result_subject


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        settings = deployment.home / "agent.toml"
        text = settings.read_text()
        assert "heartbeat_s = 60\n" in text
        settings.write_text(text.replace("heartbeat_s = 60\n", "heartbeat_s = 1\ncatch_up_s = 1\n"))
        yield deployment


def let_results_through(fleet: Deployment, *, through: bool) -> None:
    """With the operator's key: what agents publish as results leads somewhere, or nowhere."""
    folder, now_s = fleet.home / "broker", int(time.time())
    if through:
        operator.bring_up_to_date(folder, now_s=now_s)
        return
    claims = operator.load_account(folder, Account.AGENTS)
    imports = [one for one in claims.nats["imports"] if one["subject"] != ALL_RESULTS]
    assert len(imports) == len(claims.nats["imports"]) - 1
    operator._sign_account(folder, Account.AGENTS, claims, {**claims.nats, "imports": imports}, now_s)


async def test_results_that_a_broker_lets_nobody_have_are_missed_by_name_and_arrive_once_it_does(
    fleet: Deployment,
) -> None:
    fleet.broker()
    await asyncio.to_thread(fleet.agent, "web-1")
    let_results_through(fleet, through=False)
    log = fleet.home / "broker/nats-server.log"
    while "Reloaded" not in log.read_text():  # noqa: ASYNC110 - another process's log
        await asyncio.sleep(0.1)
    asked = await ask(fleet, signed(fleet, life_s=5))
    assert asked.states == {"web-1": "expired"}
    assert asked.warnings == ["web-1 has the action, as its own heartbeat says, and its result never came"]
    let_results_through(fleet, through=True)
    subject = result_subject(asked.action, steal(fleet, "web-1").identity.id)
    while not await stored(fleet, RESULTS, subject):  # noqa: ASYNC110 - an outbox has no event here
        await asyncio.sleep(0.2)
    assert (await look_again(fleet, asked.action)).states == {"web-1": "found"}
