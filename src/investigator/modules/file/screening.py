"""Small files ruled out many at a time: read one behind the other into a buffer, which a prefilter searches once.

Most files that are searched by content do not match, most files are small, and with those the handling of each costs more
than reading and searching it. A file whose part of the buffer no prefilter points into needs no more than that; all others
are read again and judged (`reading`), those too that cannot be opened, change their size or never say it.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_right
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import open_regular

if TYPE_CHECKING:
    from collections.abc import Iterable

    from investigator.modules.file.checks import Plan, Question
    from investigator.modules.file.readers import Job
    from investigator.modules.patterns.prefilter import Prefilter

SMALL_BYTES: Final = 512 << 10
_FEW: Final = 4
"""Of so many files together too few would be ruled out to be worth a second reading of the others."""


class Screen:
    """Which question alone can rule a file out, for each plan that has one; for one thread."""

    def __init__(self, plans: Iterable[Plan], buffer: bytearray, deadline_s: float) -> None:
        self._required = {plan: found for plan in plans if (found := _required(plan)) is not None}
        self._buffer = buffer
        self._together_bytes = len(buffer) // 2
        self._view = memoryview(buffer)
        self._deadline_s = deadline_s
        self._parts: list[tuple[int, Job]] = []
        """Where each file's part begins."""
        self._filled = 0
        self._pays = bool(self._required) and hasattr(os, "readv")

    def left(self, jobs: list[Job]) -> list[Job]:
        """The jobs that are not ruled out, in any order; the others hold for no plan."""
        if not self._pays:
            return jobs
        left: list[Job] = []
        for job in jobs:
            if not self._required.keys() >= job.held.keys():
                left.append(job)
                continue
            known = job.facts.answers
            if known and all(known.get(self._required[plan][0]) is False for plan in job.held):
                continue
            size = job.found.st_size
            if 0 < size <= SMALL_BYTES:
                if self._filled + size + 2 > self._together_bytes:
                    left += self._search()
                if self._read(job, size):
                    continue
            left.append(job)
        left += self._search()
        return left

    def _read(self, job: Job, size: int) -> bool:
        """Put a file's content behind the others; false: it is none to be read so."""
        start = self._filled
        if time.monotonic() > self._deadline_s:
            return False
        try:
            descriptor, _ = open_regular(job.path, follow=job.follow)
        except OSError:
            return False
        try:
            count = os.readv(descriptor, [self._view[start : start + size + 1]])
        except OSError:
            return False
        finally:
            os.close(descriptor)
        if count != size:
            return False
        if self._buffer[start + size - 1] != 0x0A:
            self._buffer[start + size] = 0x0A
            size += 1
        self._parts.append((start, job))
        self._filled = start + size
        return True

    def _search(self) -> list[Job]:
        """Those of the files in the buffer that one of their plans may hold for."""
        parts, end = self._parts, self._filled
        self._parts, self._filled = [], 0
        if not parts:
            return []
        starts = [start for start, _ in parts]
        found: dict[Job, None] = {}
        for plan in {plan: None for _, job in parts for plan in job.held}:
            question, prefilter = self._required[plan]
            place = -1
            start = 0
            while start < end and (place := prefilter.candidate(self._buffer, start, end - 1)) >= 0:
                at = bisect_right(starts, place) - 1
                if plan in parts[at][1].held:
                    found[parts[at][1]] = None
                start = starts[at + 1] if at + 1 < len(starts) else end
            for _, job in parts if place < 0 and start == 0 else ():
                job.facts.answers[question] = False  # for other links to the file
        self._pays = len(parts) <= _FEW or len(found) * 2 < len(parts)
        return list(found)


def _required(plan: Plan) -> tuple[Question, Prefilter] | None:
    """A question that must be answered by yes, about any line, for the plan to hold for a file."""
    for check in plan.contents if plan.matchall else ():
        inflated, pattern, every = check.question
        prefilter = plan.patterns[pattern].prefilter
        if not (inflated or every or check.inverted) and prefilter is not None:
            return check.question, prefilter
    return None
