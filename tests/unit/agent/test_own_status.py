"""An agent answers for itself: through the gate like any action, and as numbers that a scraper reads."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from investigator.agent.counts import Counts
from investigator.agent.own_status import Reporting
from investigator.agent.runner import Ran
from investigator.agent.state import AgentState
from investigator.agent.status_page import read_report, report_page
from investigator.errors import BadInput
from investigator.modules.status.report import Report
from metrics_text import read_metrics, value
from scene import Scene, action, operations, signed
from status_report import REPORT

OPERATION = [{"module": "status", "parameters": {}}]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with AgentState(None) as state:
        yield Scene(state)


async def test_only_who_may_ask_is_told(scene: Scene) -> None:
    scene.actions._runner = Reporting(scene.runner, lambda: REPORT, private=False)
    await scene.hear(signed(action(operations=OPERATION)))
    ((_, outcome),) = scene.answers()
    assert outcome.state == "found"
    assert msgspec.convert(outcome.results[0].read().elements, Report) == REPORT
    assert scene.runner.ran == []


async def test_other_modules_are_left_to_the_runner(scene: Scene) -> None:
    reporting = Reporting(scene.runner, lambda: REPORT, private=False)
    ran = await reporting.run("netstat", {"port": 22}, deadline_s=float("inf"))
    assert isinstance(ran, Ran)
    assert scene.runner.ran == [("netstat", {"port": 22})]


async def test_parameters_that_it_does_not_have_are_said(scene: Scene) -> None:
    ran = await Reporting(scene.runner, lambda: REPORT, private=False).run("status", {"x": 1}, deadline_s=1.0)
    assert (ran.state, ran.code) == ("failed", "bad-parameters")


async def test_in_extra_privacy_mode_no_text_leaves(scene: Scene) -> None:
    ran = await Reporting(scene.runner, lambda: REPORT, private=True).run("status", {}, deadline_s=1.0)
    elements = ran.result.read().elements
    assert (elements["name"], elements["problems"][0]["text"], elements["admitted"]) == ("masked", "masked", 7)


async def test_what_happens_is_counted(scene: Scene) -> None:
    raw = signed(action(operations=operations("netstat", "netstat")))
    await scene.hear(raw)
    await scene.hear(raw + b" ")
    await scene.hear(b"rubbish")
    counts = scene.actions.counts
    assert (counts.heard, counts.admitted, counts.admitted_lately()) == (3, 1, 1)
    assert dict(counts.ended) == {"found": 1}
    assert sum(counts.refused.values()) == 2
    assert sum(tasks.count for tasks in counts.operations.values()) == 2


def test_time_that_passed_is_not_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts()
    for at_s in (100.0, 200.0, 450.0):
        monkeypatch.setattr("time.monotonic", lambda at_s=at_s: at_s)
        counts.admit()
    assert (counts.admitted, counts.admitted_lately()) == (3, 2)


def test_a_page_tells_what_the_report_does() -> None:
    samples = read_metrics(report_page(REPORT))
    assert value(samples, "investigator_agent_actions_total", outcome="timeout") == 2
    assert value(samples, "investigator_agent_refusals_total", code="expired") == 1
    assert value(samples, "investigator_agent_operations_total", module="file", code="memory") == 2
    assert value(samples, "investigator_agent_operation_seconds_total", module="file") == 9
    assert value(samples, "investigator_agent_outbox_letters") == 5
    assert value(samples, "investigator_agent_start_time_seconds") == 1795543200
    assert value(samples, "investigator_agent_info", version="1.2.3") == 1
    assert not [name for name, labels in samples if REPORT.name in dict(labels).values()]


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", bytes(range(256)), b'{"agent": 3}'])
def test_a_report_that_is_none_is_one_clear_line(raw: bytes) -> None:
    with pytest.raises(BadInput, match="the agent's report: "):
        read_report(raw)
