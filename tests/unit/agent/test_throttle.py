"""The account of one operation: paid in as time passes, and looked at no more often than it can matter."""

import itertools
import os
import subprocess
from collections.abc import Iterator

import pytest

from investigator.agent.throttle import BURST_S, MOST_SAVED_S, Throttle


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that uses next to nothing."""
    with subprocess.Popen(["/bin/sleep", "600"]) as child:
        yield child.pid
        child.kill()


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def test_one_that_gets_nothing_is_looked_at_ever_less_often(sleeper: int) -> None:
    throttle, now_s = Throttle(sleeper, cpu_percent=100, now_s=0.0), 0.0
    pauses = []
    for _ in range(8):
        pauses.append(throttle.due_s - now_s)
        now_s = throttle.due_s
        throttle.look(now_s)
    assert pauses[0] == pytest.approx(BURST_S)
    assert all(later > earlier - 0.05 for earlier, later in itertools.pairwise(pauses))
    # what it has saved by then, two processors could use up above its share
    assert pauses[-1] == pytest.approx(MOST_SAVED_S, abs=0.05)
    assert not throttle.stopped


def test_what_was_saved_has_an_end(sleeper: int, monkeypatch: pytest.MonkeyPatch) -> None:
    throttle, used_s = Throttle(sleeper, cpu_percent=50, now_s=0.0), 0.0
    monkeypatch.setattr("investigator.agent.processes.cpu_s", lambda _: used_s)
    throttle.look(1000.0)
    used_s = MOST_SAVED_S + 0.01
    throttle.look(1000.0)
    assert [one.pid for one in throttle.stopped] == [sleeper]
    throttle.look(1000.1)
    assert throttle.stopped == []
