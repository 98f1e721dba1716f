"""`investigator status` against real deployments: well, ailing, and gone."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import Deployment

from investigator.broker.certificates import SERVER_DAYS, make_server
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.config import load_broker, load_console


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        yield deployment


def status(deployment: Deployment) -> tuple[int, dict[str, Any]]:
    done = deployment.call("status", "--output", "json")
    assert done.stderr == b""
    return done.returncode, orjson.loads(done.stdout)


def test_a_deployment_that_is_well_says_so_on_one_screen_and_leaves_with_0(deployment: Deployment) -> None:
    deployment.broker()
    deployment.agent("a-1")
    done = deployment.call("status")
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, lines
    assert lines[0] == "all is well"
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("agents   1: 1 online") for line in lines)
    code, found = status(deployment)
    assert (code, found["ok"], found["encrypted"]) == (0, True, True)
    assert found["agents"] == {"online": 1, "idle": 0, "offline": 0}
    assert {stream["name"] for stream in found["streams"]} >= {"MIG_ACTIONS", "MIG_RESULTS", "MIG_FACTS"}
    assert {one["what"]: round(one["days_left"]) for one in found["expiries"]} == {
        "broker's certificate": 90,
        "CA": 3653,
    }


def test_a_broker_that_is_away_is_said_first_and_leaves_with_4(deployment: Deployment) -> None:
    code, found = status(deployment)
    assert (code, found["ok"], found["answers"]) == (4, False, False)
    assert "connection refused" in found["care"][0]
    assert {one["what"] for one in found["expiries"]} == {"broker's certificate", "CA"}


def test_a_certificate_is_warned_of_thirty_days_ahead_and_one_that_has_expired_is_named(deployment: Deployment) -> None:
    folder = deployment.home / "broker"
    toml = deployment.home / "broker.toml"
    files = '[tls]\ncertificate = "broker/server.pem"\nkey = "broker/server.key"\nca = "broker/ca.pem"\n'
    toml.write_text(toml.read_text().partition("[tls]")[0] + files)  # one's own files: the broker renews nothing
    make_server(folder, (), now_s=time.time() - (SERVER_DAYS - 29.5) * 86400)
    broker = deployment.broker()
    code, found = status(deployment)
    assert code == 7
    assert [line for line in found["care"] if line.startswith("broker's certificate (localhost) expires in 29 days; ")]
    broker.signal(signal.SIGTERM)
    broker.wait()
    make_server(folder, (), now_s=time.time() - (SERVER_DAYS + 3) * 86400)
    refused = deployment.call("broker")
    assert refused.returncode == 5
    assert b"server.pem: expired 3 days ago" in refused.stderr
    code, found = status(deployment)
    assert code == 4
    assert found["care"][1] == "broker's certificate (localhost) expired 3 days ago"


def test_a_missing_stream_and_one_that_fills_up_are_named(deployment: Deployment) -> None:
    deployment.broker()
    asyncio.run(spoil(deployment))
    code, found = status(deployment)
    assert code == 7
    care = "\n".join(found["care"])
    assert "stream MIG_ALERTS is missing" in care
    assert "stream MIG_ACTIONS is 9" in care
    assert "% full; at 100 % it takes nothing more" in care


def test_a_fleet_of_which_nobody_is_online_needs_care(deployment: Deployment) -> None:
    deployment.broker()
    agent = deployment.agent("a-1")
    agent.signal(signal.SIGTERM)
    agent.wait()
    code, found = status(deployment)
    assert code == 7
    assert found["care"] == ["none of 1 agents is online"]


async def spoil(deployment: Deployment) -> None:
    address = load_console(deployment.home).broker
    services = Credentials.load(load_broker(deployment.home).credentials)
    async with await connect(address.url, services, name="spoiler", tls=address.tls) as broker:
        await broker.request("$JS.API.STREAM.DELETE.MIG_ALERTS", b"")
        told = orjson.loads(await broker.request("$JS.API.STREAM.INFO.MIG_ACTIONS", b""))
        settings = {**told["config"], "max_bytes": 11_000}
        await broker.request("$JS.API.STREAM.UPDATE.MIG_ACTIONS", orjson.dumps(settings))
    investigator = Credentials.load(address.credentials)
    async with await connect(address.url, investigator, name="filler", tls=address.tls) as broker:
        await broker.publish_acked("mig.action.all.x", b"x" * 10_000, message_id="x")
