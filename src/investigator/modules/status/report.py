"""An agent's own numbers: their shape, and how people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_PROBLEMS: Final = 10
Number = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]


class Ended(msgspec.Struct, kw_only=True):
    """Operations of one module that came to one end."""

    module: str
    code: str
    """"done", or a code of docs/protocol.md."""
    count: Number
    seconds: Amount


class Waiting(msgspec.Struct, kw_only=True):
    """What waits for the broker."""

    letters: Number = 0
    bytes: Number = 0


class Problem(msgspec.Struct, kw_only=True):
    """A warning or an error of the agent's log."""

    time: str
    """When it came last."""
    level: str
    text: str
    count: Number


class Report(msgspec.Struct, kw_only=True):
    """The answer's `elements`; all counts are since `started`."""

    agent: str
    name: str
    version: str
    started: str
    uptime_s: Amount
    connected: bool
    connections: Number
    heard: Number
    admitted: Number
    admitted_last_5_minutes: Number
    running: Number
    """Actions that run."""
    passed_over: Number
    refused: dict[str, Number]
    ended: dict[str, Number]
    operations: list[Ended]
    slots: Number
    slots_busy: Number
    slots_waited_for: Number
    """Operations that wait for one."""
    outbox: Waiting
    alerts: Waiting
    delivered: Number
    delivered_bytes: Number
    undelivered: Number
    ledger: Number
    audit: Number
    log_lines_lost: Number
    cpu_s: Amount
    children_cpu_s: Amount
    """Of workers, as far as the agent itself has waited for them."""
    memory_bytes: Number
    """Resident, of the agent's own process; 0 where this system does not tell."""
    open_files: Number
    problems: list[Problem]


def read_report(elements: Mapping[str, Any]) -> Report | None:
    """An answer's `elements` as what they are; None for what this version does not understand."""
    try:
        return msgspec.convert(elements, Report)
    except msgspec.ValidationError:
        return None


def report_lines(report: Report) -> Iterator[str]:
    """A few lines, the most important first."""
    yield (
        f"version {report.version}, up {_span(report.uptime_s)}, "
        f"{'connected' if report.connected else 'NOT CONNECTED'} ({_times(report.connections)})"
    )
    yield (
        f"actions  {report.admitted:,} admitted ({report.admitted_last_5_minutes:,} in the last 5 minutes), "
        f"{report.running:,} running; ended: {_counts(report.ended)}; refused: {_counts(report.refused)}"
    )
    yield f"workers  {report.slots_busy:,} of {report.slots:,} busy, {report.slots_waited_for:,} operations wait"
    for one in report.operations:
        average_s = one.seconds / one.count if one.count else 0.0
        yield f"  {one.module} {one.code}: {one.count:,}, {average_s:.3f} s on average"
    yield (
        f"outbox   {report.outbox.letters:,} letters wait ({report.outbox.bytes:,} bytes), {report.delivered:,} delivered, "
        f"{report.undelivered:,} attempts failed; alerts: {report.alerts.letters:,} wait"
    )
    yield f"kept     {report.ledger:,} actions in the ledger, {report.audit:,} lines in the audit"
    yield (
        f"process  {report.cpu_s:.1f} s of processor, {report.memory_bytes / (1 << 20):.1f} MiB, "
        f"{report.open_files:,} open files"
    )
    for problem in report.problems[-MAX_PROBLEMS:]:
        again = f" ({problem.count:,} times)" if problem.count > 1 else ""
        yield f"! {problem.time} {problem.level}: {problem.text}{again}"


def utc_text(time_s: float) -> str:
    """Seconds since 1970 as a report tells them."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def _times(count: int) -> str:
    return "for the first time" if count == 1 else f"{count:,} times so far"


def _span(seconds: float) -> str:
    minutes, _ = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{int(seconds)} s"
