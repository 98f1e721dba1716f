"""The run: each process once, by name, by mapped files, then by what its memory holds; and the report."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from investigator.modules.durations import duration_text
from investigator.modules.file.opening import path_text, reason
from investigator.modules.memory.reading import Buffer, Found, Reader
from investigator.modules.processes.crew import end_before, work_off
from investigator.modules.processes.family import own_family
from investigator.modules.processes.procfs import Ended, Process, pids
from investigator.modules.processes.report import Report
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator

    from investigator.modules.interface import Context
    from investigator.modules.memory.checks import ContentCheck, MemoryPlan, PathCheck
    from investigator.modules.memory.patterns import BytesPattern, ContentPattern
    from investigator.modules.processes.parsing import Stat

MAX_FAILURES: Final = 1000
MAX_UNREAD: Final = 100
"""Regions of one process that could not be read, and are named."""
_SHOWN_CHARACTERS: Final = 400

Where = dict[tuple["ContentPattern | BytesPattern", tuple[int, int, bool]], Found]


class Hit(NamedTuple):
    """A process that a search, or one of its checks, found; and where in its memory."""

    plan: MemoryPlan
    check: PathCheck | ContentCheck | None
    process: dict[str, Any]
    more: dict[str, Any]


@dataclass(slots=True)
class Look:
    """What came of one process."""

    hits: list[Hit] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Such as MIG always lists."""
    unread: list[str] = field(default_factory=list)
    """Regions, for `logfailures`."""
    ended: bool = False
    bytes_read: int = 0
    swapped_bytes: int = 0
    no_files: bool = False
    no_name: str = ""
    """Why its executable could not be read."""


