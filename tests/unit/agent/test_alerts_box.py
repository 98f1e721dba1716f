"""How fast alerts may be told, and that what was told once is on the disk."""

import pytest

from investigator.agent.alerts import AT_ONCE, AlertBox, _Rate
from investigator.agent.database import open_database
from investigator.agent.state import AgentState
from investigator.errors import BadInput
from investigator.protocol.alert import MAX_TEXT_CHARACTERS, Alert
from investigator.protocol.identity import Identity


def alert(text="x"):
    return Alert(severity="low", alert=text, time_s=1.0)


def test_so_many_go_at_once_and_then_one_after_the_other(monkeypatch):
    now_s = 100.0
    monkeypatch.setattr("investigator.agent.alerts.time.monotonic", lambda: now_s)
    rate = _Rate(60)
    assert [rate.take() for _ in range(AT_ONCE + 1)] == [0.0] * AT_ONCE + [1.0]
    now_s += 0.5
    assert rate.take() == pytest.approx(0.5)
    now_s += 0.5
    assert (rate.take(), rate.take()) == (0.0, 1.0)
    now_s += 1e6
    assert sum(rate.take() == 0 for _ in range(2 * AT_ONCE)) == AT_ONCE


def test_the_agents_own_alerts_wait_for_nothing_and_say_so(monkeypatch):
    monkeypatch.setattr("investigator.agent.alerts.time.monotonic", lambda: 100.0)
    with AgentState(None) as state:
        told = [state.alerts.keep_now("fswatch", alert(str(n)), name="web-1") for n in range(AT_ONCE + 1)]
        assert told == [True] * AT_ONCE + [False]
        assert state.alerts.keep_now("audit", alert(), name="web-1")


async def test_what_is_kept_is_there_after_a_restart(tmp_path):
    identity = Identity.generate()
    for number in range(2):
        database = open_database(tmp_path / "agent.sqlite")
        box = AlertBox(database, identity)
        assert len(box._outbox.pending()) == number
        await box.keep("fswatch", [alert(f"{number} {n}") for n in range(3)], name="web-1")
        database.close()


async def test_what_cannot_be_told_is_refused_and_keeps_nothing_waiting(tmp_path):
    with AgentState(None) as state:
        with pytest.raises(BadInput):
            await state.alerts.keep("fswatch", [alert("x" * (MAX_TEXT_CHARACTERS + 1))], name="web-1")
        await state.alerts.keep("fswatch", [alert()], name="web-1")
        assert len(state.alerts._outbox.pending()) == 1
