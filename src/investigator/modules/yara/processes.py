"""Rules on the memory of processes, which is read as the memory module reads it: in windows, through one reused buffer.

YARA itself scans a process region by region and lets a rule's condition combine what it found in all of them. YARA-X has
no such call, so regions are put behind one another into blocks, and each block is scanned as if it were a file.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.file.opening import path_text, reason
from investigator.modules.memory.reading import Buffer, Reader
from investigator.modules.processes.crew import OutOfTime
from investigator.modules.processes.family import all_stats, own_family
from investigator.modules.processes.procfs import Ended, Process
from investigator.modules.yara.rules import CannotScan, TimeIsUp

if TYPE_CHECKING:
    from investigator.modules.file.names import NamePattern
    from investigator.modules.memory.patterns import Window
    from investigator.modules.processes.parsing import Stat
    from investigator.modules.yara.report import Report
    from investigator.modules.yara.rules import Rules, Scanner

BLOCK_BYTES: Final = 16 << 20
OVERLAP_BYTES: Final = 64 << 10
GAP: Final = bytes(4096)
"""Between regions that do not border on each other, so that nothing matches across."""


class Block:
    """Takes a process's memory window by window, as a pattern that never has enough."""

    def __init__(self, scanner: Scanner, deadline_s: float) -> None:
        self.matched: set[str] = set()
        self._scanner = scanner
        self._deadline_s = deadline_s
        self._data = bytearray()

    def find(self, window: Window) -> int:
        """See `memory.patterns`; -1, for more is wanted."""
        if window.opens and window.fresh == 0 and self._data:
            self._data += GAP
        with memoryview(window.buffer) as view:
            self._data += view[window.fresh : window.filled]
        if len(self._data) >= BLOCK_BYTES:
            self.scan()
            self._data = self._data[-OVERLAP_BYTES:]
        return -1

    def scan(self) -> None:
        """Apply the rules to what is there. Raises TimeIsUp, CannotScan."""
        if self._data:
            self.matched.update(self._scanner.matching(bytes(self._data), deadline_s=self._deadline_s))


class ProcessScan:
    """One run over processes."""

    def __init__(self, rules: Rules, report: Report, deadline_s: float) -> None:
        self._rules = rules
        self._report = report
        self._deadline_s = deadline_s
        self._buffer = Buffer()
        self._devices: dict[tuple[bytes, int], str] = {}
        self._doing = "processes were listed"
        self._unreadable: list[int] = []

    def run(self, pattern: NamePattern) -> None:
        """Scan the processes whose executable's path it matches, by pid, our own left out."""
        stats = all_stats()
        ours = own_family(stats)
        strangers = sorted(pid for pid, known in stats.items() if pid not in ours and not known.is_kernel_thread)
        untouched, scanner = 0, self._rules.scanner()
        for pid in strangers:
            if time.monotonic() > self._deadline_s:
                untouched += 1
                continue
            self._look(pid, stats[pid], pattern, scanner)
        if untouched:
            self._report.notes.note(f"out of time: {untouched} of {len(strangers)} processes were not looked at")
        if self._unreadable:
            shown = ", ".join(map(str, self._unreadable[:10])) + (", ..." if len(self._unreadable) > 10 else "")
            self._report.notes.error(f"could not read all of the memory of {len(self._unreadable)} processes ({shown})")

    def say_out_of_time(self) -> None:
        """It did not come back."""
        self._report.notes.note(f"the time was up while {self._doing}; what is missing is unknown")

    def _look(self, pid: int, known: Stat, pattern: NamePattern, scanner: Scanner) -> None:
        self._doing = f"process {pid} was read"
        try:
            with Process(pid) as process:
                if process.stat().started_ticks != known.started_ticks:
                    return
                name = process.executable()
                if name and pattern.matches(name):
                    self._scan(process, name, scanner)
        except Ended:
            return
        except PermissionError:
            self._report.notes.error(f"could not look at process {pid}: permission denied")
        except OSError as error:
            self._report.notes.error(f"could not look at process {pid}: {reason(error)}")

    def _scan(self, process: Process, name: bytes, scanner: Scanner) -> None:
        block = Block(scanner, self._deadline_s)
        shown = f"{path_text(name)} [pid:{process.pid}]"
        wanted: list[Any] = [block]  # it takes windows as the memory module's patterns do
        reader = Reader(process, wanted, self._buffer, deadline_s=self._deadline_s, devices=self._devices)
        try:
            reader.run(offset=0, maxlength=0, swapped=False)
            block.scan()
        except (TimeIsUp, OutOfTime):
            self._report.notes.error(f"{shown}: scanning it takes too long; the rest of it is left out")
        except CannotScan as error:
            self._report.notes.error(f"{shown}: {error}")
        finally:
            reader.close()
            if reader.outcome.unread:
                self._unreadable.append(process.pid)
            if reader.outcome.swapped_bytes:
                self._report.notes.note("what is swapped out was not read")
            if block.matched:
                self._report.match(name, sorted(block.matched), pid=process.pid)
