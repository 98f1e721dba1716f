"""A deployment as its operators watch it: one action's story with one grep, how agents and services fare, what a scraper reads."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import Deployment

from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.housekeeping import Housekeeper
from investigator.broker.server_tls import services_address
from investigator.config import load_broker
from metrics_text import read_metrics, value

SEARCH = ("file", "-path", "/etc", "-name", "^passwd$")
SECRET = "needle: the launch code is 0000"


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        yield deployment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(deployment: Deployment, file: str, text: str) -> None:
    """Tables first: what stands in front of them is a setting of its own."""
    path = deployment.home / f"{file}.toml"
    path.write_text(f"{path.read_text()}\n{text}\n")


def logged(deployment: Deployment, *files: str) -> str:
    return "".join((deployment.home / file).read_text() for file in files)


def grep(text: str, word: str) -> list[dict[str, Any]]:
    """In the order of time, which is that of the program within a millisecond."""
    found = [orjson.loads(line) for line in text.splitlines() if word in line]
    return sorted(found, key=lambda line: line["time"])


def events(lines: list[dict[str, Any]], program: str) -> list[str]:
    return [line["event"] for line in lines if line["program"] == program]


def test_one_grep_tells_an_actions_story_from_the_console_to_the_agent_and_back(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("agent", "broker", "gateway"):
        say(deployment, name, f'[log]\nfile = "{name}.jsonl"')
    deployment.broker()
    deployment.agent("a-1")
    log = deployment.home / "console.jsonl"
    looked_into = deployment.home / "looked-into"
    looked_into.mkdir()
    (looked_into / "found-there").write_text(f"{SECRET}\n")
    search = ("file", "-path", str(looked_into), "-content", "^needle")
    answer = deployment.ask("-log", str(log), "-t", "all", *search)
    assert answer.states == {"a-1": "found"}
    action = answer.summary["action"]
    lines = grep(logged(deployment, "console.jsonl", "agent.jsonl"), action)
    assert events(lines, "console") == ["published", "arrived", "tallied"]
    assert events(lines, "agent") == [
        "received",
        "admitted",
        "started",
        "operation-ended",
        "ended",
        "answered",
        "delivered",
    ]
    assert {line["action"] for line in lines} == {action}
    assert len({line["digest"] for line in lines if "digest" in line}) == 1
    agents = {line["agent"] for line in lines if line["program"] == "agent"}
    assert agents == {line["agent"] for line in lines if line["event"] == "arrived"}
    at = {line["event"]: line["time"] for line in lines}
    # the console may hear of the answer before the agent hears that the stream has it
    story = ["received", "admitted", "started", "ended", "answered", "arrived", "tallied"]
    assert [at[event] for event in story] == sorted(at[event] for event in story)
    assert ask_gateway(deployment, action) == ["tallied", "request-answered"]
    with caplog.at_level("INFO", "investigator.broker.housekeeping"):
        asyncio.run(_keep_house(deployment, action))
    kept = [record.about for record in caplog.records if hasattr(record, "about")]
    assert [(about["event"], about["action"]) for about in kept] == [("recorded", action), ("purged", action)]
    whole = logged(deployment, "console.jsonl", "agent.jsonl", "broker.jsonl")
    assert [text for text in (SECRET, "found-there", "PRIVATE", "token = ") if text in whole] == []
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def ask_gateway(deployment: Deployment, action: str) -> list[str]:
    """A script asks for the action's results; what the gateway's log has of that."""
    deployment.start("gateway").until("gateway ready")
    credentials = deployment.home / "nightly.creds"
    assert deployment.call("gateway", "script", "nightly", "-o", str(credentials)).returncode == 0
    request = orjson.dumps({"action": action})
    done = deployment.call("gateway", "call", "results", "--credentials", str(credentials), stdin=request)
    assert done.returncode == 0, done.stderr
    return events(grep(logged(deployment, "gateway.jsonl"), action), "gateway")


async def _keep_house(deployment: Deployment, action: str) -> None:
    """What the broker does a day later: the action's end is on record, and its results go."""
    config = load_broker(deployment.home)
    url, tls = services_address(config)
    async with await connect(url, Credentials.load(config.credentials), name="test", tls=tls) as broker:
        keeper = Housekeeper(broker, kept=timedelta(0))
        (line,) = await keeper.once(now=datetime.now(UTC) + timedelta(seconds=5))
    assert action in line
    assert (keeper.counts.recorded, keeper.counts.purged) == (1, 1)


