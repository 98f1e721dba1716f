"""Real processes are killed, paused, cut off and starved while a fleet answers: nothing is lost, counted twice or run twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_fleet import leader_of_three_brokers_killed
from clustered import Clustered
from fault_fleet import FAULTS, Fault, Fleet, many_come_back_at_once

ANSWERS = {
    "agent_killed_while_it_runs": {"found": 1, "failed/interrupted": 1},
    "disk_full_for_the_ledger": {"found": 1, "failed/ledger": 1},
}
"""Where it is not `found` on both agents."""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_nothing_is_lost_counted_twice_or_run_twice(tmp_path: Path, fault: Fault) -> None:
    with Fleet(tmp_path / "home", 2) as fleet:
        count = fault(fleet)
    expected = ANSWERS.get(fault.__name__, {"found": 2})
    assert (count.lost, count.double, count.twice) == (0, 0, 0)
    assert count.states == expected
    if fault.__name__ != "console_killed":
        assert sum(count.on_console.values()) == 2


def test_two_hundred_agents_that_come_back_at_once_all_answer_once(tmp_path: Path) -> None:
    with Fleet(tmp_path / "home", 200, in_one_process=True) as fleet:
        count = many_come_back_at_once(fleet)
    assert (count.lost, count.double, count.twice) == (0, 0, 0)
    assert count.states == {"found": 200}
    assert count.on_console == {"found": 200}


def test_the_death_of_the_server_that_leads_a_stream_loses_nothing(tmp_path: Path) -> None:
    with Fleet(tmp_path / "home", 2, kind=Clustered) as fleet:
        count = leader_of_three_brokers_killed(fleet)
    assert (count.lost, count.double, count.twice) == (0, 0, 0)
    assert count.states == {"found": 2}
    assert count.on_console == {"found": 2}
