"""The run: walk, judge what needs no reading at once, have the rest read, and report."""

from __future__ import annotations

import os
import posixpath
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol

from investigator.modules.file.checks import Check, Plan, make_plan
from investigator.modules.file.opening import path_bytes, path_text, reason, status
from investigator.modules.file.readers import Job, Readers, tuned_interpreter
from investigator.modules.file.reading import Facts
from investigator.modules.file.sources import OutOfTime
from investigator.modules.file.walk import Batch, Walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from investigator.modules.file.parameters import Search
    from investigator.modules.interface import Context

MARGIN_S: Final = 1.0
"""How long before its deadline a run ends, to answer with what it has; a tenth of the time if that is shorter."""
_KNOWN_FILES: Final = 4096
_NS_PER_S: Final = 1_000_000_000


class Sink(Protocol):
    """Who is told what was found; the report, or another module that chooses files as this one does."""

    files_count: int

    def hit(self, plan: Plan, check: Check | None, path: bytes, found: os.stat_result, sha256: str | None) -> None:
        """A file that all checks (None), or this one, hold for."""

    def error(self, text: str) -> None:
        """Something that could not be read."""

    def failed_to_open(self, text: str) -> None:
        """Something that could not even be opened."""

    def note(self, text: str) -> None:
        """Something that was left out on purpose."""


def make_plans(searches: Mapping[str, Search], *, folder: str) -> list[Plan]:
    """The searches ready to run, with their paths made absolute from `folder` and cleaned lexically.

    Raises:
        BadParameters, BadRegex: see `make_plan`.
    """
    patterns = sum(len(search.contents) + len(search.regexes) for search in searches.values())
    plans = [make_plan(label, search, patterns=max(patterns, 1)) for label, search in searches.items()]
    for plan in plans:
        plan.paths = list(dict.fromkeys(clean(path, folder) for path in plan.search.paths))
    return plans


def clean(path: str, folder: str) -> str:
    """An absolute path without `.`, `..`, doubled and trailing slashes; links are not looked at."""
    path = os.fsdecode(path_bytes(path))
    if os.name == "nt":
        return os.path.normpath(os.path.join(folder, path))  # noqa: PTH118 - lexical, on texts
    cleaned = posixpath.normpath(path if posixpath.isabs(path) else posixpath.join(folder, path))
    cleaned = "/" + cleaned.lstrip("/")  # POSIX keeps two leading slashes apart, Linux and MIG do not
    return path_text(os.fsencode(cleaned))


