"""What an agent tells of itself: a report, when somebody asks, in three ways.

A signed action with the module `status` is answered here, in the agent's process, and its answer leaves signed and sealed like
any other; the host's own root asks `status_socket`; Prometheus, where agent.toml lets it, `exporter`.
"""

from __future__ import annotations

import contextlib
import os
import resource
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

from investigator import __version__
from investigator.agent.database import NotStored
from investigator.agent.privacy import masked
from investigator.agent.verdict import Ran, failed
from investigator.errors import BadInput
from investigator.modules import get_module
from investigator.modules.interface import load_parameters
from investigator.modules.status import NAME
from investigator.modules.status.report import Ended, Problem, Report, Waiting, utc_text
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.agent.actions import Runs
    from investigator.agent.runner import Runner
    from investigator.agent.service import Agent
    from investigator.logs import Logs
    from investigator.protocol.action import AskedLimits

_MAX_OPERATIONS: Final = 200


def report_of(agent: Agent, runner: Runner, logs: Logs) -> Report:
    """How the agent fares now; what cannot be read is 0 and stands among the problems."""
    counts, state = agent.counts, agent.state
    now_s = time.time()
    outbox, alerts, ledger = Waiting(), Waiting(), 0
    problems = [
        Problem(time=utc_text(one.time_s), level=one.level, text=one.text, count=one.count)
        for one in logs.problems.last()
    ]
    try:
        outbox = Waiting(**dict(zip(("letters", "bytes"), state.outbox.waiting(), strict=True)))
        alerts = Waiting(**dict(zip(("letters", "bytes"), state.alerts.waiting(), strict=True)))
        ledger = state.ledger.size()
    except NotStored as error:
        problems.append(Problem(time=utc_text(now_s), level="error", text=str(error), count=1))
    usage, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    operations = sorted(counts.operations.items())[:_MAX_OPERATIONS]
    return Report(
        agent=agent.id,
        name=agent.name,
        version=__version__,
        started=utc_text(counts.started_s),
        uptime_s=round(max(now_s - counts.started_s, 0.0), 3),
        connected=counts.connected,
        connections=counts.connections,
        heard=counts.heard,
        admitted=counts.admitted,
        admitted_last_5_minutes=counts.admitted_lately(),
        running=agent.actions.running,
        passed_over=counts.passed_over,
        refused=dict(sorted(counts.refused.items())),
        ended=dict(sorted(counts.ended.items())),
        operations=[
            Ended(module=module, code=code, count=tasks.count, seconds=round(tasks.seconds, 3))
            for (module, code), tasks in operations
        ],
        slots=runner.slots,
        slots_busy=runner.busy,
        slots_waited_for=runner.waiting,
        outbox=outbox,
        alerts=alerts,
        delivered=counts.delivered,
        delivered_bytes=counts.delivered_bytes,
        undelivered=counts.undelivered,
        ledger=ledger,
        audit=state.audit.count,
        log_lines_lost=logs.lost,
        cpu_s=round(usage.ru_utime + usage.ru_stime, 3),
        children_cpu_s=round(children.ru_utime + children.ru_stime, 3),
        memory_bytes=_resident_bytes(),
        open_files=_open_files(),
        problems=problems,
    )


class Reporting:
    """A runner that answers `status` itself, and leaves all else to another."""

    def __init__(self, runner: Runs, report: Callable[[], Report], *, private: bool) -> None:
        """`private`: extra privacy mode, in which no text leaves this host."""
        self._runner = runner
        self._report = report
        self._private = private

    async def run(
        self,
        module: str,
        parameters: Any,
        *,
        deadline_s: float,
        take: Callable[[bytes], None] | None = None,
        limits: AskedLimits | None = None,
    ) -> Ran:
        """See `Runs.run`."""
        if module != NAME:
            return await self._runner.run(module, parameters, deadline_s=deadline_s, take=take, limits=limits)
        status = get_module(NAME)
        try:
            loaded = load_parameters(status, parameters)
        except BadInput as error:
            return failed(error.code, str(error))
        result = Result(foundanything=True, success=True, elements=msgspec.to_builtins(self._report()))
        if self._private:
            result = masked(status, result, loaded)
        result.elements = msgspec.Raw(orjson.dumps(result.elements))
        return Ran(state="done", code="", result=result)


def _resident_bytes() -> int:
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/statm", "rb") as file:
        return int(file.read(256).split()[1]) * resource.getpagesize()
    return 0


def _open_files() -> int:
    with contextlib.suppress(OSError):
        return len(os.listdir("/proc/self/fd"))
    return 0
