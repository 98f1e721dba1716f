"""The run: look at each process once, judge it for all searches, and report."""

from __future__ import annotations

import time
from functools import partial
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from investigator.modules.durations import NS_PER_S, duration_text
from investigator.modules.file.opening import reason
from investigator.modules.needs import here
from investigator.modules.process.checks import HashCheck, TextCheck
from investigator.modules.process.hashing import Hasher
from investigator.modules.process.looking import Facts, Surroundings, shown_files
from investigator.modules.processes.crew import end_before, work_off
from investigator.modules.processes.procfs import Ended
from investigator.modules.processes.report import Report
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from investigator.modules.interface import Context
    from investigator.modules.process.checks import ProcessCheck
    from investigator.modules.process.looking import Host
    from investigator.modules.processes.searches import Plan


PATIENCE_S: Final = 15.0
"""With one process: to hash a large executable takes long, more than that nothing but what hangs."""


class Hit(NamedTuple):
    """A process that a search, or one of its checks, found."""

    plan: Plan
    check: ProcessCheck | None
    process: dict[str, Any]


def this_host() -> Host:
    """The system that this runs on."""
    if here() == "linux":
        from investigator.modules.process.on_linux import LinuxHost

        return LinuxHost()
    from investigator.modules.process.elsewhere import PsutilHost

    return PsutilHost()


def search(plans: list[Plan], context: Context, host: Host) -> Result:
    """Ask all that the searches ask of every process there is."""
    began_ns = time.monotonic_ns()
    deadline_s = end_before(context.deadline_s)
    report = Report(plans, context)
    asks_arguments = any(check.field == "cmdlines" for plan in plans for check in plan.checks)
    around = Surroundings(
        host=host,
        now_ns=int(context.now * NS_PER_S),
        hasher=Hasher(deadline_s),
        ours=host.family() if asks_arguments else frozenset(),
    )
    pids = host.pids()
    threads = None if any(_hashes(plan) for plan in plans) else 1  # reading /proc alone, several would only wait
    judged = 0

    def take(_: int, hits: list[Hit] | None) -> None:
        nonlocal judged
        judged += hits is not None
        for hit in hits or ():
            report.hit(hit.plan, hit.check, hit.process)

    look = partial(_look, plans=plans, around=around)
    work = work_off(pids, look, deadline_s=deadline_s, threads=threads, patience_s=PATIENCE_S, take=take)
    for pid, hits in sorted(work.done, key=itemgetter(0)):
        take(pid, hits)
    for (doing, why), troubled in sorted(around.troubles.items()):
        report.could_not(doing, why, troubled)
    if work.hanging:
        report.note(f"looking at process {', '.join(map(str, sorted(work.hanging)))} takes too long: left out")
    if work.untouched:
        report.note(f"the time was up before {len(work.untouched)} of {len(pids)} processes were looked at")
    return Result(
        foundanything=report.total > 0,
        success=True,
        elements=report.elements(),
        statistics={
            "processcount": judged,
            "totalhits": report.total,
            "exectime": duration_text(time.monotonic_ns() - began_ns),
        },
        errors=report.errors(),
    )


def _hashes(plan: Plan) -> bool:
    return bool(plan.search["options"].get("returnsha256")) or any(isinstance(one, HashCheck) for one in plan.checks)


def _look(pid: int, *, plans: list[Plan], around: Surroundings) -> list[Hit] | None:
    """The hits; None: the process ended before it was judged."""
    try:
        subject = around.host.open(pid)
    except Ended:
        return None
    except OSError as error:
        around.trouble("look at anything", reason(error), pid)
        return None
    try:
        facts = Facts(subject, around)
        return [hit for plan in plans for hit in _judge(plan, facts)]
    except Ended:
        return None
    except OSError as error:
        around.trouble("read the state", reason(error), pid)
        return None
    finally:
        subject.close()


def _judge(plan: Plan, facts: Facts) -> Iterable[Hit]:
    if not plan.matchall:
        return [Hit(plan, check, _shown(plan, [check], facts)) for check in plan.checks if check.holds(facts)]
    if all(check.holds(facts) for check in sorted(plan.checks, key=attrgetter("cost"))):
        return [Hit(plan, None, _shown(plan, plan.checks, facts))]
    return []


def _shown(plan: Plan, checks: Iterable[ProcessCheck], facts: Facts) -> dict[str, Any]:
    """The process for the result, with the open files that these checks matched."""
    shown = facts.shown()
    files: set[bytes] = set()
    for check in checks:
        if isinstance(check, TextCheck) and check.field == "openfiles" and not check.inverted:
            files.update(check.matching(facts.open_files or ()))
    if files:
        shown["openfiles"] = shown_files(sorted(files))
    if plan.search["options"].get("returnsha256"):
        digest = facts.digest("sha256")
        if digest is not None:
            shown["sha256"] = digest
    return shown