class Hunt:
    """One run of several searches."""

    def __init__(self, plans: list[Plan], context: Context, sink: Sink, *, threads: int | None = None) -> None:
        self._plans = plans
        self._sink = sink
        now_ns = int(context.now * _NS_PER_S)
        self._tests = {plan: [check.at(now_ns) for check in plan.cheap] for plan in plans}
        left_s = context.deadline_s - time.monotonic()
        self._deadline_s = context.deadline_s - min(MARGIN_S, max(left_s, 0.0) / 10)
        self._known: dict[tuple[int, ...], Facts] = {}
        self._unsure, self._first_unsure = 0, b""
        self._unread = 0
        self._traces = any(plan.search.options.debug for plan in plans)
        self._proc_device = _device_of("/proc")
        self._readers = Readers(
            plans=plans,
            endless=lambda found: found.st_size == 0 or found.st_dev == self._proc_device,
            deadline_s=self._deadline_s,
            threads=threads,
        )

    def run(self) -> None:
        """Search until all is seen, every search has its fill, or the time is up."""
        roots: dict[bytes, list[Plan]] = {}
        for plan in self._plans:
            if not plan.has_checks:
                self._sink.note(f"search '{plan.label}' has no checks and matches nothing")
            for path in plan.paths:
                roots.setdefault(path_bytes(path), []).append(plan)
        with tuned_interpreter():
            self._search(roots)
            self._known.clear()  # not gone through for cycles, once that is as before
        if self._unread:
            self._note_time(f"{self._unread} files were not read")
        if self._unsure:
            more = f" and {self._unsure - 1} other files" if self._unsure > 1 else ""
            what = "in lines of over 1 MiB, matches longer than 64 KiB may be missed"
            self._sink.note(f"{path_text(self._first_unsure)}{more}: {what}")

    def _search(self, roots: dict[bytes, list[Plan]]) -> None:
        walk = Walk(self._plans, self._sink.failed_to_open, self._sink.note, self._tick)
        try:
            for batch in walk.batches(roots):
                self._evaluate(batch)
        except OutOfTime as stop:
            self._note_time(f"the walk stopped in {path_text(stop.args[0])}" if stop.args else "a read hangs")
        try:
            self._take(self._readers.finish())
        except OutOfTime:
            self._note_time("a read hangs")
        finally:
            self._readers.close()

    def _tick(self, folder: bytes) -> bool:
        if time.monotonic() > self._deadline_s:
            raise OutOfTime(folder)
        for plan in self._plans:  # noqa: SIM110 - for every folder; any() of a generator takes three times as long
            if plan.hits < plan.matchlimit:
                return True
        return False

    def _note_time(self, what: str) -> None:
        self._sink.note(f"out of time after {self._sink.files_count} files: {what}; the rest is unknown")

    def _evaluate(self, batch: Batch) -> None:
        self._sink.files_count += batch.weight * len(batch.items)
        if self._traces:
            _trace(f"{path_text(batch.folder)}: {len(batch.items)} files, searches {[p.label for p in batch.plans]}")
        jobs: dict[int, Job] = {}
        for plan in batch.plans:
            if plan.matchall:
                self._match_all(plan, batch, jobs)
            else:
                self._match_any(plan, batch, jobs)
        for job in jobs.values():
            self._take(self._readers.submit(job))

    def _match_all(self, plan: Plan, batch: Batch, jobs: dict[int, Job]) -> None:
        if not plan.has_checks:
            return
        tests, items = self._tests[plan], batch.items
        for place in self._named(plan, batch) if plan.names else range(len(items)):  # of all files, so it is kept tight
            try:
                found = items[place].stat()
            except OSError as error:
                self._vanished(batch, place, error)
                continue
            for holds in tests:
                if not holds(found):
                    break
            else:
                if plan.reads or plan.sha256:
                    self._job(jobs, batch, place, found).held[plan] = []
                else:
                    self._hit(plan, None, batch.path(place), found, None)
                if plan.done:
                    return

    def _named(self, plan: Plan, batch: Batch) -> list[int]:
        """The places of files whose names all checks hold for."""
        places: list[int] | None = None
        for check in plan.names:
            matching = check.pattern.among(batch.names, batch.joined)
            if check.inverted:
                matching = sorted(set(range(len(batch.items))).difference(matching))
            places = matching if places is None else sorted(set(places).intersection(matching))
        return places or []

    def _match_any(self, plan: Plan, batch: Batch, jobs: dict[int, Job]) -> None:
        named = [(check, set(check.pattern.among(batch.names, batch.joined))) for check in plan.names]
        for place in range(len(batch.items)) if plan.has_checks else ():
            held: list[Check] = [check for check, matching in named if (place in matching) != check.inverted]
            if not (held or plan.cheap or plan.reads):
                continue
            found = self._status(batch, place)
            if found is None:
                continue
            held += [check for check, holds in zip(plan.cheap, self._tests[plan], strict=True) if holds(found)]
            if plan.reads or (plan.sha256 and held):
                self._job(jobs, batch, place, found).held[plan] = held
            else:
                for check in held:
                    self._hit(plan, check, batch.path(place), found, None)

    def _status(self, batch: Batch, place: int) -> os.stat_result | None:
        try:
            return batch.items[place].stat()
        except OSError as error:
            self._vanished(batch, place, error)
            return None

    def _vanished(self, batch: Batch, place: int, error: OSError) -> None:
        self._sink.failed_to_open(f"ERROR: lstat {path_text(batch.path(place))}: {reason(error)}")

    def _job(self, jobs: dict[int, Job], batch: Batch, place: int, found: os.stat_result) -> Job:
        job = jobs.get(place)
        if job is None:
            identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            # what /proc holds changes without a trace in its metadata
            facts = Facts() if self._proc_device == found.st_dev else self._known.get(identity)
            if facts is None:
                facts = self._known[identity] = Facts()
                if len(self._known) > _KNOWN_FILES:
                    del self._known[next(iter(self._known))]
            job = jobs[place] = Job(batch.path(place), found, batch.items[place].is_symlink(), facts, {})
        return job

    def _take(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            for text in job.errors:
                if job.unopened:
                    self._sink.failed_to_open(text)
                else:
                    self._sink.error(text)
            self._unread += job.unread
            if job.unsure:
                self._first_unsure = self._first_unsure or job.path
                self._unsure += 1
            for plan, check, sha256 in job.hits:
                self._hit(plan, check, job.path, job.found, sha256)

    def _hit(self, plan: Plan, check: Check | None, path: bytes, found: os.stat_result, sha256: str | None) -> None:
        self._sink.hit(plan, check, path, found, sha256)
        if self._traces:
            _trace(
                f"{path_text(path)}: matches search {plan.label}" + (f" on {check.kind} {check.value}" if check else "")
            )


def _device_of(path: str) -> int | None:
    try:
        return status(os.fsencode(path), follow=True).st_dev
    except OSError:
        return None


def _trace(text: str) -> None:
    """For `debug: print`: what is being done, on standard error."""
    sys.stderr.write(f"file: {text}\n")
