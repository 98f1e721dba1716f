"""What an agent tells of itself, as people read it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from investigator.errors import BadParameters
from investigator.modules.interface import Context, load_parameters
from investigator.modules.status import MODULE, Parameters
from investigator.modules.status.report import report_lines
from status_report import NAME, REPORT


def test_a_report_is_a_few_lines() -> None:
    assert list(report_lines(REPORT)) == [
        "version 1.2.3, up 1 d 1 h, connected (2 times so far)",
        "actions  7 admitted (3 in the last 5 minutes), 1 running; ended: 4 found, 2 timeout; refused: 1 expired",
        "workers  4 of 4 busy, 3 operations wait",
        "  file done: 4, 0.250 s on average",
        "  file memory: 2, 4.000 s on average",
        "outbox   5 letters wait (1,234 bytes), 6 delivered, 1 attempts failed; alerts: 0 wait",
        "kept     7 actions in the ledger, 14 lines in the audit",
        "process  1.5 s of processor, 30.0 MiB, 17 open files",
        f"! 2026-11-24T18:10:00Z warning: {NAME} is full (3 times)",
    ]


@pytest.mark.parametrize("elements", [{}, {"agent": 3}, {**msgspec.to_builtins(REPORT), "heard": -1}])
def test_a_report_that_is_none_is_said_to_be(elements: dict[str, Any]) -> None:
    lines = list(MODULE.lines({"elements": elements}, everything=True))
    assert lines == ["a report of another version: --output json"]


def test_another_versions_further_numbers_do_no_harm() -> None:
    elements = {**msgspec.to_builtins(REPORT), "new_number": 3}
    assert len(list(MODULE.lines({"elements": elements}, everything=True))) == 9


def test_without_an_agent_there_is_nobody_to_ask() -> None:
    with pytest.raises(BadParameters, match="-t local asks none"):
        load_parameters(MODULE, {}, local=True)
    assert not MODULE.run(Parameters(), Context()).success


def test_it_takes_no_parameters() -> None:
    with pytest.raises(BadParameters):
        load_parameters(MODULE, {"all": True})
