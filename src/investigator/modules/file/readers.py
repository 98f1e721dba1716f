"""Threads that read files: hashing, matching and reading release the interpreter's lock, so as many as there are CPUs help.

Jobs go in by batches and come back when they are done; the caller alone decides what a job's outcome means, so nothing
else is shared between threads but the facts of a file, which one job at a time works on: jobs for other links to it wait
aside, for what it finds out, and are done by the same thread.

Small files are mostly Python's work, large ones mostly the system's and the engines': threads that all read small files
wait for each other's lock more than they work. So small and large files are two lanes, and half of the threads keep to
large files while there are any. The caller, who walks, is a thread that does Python's work too: until it waits there is
one reader less.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import os
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Final

from investigator.modules.file.reading import Blocks, Facts, Reading
from investigator.modules.file.screening import Screen
from investigator.modules.file.sources import OutOfTime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from investigator.modules.file.checks import Check, Plan

MAX_THREADS: Final = 8
LARGE_BYTES: Final = 512 << 10
_BATCH_JOBS: Final = 128
_BATCH_BYTES: Final = 4 << 20
_BUFFER_BYTES, _BUFFERS_BYTES = 4 << 20, 16 << 20
"""Of a thread, and of all: what is read at once before another thread may have the interpreter's lock."""
_WAITING_JOBS: Final = 4096
"""Beyond, the walk waits."""
_SWITCH_S: Final = 0.000_1
"""How long a thread that comes out of a read may have to wait for another one's Python: 5 ms are time for 40 MB."""
_GC_OBJECTS: Final = 50_000
"""How many new objects have the interpreter look for cycles, of which a search makes none: 700 cost a twentieth of its time."""


@contextlib.contextmanager
def tuned_interpreter() -> Iterator[None]:
    """Settings of the whole process that are worth a tenth of a search's time; as they were before, afterwards."""
    switch_s, collect = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(_SWITCH_S)
    gc.set_threshold(_GC_OBJECTS, *collect[1:])
    try:
        yield
    finally:
        sys.setswitchinterval(switch_s)
        gc.set_threshold(*collect)


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


class _Lanes:
    """Batches that wait for a thread, those of small files and those of large ones."""

    def __init__(self, threads: int) -> None:
        self._change = threading.Condition()
        self._small: deque[list[Job]] = deque()
        self._large: list[tuple[int, int, list[Job]]] = []
        """A heap, the largest first: one that is begun last keeps everybody waiting."""
        self._count = 0
        self._most_on_small = (threads - 1) // 2
        self._on_small = 0
        self._closed = False

    def caller_waits(self, threads: int) -> None:
        """From here on more threads may do small files."""
        with self._change:
            self._most_on_small = (threads + 1) // 2

    def put(self, batch: list[Job], *, large: bool) -> None:
        with self._change:
            if large:
                self._count += 1
                heapq.heappush(self._large, (-max(job.found.st_size for job in batch), self._count, batch))
            else:
                self._small.append(batch)
            self._change.notify()

    def take(self, previous: list[Job] | None) -> list[Job] | None:
        """The next batch for a thread that is done with the previous one; waits for it. None: there will be none."""
        with self._change:
            if previous and not _is_large(previous[0]):
                self._on_small -= 1
            while not self._small and not self._large:
                if self._closed:
                    return None
                self._change.wait()
            if self._small and (self._on_small < self._most_on_small or not self._large):
                self._on_small += 1
                return self._small.popleft()
            return heapq.heappop(self._large)[2]

    def close(self) -> None:
        """Let the threads end when there is nothing left."""
        with self._change:
            self._closed = True
            self._change.notify_all()


def _is_large(job: Job) -> bool:
    return job.found.st_size >= LARGE_BYTES


