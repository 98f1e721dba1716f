"""Threads that read files: hashing, matching and reading release the interpreter's lock, so as many as there are CPUs help.

Jobs go in by batches and come back when they are done; the caller alone decides what a job's outcome means, so nothing
else is shared between threads but the facts of a file, behind their lock.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

from investigator.modules.file.reading import Blocks, Facts, Reading
from investigator.modules.file.sources import OutOfTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from investigator.modules.file.checks import Check, Plan
    from investigator.modules.file.content import LinePattern

MAX_THREADS: Final = 8
_BATCH_JOBS: Final = 32
_BATCH_BYTES: Final = 4 << 20
_WAITING_BATCHES: Final = 4
"""Per thread; beyond, the walk waits."""


@dataclass(slots=True, eq=False)
class Job:
    """A file whose content decides, for one or several searches."""

    path: bytes
    found: os.stat_result
    follow: bool
    facts: Facts
    held: dict[Plan, list[Check]]
    """The searches, with the checks that hold already, which matter where each check reports its own files."""
    hits: list[tuple[Plan, Check | None, str | None]] = field(default_factory=list)
    """What came of it: search, check (None: all), upper-case sha256 if it was asked for."""
    errors: list[str] = field(default_factory=list)
    unopened: bool = False
    unsure: bool = False
    unread: bool = False
    """The time was up before it was decided."""


def decide(job: Job, reading: Reading) -> None:
    """Read what has to be read and leave the outcome in the job.

    Digests that decide only once contents hold are computed for those files alone; what is needed in any case shares one
    read.
    """
    certain = [check.digest for plan in job.held for check in plan.hashes if not (plan.matchall and plan.contents)]
    reading.find_out((check.question for plan in job.held for check in plan.contents), certain)
    for plan, held in job.held.items():
        contents = [check for check in plan.contents if check.holds(reading.facts.answers)]
        job.unsure = job.unsure or any(check.question in reading.facts.unsure for check in plan.contents)
        matched: list[Check | None]
        if plan.matchall:
            if len(contents) < len(plan.contents):
                continue
            reading.find_out((), (check.digest for check in plan.hashes))
            matched = [None] if all(check.holds(reading.facts.digests) for check in plan.hashes) else []
        else:
            hashes = [check for check in plan.hashes if check.holds(reading.facts.digests)]
            matched = [*held, *contents, *hashes]
        if matched and plan.sha256:
            reading.find_out((), (plan.sha256,))
        sha256 = reading.facts.digests.get(plan.sha256) if plan.sha256 else None
        job.hits += [(plan, check, sha256) for check in matched]


class Readers:
    """The threads and their queues; on a single CPU the caller does the work."""

    def __init__(
        self,
        *,
        patterns: dict[str, LinePattern],
        endless: Callable[[os.stat_result], bool],
        deadline_s: float,
        threads: int | None = None,
    ) -> None:
        self._patterns = patterns
        self._endless = endless
        self._deadline_s = deadline_s
        self._count = min(threads or available_cpus(), MAX_THREADS)
        self._threads: list[Thread] = []
        self._todo: SimpleQueue[list[Job] | None] = SimpleQueue()
        self._done: SimpleQueue[list[Job] | BaseException] = SimpleQueue()
        self._waiting = 0
        self._batch: list[Job] = []
        self._batch_bytes = 0

    def submit(self, job: Job) -> Iterator[Job]:
        """Have a job done; yields jobs that are done meanwhile."""
        self._batch.append(job)
        self._batch_bytes += job.found.st_size
        if len(self._batch) < _BATCH_JOBS and self._batch_bytes < _BATCH_BYTES:
            return
        yield from self._send()
        while self._waiting >= self._count * _WAITING_BATCHES:
            yield from self._next()
        while not self._done.empty():
            yield from self._next()

    def finish(self) -> Iterator[Job]:
        """Yield all jobs that are left, as they are done; after the deadline those that are not come back unread."""
        yield from self._send()
        while self._waiting:
            yield from self._next()

    def close(self) -> None:
        """Let the threads end; one that hangs in a read ends with the process."""
        for _ in self._threads:
            self._todo.put(None)

    def _send(self) -> Iterable[Job]:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return ()
        if self._count == 1:
            return self._work_off(batch, Blocks())
        if len(self._threads) < self._count:
            thread = Thread(target=self._run, name=f"file-reader-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._todo.put(batch)
        self._waiting += 1
        return ()

    def _next(self) -> list[Job]:
        left_s = self._deadline_s + _GRACE_S - time.monotonic()
        try:
            done = self._done.get(timeout=None if left_s == float("inf") else max(left_s, 0.0))
        except Empty:  # a read that hangs, on a network file system for example
            self._waiting = 0
            raise OutOfTime from None
        self._waiting -= 1
        if isinstance(done, BaseException):
            raise done
        return done

    def _run(self) -> None:
        blocks = Blocks()
        while (batch := self._todo.get()) is not None:
            try:
                self._done.put(self._work_off(batch, blocks))
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks
                self._done.put(error)

    def _work_off(self, batch: list[Job], blocks: Blocks) -> list[Job]:
        for job in batch:
            if time.monotonic() > self._deadline_s:
                job.unread = True
                continue
            with job.facts.lock:
                reading = Reading(
                    path=job.path,
                    follow=job.follow,
                    facts=job.facts,
                    blocks=blocks,
                    patterns=self._patterns,
                    endless=self._endless,
                    deadline_s=self._deadline_s,
                )
                try:
                    decide(job, reading)
                except OutOfTime:
                    job.unread = True
                finally:
                    reading.close()
            job.errors, job.unopened = reading.errors, reading.unopened
        return batch


_GRACE_S: Final = 0.2
"""How long after the deadline a thread may take to notice it."""


def available_cpus() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
