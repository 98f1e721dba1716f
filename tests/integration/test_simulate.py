"""`investigator simulate`: a whole one, small; and what it must never touch, or leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from investigator.console.deployment import create_deployment
from investigator.program import own_command
from investigator.simulation.scratch import MARK

WITHIN_S = 100
AGENTS = 120


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """Where temporary folders are made, for this test alone."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def simulate(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*own_command(), "simulate", *words], capture_output=True, text=True, timeout=WITHIN_S, check=False
    )


def test_a_simulation_asks_measures_says_what_is_needed_and_leaves_nothing(scratch):
    ran = simulate("--agents", str(AGENTS), "--output", "json", "--found", "0.1")
    assert (ran.returncode, list(scratch.iterdir())) == (0, []), ran.stderr
    told = orjson.loads(ran.stdout)
    assert told["measured"]["states"] == {"found": AGENTS // 10, "notfound": AGENTS - AGENTS // 10}
    assert [size["agents"] for size in told["sizes"]] == [AGENTS, 1_000, 10_000, 100_000, 1_000_000]
    costs = {cost["name"]: cost["value"] for cost in told["costs"]}
    assert 64 < costs["heartbeat_bytes"] <= 200
    assert costs["facts_stored_bytes"] > costs["facts_bytes"]
    assert costs["connection_memory_bytes"] > 1000
    assert {cost["origin"] for cost in told["costs"]} == {"measured", "computed"}
    assert ran.stderr.splitlines()[0] == f"connecting {AGENTS} agents for real"


def test_a_deployment_that_no_simulation_made_is_refused_in_one_line_and_stays_as_it_is(tmp_path):
    home = tmp_path / "home"
    create_deployment(home, port=0, passphrase=None)
    before = sorted(home.rglob("*"))
    ran = simulate("--agents", "10", "--home", str(home))
    assert (ran.returncode, sorted(home.rglob("*"))) == (5, before)
    assert ran.stderr.startswith(f"investigator: {home}: no simulation made this")


def test_whoever_asks_meanwhile_from_another_terminal_has_every_answer(tmp_path):
    home = tmp_path / "home"
    for agents in (40, 60):  # the second time in the folder that the first one made
        words = [*own_command(), "simulate", "--agents", str(agents), "--stay", "--home", str(home)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as staying:
            assert staying.stdout is not None
            try:
                assert "are there" in staying.stdout.readline()
                ask = [*own_command(), "run", "--home", str(home), "-t", "os='windows'", "--output", "json", "netstat", "-ci", "198.51.100.7"]  # fmt: skip
                ran = subprocess.run(ask, capture_output=True, text=True, timeout=WITHIN_S, check=False)
                assert ran.returncode == 0, ran.stderr
                assert sum(orjson.loads(ran.stdout)["summary"]["states"].values()) == agents // 10
            finally:
                staying.send_signal(signal.SIGINT)
            assert f"{agents // 10} agents answered" in staying.stdout.read()
        assert staying.returncode == 0
    assert (home / MARK).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_takes_away_what_it_made(scratch, number):
    words = [*own_command(), "simulate", "--agents", "100000"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert any(line == "facts\n" for line in running.stderr)
        (home,) = scratch.iterdir()
        (pid,) = (int(path.read_text()) for path in home.rglob("run/pid"))
        assert Path(f"/proc/{pid}").exists() or sys.platform != "linux"
        running.send_signal(number)
        running.stderr.read()
    assert (running.returncode, list(scratch.iterdir())) == (130, [])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