class Readers:
    """The threads and their lanes; on a single CPU the caller does the work."""

    def __init__(
        self,
        *,
        plans: list[Plan],
        endless: Callable[[os.stat_result], bool],
        deadline_s: float,
        threads: int | None = None,
    ) -> None:
        self._plans = plans
        self._patterns = {text: pattern for plan in plans for text, pattern in plan.patterns.items()}
        self._endless = endless
        self._deadline_s = deadline_s
        self._count = min(threads or available_cpus(), MAX_THREADS)
        self._threads: list[Thread] = []
        self._lanes = _Lanes(self._count)
        self._done: SimpleQueue[list[Job] | BaseException] = SimpleQueue()
        self._waiting = self._waiting_jobs = 0
        self._batches: dict[bool, list[Job]] = {False: [], True: []}
        self._batch_bytes = {False: 0, True: 0}
        self._own: tuple[Blocks, Screen] | None = None
        self._following = threading.Lock()
        """Held for a moment, where a job begins or ends to have followers."""

    def submit(self, job: Job) -> Iterable[Job]:
        """Have a job done; returns jobs that are done meanwhile."""
        facts = job.facts
        with self._following:
            leads = facts.followers is None
            if facts.followers is None:
                facts.followers = []
            else:
                facts.followers.append(job)
        self._waiting_jobs += 1
        if leads:
            large = _is_large(job)
            batch = self._batches[large]
            batch.append(job)
            self._batch_bytes[large] += job.found.st_size
            if len(batch) < _BATCH_JOBS and self._batch_bytes[large] < _BATCH_BYTES:
                return ()
            done = self._send(large=large)
        elif self._waiting_jobs < _WAITING_JOBS:
            return ()
        else:
            done = self._send(large=True) + self._send(large=False)
        if self._waiting_jobs >= _WAITING_JOBS:
            self._caller_waits()
        while self._waiting and (self._waiting_jobs >= _WAITING_JOBS or not self._done.empty()):
            done += self._next()
        return done

    def finish(self) -> Iterator[Job]:
        """Yield all jobs that are left, as they are done; after the deadline those that are not come back unread."""
        yield from self._send(large=True)
        yield from self._send(large=False)
        self._caller_waits()
        while self._waiting:
            yield from self._next()

    def close(self) -> None:
        """Let the threads end; one that hangs in a read ends with the process."""
        self._lanes.close()

    def _send(self, *, large: bool) -> list[Job]:
        batch = self._batches[large]
        self._batches[large], self._batch_bytes[large] = [], 0
        if not batch:
            return []
        if self._count == 1:
            self._own = self._own or self._tools()
            done = self._work_off(batch, *self._own)
            self._waiting_jobs -= len(done)
            return done
        self._lanes.put(batch, large=large)
        self._waiting += 1
        if len(self._threads) < self._count - 1:
            self._start_thread()
        return []

    def _start_thread(self) -> None:
        thread = Thread(target=self._run, name=f"file-reader-{len(self._threads)}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _caller_waits(self) -> None:
        if self._count - 1 == len(self._threads) < self._waiting:
            self._lanes.caller_waits(self._count)
            self._start_thread()

    def _next(self) -> list[Job]:
        left_s = self._deadline_s + _GRACE_S - time.monotonic()
        try:
            done = self._done.get(timeout=None if left_s == float("inf") else max(left_s, 0.0))
        except Empty:  # a read that hangs, on a network file system for example
            self._waiting = self._waiting_jobs = 0
            raise OutOfTime from None
        self._waiting -= 1
        if isinstance(done, BaseException):
            raise done
        self._waiting_jobs -= len(done)
        return done

    def _run(self) -> None:
        blocks, screen = self._tools()
        batch: list[Job] | None = None
        while (batch := self._lanes.take(batch)) is not None:
            try:
                self._done.put(self._work_off(batch, blocks, screen))
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that asks
                self._done.put(error)

    def _tools(self) -> tuple[Blocks, Screen]:
        """What each thread has for itself."""
        blocks = Blocks(min(_BUFFER_BYTES, _BUFFERS_BYTES // self._count))
        return blocks, Screen(self._plans, blocks.buffer, self._deadline_s)

    def _work_off(self, batch: list[Job], blocks: Blocks, screen: Screen) -> list[Job]:
        """Do the jobs, then those that waited for what became known by them; returns all."""
        done: list[Job] = []
        while batch:
            for job in screen.left(batch):
                self._do(job, blocks)
            done += batch
            followers: list[Job] = []
            with self._following:
                for facts in {job.facts for job in batch}:
                    followers += facts.followers or ()
                    facts.followers = [] if facts.followers else None
            batch = followers
        return done

    def _do(self, job: Job, blocks: Blocks) -> None:
        if time.monotonic() > self._deadline_s:
            job.unread = True
            return
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


_GRACE_S: Final = 0.2
"""How long after the deadline a thread may take to notice it."""


def available_cpus() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
