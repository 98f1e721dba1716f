"""Rules on files: each read whole into memory as far as that is bounded, never mapped.

A file that is mapped, and cut while it is read, ends the reader. So YARA-X is given bytes, not paths: the file that was
chosen, opened without waiting and checked to be that one.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from investigator.modules.file.hunt import Hunt
from investigator.modules.file.opening import open_regular, path_text, reason
from investigator.modules.yara.rules import SCAN_S, CannotScan, TimeIsUp

if TYPE_CHECKING:
    from investigator.modules.file.checks import Check, Plan
    from investigator.modules.interface import Context
    from investigator.modules.yara.report import Report
    from investigator.modules.yara.rules import Rules, Scanner

PART_BYTES: Final = 32 << 20
OVERLAP_BYTES: Final = 1 << 20
"""By so much one part of a large file repeats the one before."""
KNOWN_FILES: Final = 4096


class FileScan:
    """What the file module's search tells of what it found."""

    def __init__(self, rules: Rules, report: Report, deadline_s: float) -> None:
        self.files_count = 0
        self._rules = rules
        self._scanner: Scanner | None = None
        self._report = report
        self._deadline_s = deadline_s
        self._known: dict[tuple[int, ...], list[str]] = {}
        """What was found in files that may be met again, under another name."""
        self._last = b""
        self._unscanned = self._in_parts = 0
        self._first_in_parts = b""
        self._doing = "the search for files went on"

    def run(self, plans: list[Plan], context: Context) -> None:
        """Choose files and scan each."""
        self._scanner = self._rules.scanner()
        try:
            Hunt(plans, context, self).run()
        finally:
            self._scanner = None  # in the thread that made it
        for plan in plans:
            if plan.done:
                self.note(f"-matchlimit: no more than {plan.hits} files were scanned; there may be more")
        if self._unscanned:
            self.note(f"out of time: {self._unscanned} files that were chosen were not scanned")
        if self._in_parts:
            more = f" and {self._in_parts - 1} other files" if self._in_parts > 1 else ""
            self.note(
                f"{path_text(self._first_in_parts)}{more}: larger than {PART_BYTES >> 20} MiB, so scanned in parts; "
                "a rule that needs the whole file may miss"
            )

    def say_out_of_time(self) -> None:
        """It did not come back."""
        self.note(f"the time was up while {self._doing}; what is missing is unknown")

    def hit(self, plan: Plan, check: Check | None, path: bytes, found: os.stat_result, sha256: str | None) -> None:  # noqa: ARG002 - see `hunt.Sink`
        """A file that was chosen; it is told several times where each check reports its own."""
        if path == self._last or plan.done:
            return
        self._last = path
        plan.hits += 1
        if time.monotonic() > self._deadline_s:
            self._unscanned += 1
            return
        self._doing = f"{path_text(path)} was read"
        rules: set[str] = set()
        try:
            self._look(path, found, rules)
        except OSError as error:
            self.error(f"{path_text(path)}: {reason(error)}")
        except TimeIsUp:
            self.error(f"{path_text(path)}: scanning it takes too long; the rest of it is left out")
        except CannotScan as error:
            self.error(f"{path_text(path)}: {error}")
        if rules:  # also those that matched before it took too long
            self._report.match(path, sorted(rules))

    def error(self, text: str) -> None:
        """Something that could not be read."""
        self._report.notes.error(text)

    def failed_to_open(self, text: str) -> None:
        """Something that could not even be opened."""
        self._report.notes.error(text)

    def note(self, text: str) -> None:
        """Something that was left out."""
        self._report.notes.note(text)

    def _look(self, path: bytes, found: os.stat_result, rules: set[str]) -> None:
        """Add the rules that match to `rules`, part by part."""
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._known.get(identity) if found.st_size else None  # what /proc holds changes without a trace
        if known is not None:
            rules.update(known)
            return
        descriptor, status = open_regular(path, follow=True)
        try:
            if (status.st_dev, status.st_ino) != (found.st_dev, found.st_ino):
                raise OSError(0, "is another file than it was a moment ago")
            self._scan(descriptor, status.st_size, path, rules)
        finally:
            os.close(descriptor)
        self._known[identity] = sorted(rules)
        if len(self._known) > KNOWN_FILES:
            del self._known[next(iter(self._known))]

    def _scan(self, descriptor: int, size: int, path: bytes, rules: set[str]) -> None:
        """Scan the file, whole if it is not too large; all parts of a large one have the same size."""
        deadline_s = min(self._deadline_s, time.monotonic() + SCAN_S)
        if size <= PART_BYTES:
            data = os.read(descriptor, (size or PART_BYTES) + 1)
            while 0 < len(data) <= PART_BYTES and (more := os.read(descriptor, PART_BYTES + 1 - len(data))):
                data += more
            if len(data) <= PART_BYTES:
                rules |= self._match(data, deadline_s)
                return
            size = max(os.fstat(descriptor).st_size, len(data))  # it has grown, or never says its size
            del data
        self._in_parts += 1
        self._first_in_parts = self._first_in_parts or path
        start = 0
        while start < size - OVERLAP_BYTES:
            data = os.pread(descriptor, PART_BYTES, min(start, max(size - PART_BYTES, 0)))
            if not data:  # it has shrunk
                break
            rules |= self._match(data, deadline_s)
            del data  # before the next part is read
            start += PART_BYTES - OVERLAP_BYTES

    def _match(self, data: bytes, deadline_s: float) -> set[str]:
        assert self._scanner is not None
        return set(self._scanner.matching(data, deadline_s=deadline_s))