class Hunt:
    """One run of several searches."""

    def __init__(self, plans: list[MemoryPlan], context: Context, *, threads: int | None = None) -> None:
        self._plans = plans
        self._context = context
        self._threads = threads
        self._deadline_s = end_before(context.deadline_s)
        self._devices: dict[tuple[bytes, int], str] = {}
        self._buffers = threading.local()
        self._stats: dict[int, Stat] = {}
        self._partial: dict[int, Look] = {}

    def run(self) -> Result:
        """Search until all is seen, or the time is up."""
        began_ns = time.monotonic_ns()
        report = Report(list(self._plans), self._context)
        strangers = self._strangers()
        looks: dict[int, Look] = {}

        def take(pid: int, look: Look) -> None:
            looks[pid] = look
            for hit in look.hits:
                report.hit(hit.plan, hit.check, hit.process, hit.more)
            look.hits = []

        work = work_off(strangers, self._look, deadline_s=self._deadline_s, threads=self._threads, take=take)
        for pid, look in sorted([*work.done, *((pid, self._partial.get(pid, Look())) for pid in work.hanging)]):
            take(pid, look)
        failures = self._report_problems(looks, report)
        if work.hanging:
            report.note(f"the time was up while process {_numbers(work.hanging)} was read")
        if work.untouched:
            report.note(f"the time was up before {len(work.untouched)} of {len(strangers)} processes were looked at")
        statistics = {
            "processcount": len(looks) - sum(look.ended for look in looks.values()),
            "memoryread": sum(look.bytes_read for look in looks.values()),
            "totalhits": report.total,
            "exectime": duration_text(time.monotonic_ns() - began_ns),
        }
        if failures:
            statistics["failures"] = failures
        return Result(
            foundanything=report.total > 0,
            success=True,
            elements=report.elements(),
            statistics=statistics,
            errors=report.errors(),
        )

    def _strangers(self) -> list[int]:
        """All processes but our own, which hold what they look for."""
        for pid in pids():
            try:
                with Process(pid) as process:
                    self._stats[pid] = process.stat()
            except (Ended, OSError):
                continue
        ours = own_family(self._stats)
        return [pid for pid in self._stats if pid not in ours]

    def _report_problems(self, looks: dict[int, Look], report: Report) -> list[str]:
        unnamed: dict[str, list[int]] = {}
        for pid, look in looks.items():
            if look.no_name:
                unnamed.setdefault(look.no_name, []).append(pid)
        for why, troubled in sorted(unnamed.items()):
            report.could_not("read the executable", why, troubled)
        logs = any(plan.logfailures for plan in self._plans)
        failures = [text for pid in sorted(looks) for text in looks[pid].failures + (looks[pid].unread if logs else [])]
        unread = [pid for pid, look in looks.items() if look.unread]
        if unread and not logs:
            report.could_not("read all of the memory", "logfailures lists the regions", unread)
        swapped = sum(look.swapped_bytes for look in looks.values())
        if swapped:
            report.note(f"{swapped:,} bytes that are swapped out were not read; the option swapped has them read")
        if any(look.no_files for look in looks.values()):
            report.note("what processes map and have not touched of files was not read: that takes CAP_SYS_ADMIN")
        if len(failures) > MAX_FAILURES:
            report.note(f"{len(failures) - MAX_FAILURES} failures were not returned")
        return failures[:MAX_FAILURES]

    def _look(self, pid: int) -> Look:
        look = self._partial[pid] = Look()
        try:
            with Process(pid) as process:
                if process.stat().started_ticks == self._stats[pid].started_ticks:
                    self._examine(process, look)
                else:
                    look.ended = True
        except Ended:
            look.ended = True
            look.failures.append(f"process {pid} ended while it was looked at")
        except OSError as error:
            look.failures.append(f"could not look at process {pid}: {reason(error)}")
        del self._partial[pid]
        return look

    def _examine(self, process: Process, look: Look) -> None:
        stat = self._stats[process.pid]
        try:
            executable = b"" if stat.is_kernel_thread else process.executable()
        except PermissionError as error:
            executable, look.no_name = None, reason(error)
        name = executable or b"[" + stat.name + b"]"
        shown = {"name": path_text(name), "pid": process.pid}
        lent: set[PathCheck] | None = None
        left: list[MemoryPlan] = []
        for plan in self._plans:
            named = [check for check in plan.names if executable is not None and check.pattern.matches(name)]
            if plan.matchall and len(named) < len(plan.names):
                continue
            if plan.libraries and lent is None:
                lent = self._lent(process, executable or b"", look)
            mapped = [check for check in plan.libraries if check in (lent or ())]
            if plan.matchall:
                if len(mapped) == len(plan.libraries):
                    left.append(plan)
                continue
            look.hits += [Hit(plan, check, shown, {}) for check in (*named, *mapped)]
            if plan.contents:
                left.append(plan)
        where = self._search(process, left, look)
        look.hits += [hit for plan in left for hit in _hits(plan, shown, where)]

    def _lent(self, process: Process, executable: bytes, look: Look) -> set[PathCheck]:
        """The checks on mapped files that one of this process's holds for."""
        left = {check for plan in self._plans for check in plan.libraries}
        found: set[PathCheck] = set()
        seen: set[int] = set()  # hashes: paths may be many, and long
        try:
            for region in process.regions():
                if not region.is_file or region.path == executable or hash(region.path) in seen:
                    continue
                seen.add(hash(region.path))
                found |= {check for check in left if check.pattern.matches(region.path)}
                left -= found
                if not left:
                    break
        except PermissionError:
            look.failures.append(_denied(process.pid))
        return found

    def _search(self, process: Process, plans: list[MemoryPlan], look: Look) -> Where:
        """Read the memory for all plans that are left, once for each reach that they have."""
        where: Where = {}
        if self._stats[process.pid].is_kernel_thread:
            return where
        reaches = dict.fromkeys(plan.reach for plan in plans if plan.contents)
        buffer: Buffer | None = getattr(self._buffers, "buffer", None)
        if reaches and buffer is None:
            buffer = self._buffers.buffer = Buffer()
        for reach in reaches:
            wanted = dict.fromkeys(check.pattern for plan in plans if plan.reach == reach for check in plan.contents)
            try:
                reader = Reader(process, wanted, buffer or Buffer(), deadline_s=self._deadline_s, devices=self._devices)
            except PermissionError:
                if _denied(process.pid) not in look.failures:
                    look.failures.append(_denied(process.pid))
                return where
            try:
                offset, maxlength, swapped = reach
                reader.run(offset=offset, maxlength=maxlength, swapped=swapped)
            finally:
                reader.close()
                read = reader.outcome
                where |= {(pattern, reach): found for pattern, found in read.found.items()}
                look.bytes_read += read.bytes_read
                look.swapped_bytes = max(look.swapped_bytes, read.swapped_bytes)
                look.no_files |= read.no_files
                if len(look.unread) + len(read.unread) > MAX_UNREAD:
                    look.failures.append(f"more than {MAX_UNREAD} regions of process {process.pid} could not be read")
                look.unread += [
                    f"could not read {start:#x}-{end:#x} of process {process.pid}{_named(region.path)}: {why}"
                    for start, end, region, why in read.unread[: MAX_UNREAD - len(look.unread)]
                ]
        return where


def _hits(plan: MemoryPlan, shown: dict[str, Any], where: Where) -> Iterator[Hit]:
    found = [
        (check, where[check.pattern, plan.reach]) for check in plan.contents if (check.pattern, plan.reach) in where
    ]
    if not plan.matchall:
        for check, place in found:
            yield Hit(plan, check, shown, {"matches": [_match(check, place)]})
    elif len(found) == len(plan.contents):
        yield Hit(plan, None, shown, {"matches": [_match(check, place) for check, place in found]} if found else {})


def _match(check: ContentCheck, found: Found) -> dict[str, Any]:
    """Where it was found first: the address, and what is mapped there."""
    return {check.field: check.value, "address": f"{found.address:#x}", "region": path_text(found.region.path)}


def _denied(pid: int) -> str:
    """MIG's words."""
    return f"Permission denied to access memory of process {pid}"


def _named(path: bytes) -> str:
    text = path_text(path)
    return f" ({text[:_SHOWN_CHARACTERS]}{'…' if len(text) > _SHOWN_CHARACTERS else ''})" if path else ""


def _numbers(numbers: list[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
