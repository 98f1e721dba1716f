"""An agent's report as Prometheus' metrics."""

from __future__ import annotations

from datetime import datetime

import msgspec

from investigator.errors import BadInput
from investigator.metrics import Page
from investigator.modules.status.report import Report


def read_report(raw: bytes) -> Report:
    """What an agent's socket told.

    Raises:
        BadInput: it is no report of this version's.
    """
    try:
        return msgspec.json.decode(raw, type=Report)
    except msgspec.DecodeError as error:
        raise BadInput(f"the agent's report: {error}", hint="Is the agent of another version?") from None


def report_page(report: Report) -> str:
    """The text; every name begins with `investigator_agent_`."""
    page = Page()
    start = f"{report.started[:-1]}+00:00"
    page.gauge("investigator_agent_info", "What runs here; always 1.", 1, agent=report.agent, version=report.version)
    page.gauge(
        "investigator_agent_start_time_seconds",
        "When it was started, seconds since 1970.",
        datetime.fromisoformat(start).timestamp(),
    )
    page.gauge("investigator_agent_connected", "1 while it is connected to the broker.", int(report.connected))
    page.counter(
        "investigator_agent_connections_total", "How often it was connected to the broker.", report.connections
    )
    _actions(page, report)
    _queues(page, report)
    page.counter("investigator_agent_cpu_seconds_total", "Processor time of the agent's own process.", report.cpu_s)
    page.gauge("investigator_agent_resident_memory_bytes", "Memory of the agent's own process.", report.memory_bytes)
    page.gauge("investigator_agent_open_files", "Open files of the agent's own process.", report.open_files)
    page.counter(
        "investigator_agent_log_lines_lost_total", "Lines that the log's disk did not take.", report.log_lines_lost
    )
    problems = sum(problem.count for problem in report.problems)
    page.gauge("investigator_agent_problems", "Warnings and errors among the last ten texts of its log.", problems)
    return str(page)


def _actions(page: Page, report: Report) -> None:
    heard = "Messages that were taken to the gate: actions, cancels, revocations."
    page.counter("investigator_agent_heard_total", heard, report.heard)
    page.counter("investigator_agent_admitted_total", "Actions that were admitted.", report.admitted)
    page.counter("investigator_agent_passed_over_total", "For other hosts, or known already.", report.passed_over)
    page.gauge("investigator_agent_actions_running", "Actions that run.", report.running)
    for state, count in report.ended.items():
        page.counter("investigator_agent_actions_total", "Actions that ended here, by outcome.", count, outcome=state)
    for code, count in report.refused.items():
        page.counter("investigator_agent_refusals_total", "Refused, by code.", count, code=code)
    for one in report.operations:
        page.counter(
            "investigator_agent_operations_total",
            "Operations that ended, by module and code (done, or the limit that was met, or the failure).",
            one.count,
            module=one.module,
            code=one.code,
        )
    for one in report.operations:
        name = "investigator_agent_operation_seconds_total"
        page.counter(name, "Time that operations took, waiting included.", one.seconds, module=one.module)


def _queues(page: Page, report: Report) -> None:
    page.gauge("investigator_agent_operations_waiting", "Operations that wait for a slot.", report.slots_waited_for)
    page.gauge("investigator_agent_slots", "Operations that can run at a time.", report.slots)
    page.gauge("investigator_agent_slots_busy", "Slots in which one runs.", report.slots_busy)
    page.gauge("investigator_agent_outbox_letters", "Answers that the broker has not yet.", report.outbox.letters)
    page.gauge("investigator_agent_outbox_bytes", "Their size.", report.outbox.bytes)
    page.gauge(
        "investigator_agent_alerts_waiting", "Letters of alerts that the broker has not yet.", report.alerts.letters
    )
    page.counter("investigator_agent_delivered_total", "Answers that the broker has acknowledged.", report.delivered)
    page.counter("investigator_agent_delivered_bytes_total", "Their size.", report.delivered_bytes)
    page.counter("investigator_agent_undelivered_total", "Attempts that failed.", report.undelivered)
    page.gauge("investigator_agent_ledger_entries", "Actions that the ledger remembers.", report.ledger)
    page.gauge("investigator_agent_audit_lines", "Lines of the audit.", report.audit)
