"""What a host notices by itself: real broker, real agents, the command line; through outages, kills and restarts."""

from __future__ import annotations

import csv
import io
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import WITHIN_S, Deployment, is_running

from investigator.agent import processes

ONE = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
TWO = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "passwd").write_text("one")
    return folder


@pytest.fixture
def scene(tmp_path: Path, watched: Path) -> Iterator[Deployment]:
    """A deployment whose agents watch a folder."""
    with Deployment(tmp_path / "home") as deployment:
        settings = deployment.home / "agent.toml"
        settings.write_text(settings.read_text() + f'\n[modules.fswatch]\npaths = ["recursive:{watched}"]\n')
        yield deployment


def alerts(scene: Deployment, *words: str) -> list[dict[str, Any]]:
    done = scene.call("alerts", "--output", "ndjson", *words)
    assert done.returncode == 0, done.stderr
    return [orjson.loads(line) for line in done.stdout.splitlines()]


def until(scene: Deployment, enough: Callable[[list[str]], bool]) -> list[dict[str, Any]]:
    """The alerts, once their texts are as awaited."""
    ends = time.monotonic() + WITHIN_S
    while True:
        found = alerts(scene)
        if enough([alert["alert"] for alert in found]):
            return found
        assert time.monotonic() < ends, found


def process_of_module(scene: Deployment) -> int:
    """The worker that runs all the time: the fork server's only child while nothing is asked."""
    agents = [process.pid for process in scene.running if is_running(process.pid)]
    table = processes.table()
    (server,) = [one for one in table.values() if one.parent == agents[-1]]
    (module,) = [one for one in table.values() if one.parent == server.pid]
    return module.pid


def test_a_change_is_told_with_both_hashes_though_the_broker_was_away(scene: Deployment, watched: Path) -> None:
    broker = scene.broker()
    scene.agent("web-1")
    until(scene, lambda texts: any("a baseline was taken" in text for text in texts))
    broker.end()
    (watched / "passwd").write_text("two")
    (watched / "new").write_text("")
    scene.broker()
    found = until(scene, lambda texts: len(texts) >= 3)
    by_text = {alert["alert"].partition(" (")[0]: alert for alert in found}
    changed = by_text[f"{watched}/passwd signature changed {ONE} -> {TWO}"]
    assert (changed["severity"], changed["module"], changed["agent"]["name"]) == ("critical", "fswatch", "web-1")
    assert changed["details"] == {"change": "signature", "path": f"{watched}/passwd", "old": ONE, "new": TWO}
    assert by_text[f"new path {watched}/new"]["severity"] == "medium"
    assert len(found) == 3


def test_what_changed_while_no_agent_ran_is_told_at_its_next_start(scene: Deployment, watched: Path) -> None:
    scene.broker()
    agent = scene.agent("web-1")
    until(scene, lambda texts: len(texts) == 1)
    agent.end()
    (watched / "passwd").write_text("two")
    scene.agent("web-1")
    found = until(scene, lambda texts: len(texts) >= 2)
    assert [alert["alert"] for alert in found][1:] == [f"{watched}/passwd signature changed {ONE} -> {TWO}"]


def test_a_killed_watcher_is_told_comes_back_and_misses_nothing(scene: Deployment, watched: Path) -> None:
    scene.broker()
    scene.agent("web-1")
    until(scene, lambda texts: len(texts) == 1)
    os.kill(process_of_module(scene), signal.SIGKILL)
    (watched / "passwd").write_text("two")
    found = until(scene, lambda texts: len(texts) >= 3)
    texts = [alert["alert"] for alert in found]
    assert "module fswatch ended: the worker was killed by SIGKILL, and not by this agent; it is started again" in texts
    assert f"{watched}/passwd signature changed {ONE} -> {TWO}" in texts
    answer = scene.ask("fswatch")
    assert answer.states == {"web-1": "found"}
    (result,) = answer.outcomes["web-1"]["results"]
    assert result["elements"] == {"ok": True}
    assert (result["statistics"]["paths"], result["errors"]) == (2, None)


