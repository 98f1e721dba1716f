"""`-t local`: this machine alone, with no broker and no key; the same workers, limits and renderers as elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from investigator.agent.facts import host_name
from investigator.agent.limits import Limits
from investigator.agent.runner import Ran, Runner
from investigator.cli.request import LOCAL, RunRequest
from investigator.cli.signals import stop_event
from investigator.console.action_file import AskedFor
from investigator.console.audience import Audience, Summary
from investigator.console.render import renderer
from investigator.errors import BadInput, Incomplete
from investigator.modules import get_module
from investigator.modules.interface import load_parameters
from investigator.modules.needs import lacking
from investigator.protocol.action import DEFAULT_LIFE_S, Action, Operation, utc
from investigator.protocol.result import Outcome, Result, State, merged_state

INTERRUPTED: Final = 130
_TICK_S: Final = 0.25
NICENESS: Final = 5
"""A person waits for it: less than on an agent, where an operation on a host that is busy all the time may take its time."""


def run_locally(request: RunRequest, asked: AskedFor) -> int:
    """Run the operations here; the exit code is 0, 6 where one failed or met its deadline, or 130 after Ctrl-C.

    Raises:
        BadInput: what makes no sense without a fleet.
    """
    for given, name in (
        (request.sign_only, "-s"),
        (request.print_action, "-p"),
        (request.dry_run, "-dry-run"),
        (request.wait, "-wait"),
        (request.compress, "-z"),
    ):
        if given:
            raise BadInput(f"-t local runs here and sends nothing: {name} has no meaning there")
    for number, operation in enumerate(asked.operations, start=1):
        try:
            module = get_module(operation.module)
            load_parameters(module, operation.opened(), local=True)
            for note in lacking(module.spec):
                print(f"[notice] {note}", file=sys.stderr)
        except BadInput as error:
            if len(asked.operations) > 1:
                error.args = (f"operation {number}: {error}",)
            raise
    life_s = request.expire_s if request.expire_s is not None else DEFAULT_LIFE_S
    action = _action(request.name if request.named or not asked.name else asked.name, asked.operations, life_s)
    audience = renderer(request.output, show=request.show, modules=[one.module for one in asked.operations])
    summary = asyncio.run(_investigate(action, audience, life_s))
    if summary.interrupted:
        return INTERRUPTED
    return 0 if set(summary.states) <= {"found", "notfound"} else Incomplete.exit_code


def _action(name: str, operations: Sequence[Operation], life_s: float) -> Action:
    """What is asked, in the shape that renderers know; it goes nowhere."""
    now = utc(time.time())
    return Action(
        id=secrets.token_hex(16),
        name=name[:100],
        target=LOCAL,
        condition=[],
        validfrom=now,
        expireafter=now + timedelta(seconds=life_s),
        operations=tuple(operations),
    )


async def _investigate(action: Action, audience: Audience, life_s: float) -> Summary:
    started_s, started = time.time(), time.monotonic()
    name, stop = host_name(), stop_event()
    audience.started(action, targeted=1, expected=1)
    async with Runner(Limits(wall_clock_s=life_s, niceness=NICENESS)) as runner:
        work = [asyncio.create_task(_run(runner, one, started + life_s)) for one in action.operations]
        ticking = asyncio.create_task(_tick(audience, started))
        stopped = asyncio.create_task(stop.wait())
        everything = asyncio.gather(*work)
        waiting: tuple[asyncio.Future[Any], ...] = (everything, stopped, ticking)
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        interrupted = not everything.done()
        for future in waiting:
            future.cancel()
        for future in waiting:
            with contextlib.suppress(asyncio.CancelledError):
                await future
    outcome = _outcome(name, work, started_s)
    audience.outcome(LOCAL, name, outcome.state, outcome)
    summary = Summary(
        action=action.id,
        targeted=1,
        states={outcome.state: 1},
        elapsed_s=time.monotonic() - started,
        interrupted=interrupted,
    )
    audience.summary(summary)
    return summary


async def _run(runner: Runner, operation: Operation, deadline_s: float) -> Ran:
    return await runner.run(
        operation.module,
        operation.opened(),
        deadline_s=deadline_s,
        folder=str(Path.cwd()),
        local=True,
        limits=operation.limits,
    )


async def _tick(audience: Audience, started: float) -> None:
    while True:
        audience.progress(targeted=1, answered=0, found=0, failed=0, elapsed_s=time.monotonic() - started)
        await asyncio.sleep(_TICK_S)


def _outcome(name: str, work: Sequence[asyncio.Task[Ran]], started_s: float) -> Outcome:
    """One agent's outcome; what was interrupted counts as cancelled, and what was done before it stays."""
    ran = [task.result() if task.done() and not task.cancelled() else None for task in work]
    results = [one.result.read() if one is not None else Result.failed("it was still running") for one in ran]
    bad = next((one for one in ran if one is not None and one.state != "done"), None)
    state: State
    if None in ran:
        state, code, reason = "cancelled", "interrupted", ""
    elif bad is not None:
        state, code = ("timeout" if bad.state == "timeout" else "failed"), bad.code
        reason = next(iter(bad.result.errors or ()), "")
    else:
        state, code, reason = merged_state(results), "", ""
    return Outcome(
        state=state, name=name, code=code, reason=reason, results=results, started_s=started_s, finished_s=time.time()
    )
