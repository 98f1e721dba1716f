"""Replay and the clock, from the wire to a ledger on the disk: set back it reopens nothing, years ahead it locks nothing out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from investigator.agent.state import AgentState
from scene import Scene, action
from signed import ALICE, sealed_in, sign

DAY_S = 86_400
YEAR_2038_S = 2_147_483_647.0


class Clock:
    """The host's, wherever it stands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = time.time()
        monkeypatch.setattr("investigator.agent.actions.time.time", lambda: self.now_s)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[AgentState]:
    with AgentState(tmp_path / "state") as opened:
        yield opened


def signed_at(now_s: float, name: str) -> bytes:
    text = action(now_s=now_s, name=name)
    return sealed_in(text, sign(text, ALICE, now_s))


async def test_a_clock_that_is_set_back_reopens_nothing(state: AgentState, clock: Clock) -> None:
    scene, start_s = Scene(state), clock.now_s
    old = signed_at(start_s, "old")
    clock.now_s = start_s + DAY_S
    await scene.hear(old)
    await scene.hear(signed_at(clock.now_s, "newer"))
    assert scene.said() == [("refused", "expired"), ("found", "")]
    clock.now_s = start_s
    scene.actions = scene.restarted()
    await scene.hear(old)
    assert scene.said()[2:] == [("refused", "expired")]
    assert len(scene.runner.ran) == 1


async def test_a_clock_that_was_in_2038_and_came_back_locks_nothing_out(state: AgentState, clock: Clock) -> None:
    scene, start_s = Scene(state), clock.now_s
    raw = signed_at(start_s, "now")
    clock.now_s = YEAR_2038_S
    await scene.hear(raw)
    scene.actions = scene.restarted()
    clock.now_s = start_s
    await scene.hear(raw)
    await scene.hear(raw)
    assert [told[0] for told in scene.said()] == ["refused", "found", "refused"]
    assert len(scene.runner.ran) == 1


async def test_a_refused_copy_is_in_no_ledger_and_what_runs_is_on_the_disk_first(
    state: AgentState, clock: Clock, tmp_path: Path
) -> None:
    import sqlite3

    scene, on_disk = Scene(state), []
    text = action(now_s=clock.now_s)

    def entered() -> int:
        with sqlite3.connect(f"file:{tmp_path}/state/agent.sqlite?mode=ro", uri=True) as other:
            (count,) = other.execute("SELECT count(*) FROM admitted").fetchone()
        other.close()
        return int(count)

    run = scene.runner.run

    async def run_and_look(
        module: str, parameters: object, *, deadline_s: float, take: object = None, limits: object = None
    ) -> object:
        on_disk.append(entered())
        return await run(module, parameters, deadline_s=deadline_s, take=take)

    scene.runner.run = run_and_look  # type: ignore[method-assign,assignment]
    await scene.hear(sealed_in(text))
    assert entered() == 0
    await scene.hear(sealed_in(text, sign(text, ALICE, clock.now_s)))
    assert on_disk == [1]