def test_nothing_of_a_module_is_left_when_its_agent_is_killed(scene: Deployment) -> None:
    scene.broker()
    agent = scene.agent("web-1")
    until(scene, lambda texts: len(texts) == 1)
    module = process_of_module(scene)
    agent.signal(signal.SIGKILL)
    agent.wait()
    ends = time.monotonic() + WITHIN_S
    while is_running(module):
        assert time.monotonic() < ends


def test_an_alert_stays_until_it_is_acknowledged_for_everybody(scene: Deployment, watched: Path) -> None:
    scene.broker()
    scene.agents("web-1", "web-2")
    until(scene, lambda texts: len(texts) == 2)
    (watched / "passwd").write_text("two")
    found = until(scene, lambda texts: sum("signature changed" in text for text in texts) == 2)
    assert len(alerts(scene, "--agent", "web-1")) == len(alerts(scene, "--severity", "critical")) == 2
    one = next(alert for alert in found if alert["severity"] == "critical")
    assert alerts(scene, "--ack", one["id"][:8]) == [one]
    left = alerts(scene)
    assert len(left) == 3
    assert one not in left
    again = scene.call("alerts", "--ack", one["id"])
    assert again.returncode == 2
    assert b"means no alert that waits" in again.stderr
    text = scene.call("alerts").stdout.decode().splitlines()
    assert [line.split()[0] for line in text] == [alert["id"] for alert in left]
    rows = list(csv.DictReader(io.StringIO(scene.call("alerts", "--output", "csv").stdout.decode())))
    assert [row["alert"] for row in rows] == [alert["alert"] for alert in left]
    assert orjson.loads(scene.call("alerts", "--output", "json", "--ack", "all").stdout) == {"alerts": left}
    assert alerts(scene) == []


def test_followed_alerts_are_shown_as_they_come(scene: Deployment, watched: Path) -> None:
    scene.broker()
    scene.agent("web-1")
    following = scene.start("alerts", "--follow")
    following.until("a baseline was taken")
    (watched / "passwd").write_text("two")
    line = following.until("signature changed")
    assert "critical" in line
    assert f"web-1  fswatch: {watched}/passwd" in line
    following.signal(signal.SIGINT)
    assert following.wait() == 130


def test_followed_alerts_go_on_when_the_broker_lost_its_store(scene: Deployment, watched: Path) -> None:
    broker = scene.broker()
    scene.agent("web-1")
    following = scene.start("alerts", "--follow")
    following.until("a baseline was taken")
    (watched / "passwd").write_text("two")
    following.until("signature changed")
    broker.end()
    shutil.rmtree(scene.home / "broker" / "store")
    scene.broker()
    (watched / "new").write_text("")  # the first of a new stream
    following.until("new path")


def test_a_module_that_does_not_run_says_so_everywhere(scene: Deployment) -> None:
    scene.broker()
    scene.agent("web-1")
    answer = scene.ask("audit")
    assert answer.outcomes["web-1"]["code"] == "unavailable"
    assert (
        answer.outcomes["web-1"]["reason"]
        == "module audit does not run on this host: agent.toml has no [modules.audit]"
    )
    done = scene.call("run", "-t", "local", "fswatch")
    assert b"only there it can be asked: not with -t local" in done.stdout + done.stderr
    assert done.returncode == 6


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("[modules.fswatch]\npath = []", "modules.fswatch: there is no setting 'path'; did you mean 'paths'?"),
        ('[modules.fswatch]\npaths = ["etc"]', "modules.fswatch.paths[0]: 'etc' is no absolute path"),
        ("[modules.fsnotify]", "modules.fsnotify: there is no module of that name that runs all the time"),
    ],
)
def test_wrong_settings_stop_the_agent_with_their_name(tmp_path: Path, table: str, complaint: str) -> None:
    with Deployment(tmp_path / "home") as deployment:
        settings = deployment.home / "agent.toml"
        settings.write_text(f"{settings.read_text()}\n{table}\n")
        done = deployment.call("agent")
        assert done.returncode == 2
        assert complaint in done.stderr.decode()
