"""The audit end to end: a real agent writes it, heartbeats carry its head, the command line finds what root does to it."""

from __future__ import annotations

import hashlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import Deployment, Process

from investigator.config import load_console


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        deployment.broker()
        yield deployment


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "passwd").write_text("root:x:0:0\n")
    return folder


def state_of(deployment: Deployment, name: str) -> Path:
    return deployment.home / "agents" / name


def audit_of(deployment: Deployment, name: str) -> list[dict[str, Any]]:
    return [orjson.loads(raw) for raw in (state_of(deployment, name) / "audit.jsonl").read_bytes().splitlines()]


def stop(agent: Process) -> None:
    """Its last heartbeat, which the broker has when it ends, carries the newest head."""
    agent.signal(signal.SIGTERM)
    assert agent.wait() == 0


def written_anew(state: Path, change: bytes, to: bytes) -> None:
    """What root can do: change a line, and compute everything after it again, so that the chain is perfect by itself."""
    lines = []
    digest = "0" * 64
    for raw in (state / "audit.jsonl").read_bytes().splitlines():
        document = orjson.loads(raw.replace(change, to))
        document["prev"] = digest
        lines.append(orjson.dumps(document))
        digest = hashlib.sha256(lines[-1]).hexdigest()
    (state / "audit.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    (state / "audit.head").write_bytes(orjson.dumps({"n": len(lines), "head": digest}))


def test_decisions_of_an_agent_and_how_runs_ended_are_shown_and_hold_with_what_the_console_heard(
    alone: Deployment, tree: Path
) -> None:
    agent = alone.agent("web-1")
    answer = alone.ask("file", "--path", str(tree), "--name", "^passwd$")
    action = answer.outcomes["web-1"]["action"]
    until_witnessed(alone, lines=3)
    stop(agent)
    first, decision, end = audit_of(alone, "web-1")
    assert (first["kind"], first["code"]) == ("chain", "first")
    assert (decision["verdict"], decision["action"], decision["operations"]) == ("admitted", action, ["file"])
    assert [len(signer) for signer in decision["signers"]] == [40]
    assert (end["kind"], end["state"], end["digest"]) == ("end", "found", decision["digest"])
    shown = alone.call("audit", "show", "--action", action[:8], "--output", "ndjson")
    assert [orjson.loads(line) for line in shown.stdout.splitlines()] == [decision, end]
    assert b"admitted" in alone.call("audit", "show", "--since", "1h").stdout
    assert alone.call("audit", "show", "--since", "2999-01-01T00:00:00Z").stdout == b""
    heads = alone.call("audit", "heads", "--agent", "web-1", "--output", "json")
    assert orjson.loads(heads.stdout)["heads"][-1]["count"] == 3
    verified = alone.call("audit", "verify")
    assert verified.returncode == 0
    assert b"lines 1 to 3 of agent" in verified.stdout
    assert b"heads that the console has are in it" in verified.stdout


def test_refusals_are_recorded_and_a_flood_of_strangers_cannot_fill_the_disk(
    alone: Deployment, tree: Path, tmp_path: Path
) -> None:
    agent = alone.agent("web-1")
    stranger = alone.stranger(tmp_path / "stranger")
    answer = alone.ask("file", "--path", str(tree), "--name", "x", home=stranger)
    assert answer.states == {"web-1": "refused"}
    flood(alone, 200)
    stop(agent)
    refusals = [line for line in audit_of(alone, "web-1") if line.get("verdict") == "refused"]
    assert refusals[0]["code"] == "signature"
    assert "signers" not in refusals[0]
    assert len(refusals) <= 10
    assert sum(line.get("unwritten", 0) for line in audit_of(alone, "web-1")) == 201 - len(refusals)


def until_witnessed(deployment: Deployment, *, lines: int) -> None:
    """Until the console has heard of so many lines: sooner than the next regular heartbeat, which is a minute away."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        heads = orjson.loads(deployment.call("audit", "heads", "--output", "json").stdout)["heads"]
        if heads and heads[-1]["count"] == lines:
            return
    raise AssertionError(f"no heartbeat told of {lines} lines")


def flood(deployment: Deployment, count: int) -> None:
    import asyncio

    from investigator.console.link import console_link

    async def publish() -> None:
        async with console_link(load_console(deployment.home)) as broker:
            for number in range(count):
                await broker.publish(f"mig.action.all.{number:032x}", b'{"v":1}')
            await broker.flush()

    asyncio.run(publish())


def test_a_chain_that_root_wrote_anew_is_found_by_what_the_console_heard_and_by_nothing_else(
    alone: Deployment, tree: Path, tmp_path: Path
) -> None:
    agent = alone.agent("web-1")
    alone.ask("file", "--path", str(tree), "--name", "^passwd$")
    stop(agent)
    exported = tmp_path / "heads.json"
    exported.write_bytes(alone.call("audit", "heads", "--output", "json").stdout)
    state = state_of(alone, "web-1")
    written_anew(state, b'"found"', b'"notfound"')
    here = alone.call("audit", "verify")
    assert here.returncode == 3
    assert b"is not the one that the console" in here.stderr
    host = tmp_path / "host-without-a-console"
    assert alone.call("audit", "verify", "--state", str(state), home=host).returncode == 0
    there = alone.call("audit", "verify", "--state", str(state), "--against", str(exported), home=host)
    assert (there.returncode, len(there.stderr.splitlines())) == (3, 1)


def test_a_chain_that_root_cut_is_found_on_the_host_and_seen_at_the_console_when_the_agent_is_back(
    alone: Deployment, tree: Path
) -> None:
    agent = alone.agent("web-1")
    for name in ("^passwd$", "^shadow$", "^group$"):
        alone.ask("file", "--path", str(tree), "--name", name)
    stop(agent)
    assert alone.call("agents").stderr == b""
    state = state_of(alone, "web-1")
    lines = (state / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (state / "audit.jsonl").write_bytes(b"".join(lines[:3]))
    (state / "audit.head").unlink()
    cut = alone.call("audit", "verify")
    assert cut.returncode == 3
    assert b"line 4 is missing" in cut.stderr
    time.sleep(max(0.0, 1.1 - time.time() % 1))  # the agent's clock counts whole seconds
    stop(alone.agent("web-1"))
    seen = alone.call("agents")
    assert seen.returncode == 0
    assert b"its audit has 3 lines and had 7" in seen.stderr
    asked = alone.call("run", "-t", "all", "-e", "1s", "file", "--path", str(tree), "--name", "x")
    assert b"it was cut, or begun anew" in asked.stderr
    assert alone.call("audit", "forget", "web-1").returncode == 0
    assert alone.call("agents").stderr == b""


def test_one_altered_line_is_named_and_files_can_be_checked_elsewhere(alone: Deployment, tree: Path) -> None:
    agent = alone.agent("web-1")
    alone.ask("file", "--path", str(tree), "--name", "^passwd$")
    stop(agent)
    path = state_of(alone, "web-1") / "audit.jsonl"
    assert alone.call("audit", "verify", str(path)).returncode == 0
    path.write_bytes(path.read_bytes().replace(b'"admitted"', b'"refused"'))
    done = alone.call("audit", "verify", str(path))
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"audit.jsonl, row 3: line 3 does not follow from line 2: one of them was altered" in done.stderr
    assert alone.call("audit", "show").returncode == 0


def test_an_agent_that_cannot_write_its_audit_runs_nothing_and_says_so(alone: Deployment, tree: Path) -> None:
    alone.agent("web-1")
    path = state_of(alone, "web-1") / "audit.jsonl"
    path.unlink()
    path.mkdir()  # a file system that takes no more, to whoever opens the file
    answer = alone.ask("file", "--path", str(tree), "--name", "^passwd$")
    outcome = answer.outcomes["web-1"]
    assert (outcome["state"], outcome["code"], outcome["results"]) == ("failed", "audit", [])
    path.rmdir()
    assert alone.ask("file", "--path", str(tree), "--name", "^passwd$").states == {"web-1": "found"}
    assert [line["code"] for line in audit_of(alone, "web-1") if line["kind"] == "chain"] == ["lost"]
    assert alone.call("audit", "verify").returncode == 3