def test_agents_answer_for_themselves_and_strangers_learn_nothing(deployment: Deployment, tmp_path: Path) -> None:
    deployment.broker()
    deployment.agents("a-1", "a-2")
    deployment.ask("-t", "all", *SEARCH)
    done = deployment.call("status", "a-1", "--output", "json")
    assert done.returncode == 0, done.stderr
    told = orjson.loads(done.stdout)
    (outcome,), summary = told["outcomes"], told["summary"]
    report = outcome["results"][0]["elements"]
    assert (outcome["agent"]["name"], summary["targeted"]) == ("a-1", 1)
    assert (report["admitted"], report["ended"], report["connected"]) == (2, {"found": 1}, True)
    assert [(one["module"], one["code"], one["count"]) for one in report["operations"]] == [("file", "done", 1)]
    text = deployment.call("status", "-t", "all")
    assert text.returncode == 0
    assert sum(" in the last 5 minutes), 1 running; ended: " in line for line in text.stdout.decode().splitlines()) == 2
    stranger = deployment.stranger(tmp_path / "stranger")
    refused = deployment.ask("-t", "all", "status", home=stranger)
    assert set(refused.states.values()) == {"refused"}
    assert not [result for outcome in refused.outcomes.values() for result in outcome["results"]]


def test_on_its_own_host_an_agent_is_asked_without_a_key_and_without_a_broker(
    deployment: Deployment, tmp_path: Path
) -> None:
    agent = deployment.agent("a-1", until="")
    agent.until("connection refused")
    done = deployment.call("agent", "status", "--name", "a-1")
    assert done.returncode == 0, done.stderr
    assert "NOT CONNECTED" in done.stdout.decode().splitlines()[0]
    page = tmp_path / "investigator.prom"
    for _ in range(2):  # the second time it is replaced
        done = deployment.call("agent", "status", "--name", "a-1", "--prometheus", "--out", str(page))
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    samples = read_metrics(page.read_text())
    assert value(samples, "investigator_agent_connected") == 0
    assert stat.S_IMODE(page.stat().st_mode) == 0o644
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    report = orjson.loads(deployment.call("agent", "status", "--name", "a-1", "--json").stdout)
    assert report["name"] == "a-1"
    agent.signal(signal.SIGTERM)
    agent.wait()
    gone = deployment.call("agent", "status", "--name", "a-1")
    assert gone.returncode == 5
    assert b"No agent runs there" in gone.stderr


def test_prometheus_is_answered_by_agent_broker_and_gateway_where_they_are_told_to(deployment: Deployment) -> None:
    ports = {name: free_port() for name in ("agent", "broker", "gateway")}
    for name, port in ports.items():
        say(deployment, name, f'[metrics]\nlisten = "127.0.0.1:{port}"')
    deployment.broker()
    deployment.agent("a-1")
    deployment.start("gateway").until("gateway ready")
    deployment.ask("-t", "all", *SEARCH)
    pages = {}
    for name, port in ports.items():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            pages[name] = read_metrics(answer.read().decode())
    assert value(pages["agent"], "investigator_agent_actions_total", outcome="found") == 1
    assert value(pages["agent"], "investigator_agent_delivered_total") >= 1
    assert value(pages["broker"], "investigator_stream_messages", stream="MIG_FACTS") == 1
    assert value(pages["broker"], "investigator_service_events_total", part="enrolment", kind="enrolled") == 1
    assert value(pages["gateway"], "investigator_service_requests_total", part="run") == 0
    whole = read_metrics(deployment.call("status", "--prometheus").stdout.decode())
    assert value(whole, "investigator_agents", status="online") == 1
    assert value(whole, "investigator_needs_care") == 0
    assert value(whole, "investigator_service_info", service="mig-api") == 1
    assert value(whole, "investigator_service_info", service="mig-services") == 1
    assert 0 < value(whole, "investigator_expires_in_seconds", what="broker's certificate") <= 90 * 86_400
    status = orjson.loads(deployment.call("status", "--output", "json").stdout)
    services = {service["name"]: service for service in status["services"]}
    assert set(services) == {"mig-api", "mig-services"}
    assert [problem["level"] for problem in services["mig-services"]["problems"]] == ["warning"]
    assert "enrolment: a-1 (" in services["mig-services"]["problems"][0]["text"]


def test_a_broker_that_is_away_is_a_metric_too(deployment: Deployment) -> None:
    done = deployment.call("status", "--prometheus")
    samples = read_metrics(done.stdout.decode())
    assert done.returncode == 4
    assert value(samples, "investigator_broker_up") == 0
    assert value(samples, "investigator_needs_care") >= 1
    assert not [name for name, _ in samples if name == "investigator_agents"]


def test_a_setting_that_cannot_be_is_said_at_the_start(deployment: Deployment) -> None:
    say(deployment, "broker", '[metrics]\nlisten = "0.0.0.0:9464"')
    say(deployment, "agent", '[log]\nfile = "/proc/nowhere/agent.jsonl"')
    broker, agent = deployment.call("broker"), deployment.call("agent", "--name", "a-1")
    assert b"[metrics] listen: 0.0.0.0:9464: other hosts would reach it" in broker.stderr
    assert b"[log] file /proc/nowhere/agent.jsonl: " in agent.stderr
    assert b"Traceback" not in broker.stderr + agent.stderr
