"""What an agent tells of itself, for tests; and a module `status` that has it, as an agent's own does."""

from __future__ import annotations

import msgspec

from investigator.modules.interface import Context
from investigator.modules.status import Parameters, StatusModule
from investigator.modules.status.report import Ended, Problem, Report, Waiting
from investigator.protocol.result import Result

NAME = "db-7.example"

REPORT = Report(
    agent="agent-1",
    name=NAME,
    version="1.2.3",
    started="2026-11-24T18:00:00Z",
    uptime_s=90_061.0,
    connected=True,
    connections=2,
    heard=10,
    admitted=7,
    admitted_last_5_minutes=3,
    running=1,
    passed_over=2,
    refused={"expired": 1},
    ended={"found": 4, "timeout": 2},
    operations=[
        Ended(module="file", code="done", count=4, seconds=1.0),
        Ended(module="file", code="memory", count=2, seconds=8.0),
    ],
    slots=4,
    slots_busy=4,
    slots_waited_for=3,
    outbox=Waiting(letters=5, bytes=1234),
    alerts=Waiting(),
    delivered=6,
    delivered_bytes=600,
    undelivered=1,
    ledger=7,
    audit=14,
    log_lines_lost=0,
    cpu_s=1.5,
    children_cpu_s=0.0,
    memory_bytes=30 << 20,
    open_files=17,
    problems=[Problem(time="2026-11-24T18:10:00Z", level="warning", text=f"{NAME} is full", count=3)],
)


class Telling(StatusModule):
    """Has a report, as an agent has one."""

    def run(self, parameters: Parameters, context: Context) -> Result:
        return Result(foundanything=True, success=True, elements=msgspec.to_builtins(REPORT))
