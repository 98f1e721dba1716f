"""What matched, as MIG's JSON, within the bytes that a result may have."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.file.opening import on_one_line, path_text
from investigator.modules.findings import Findings
from investigator.modules.notes import Notes, note_lines
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.modules.interface import Context

_ERROR_ROOM_BYTES: Final = 1 << 20


@dataclass(slots=True, frozen=True)
class Match:
    """An object that rules matched: a file, or with a pid the process that runs it."""

    object: str
    pid: int
    rules: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """MIG's element; `Pid` is there for processes alone."""
        return {"Object": self.object, **({"Pid": self.pid} if self.pid else {}), "MatchedRules": list(self.rules)}


class Report:
    """Collects while files and processes are scanned by a thread that may never come back.

    `match` and `scan_ended` are for that thread, all else is for the one that answers.
    """

    def __init__(self, context: Context) -> None:
        self.notes = Notes()
        self._told: SimpleQueue[Match | None] = SimpleQueue()
        self._findings = Findings(context, room_bytes=_ERROR_ROOM_BYTES)
        self._matches = self._findings.slot("Matches", order=_place)
        self._unreturned = 0

    def match(self, name: bytes, rules: list[str], *, pid: int = 0) -> None:
        """Rules that matched a file, or a process."""
        self._told.put(Match(path_text(name), pid, tuple(rules)))

    def scan_ended(self) -> None:
        """Nothing more is told."""
        self._told.put(None)

    def listen(self, until_s: float) -> bool:
        """Take what is told until the scan has ended; false if it has not at `until_s`, on `time.monotonic()`'s scale."""
        while True:
            left_s = min(until_s - time.monotonic(), threading.TIMEOUT_MAX)
            try:
                found = self._told.get(timeout=max(left_s, 0.0))
            except Empty:
                return False
            if found is None:
                return True
            if not self._findings.add(self._matches, found.json()):
                self._unreturned += 1

    def result(self) -> Result:
        """The whole, sorted by object; where there are pieces, each is."""
        if self._unreturned:
            self.notes.note(f"rules matched {self._unreturned} more objects than a result can hold; they are left out")
        anything = self._matches.found + self._unreturned > 0
        return Result(
            foundanything=anything,
            success=True,
            elements=self._findings.rest() if anything else None,
            errors=self.notes.texts(),
        )


def _place(match: Mapping[str, Any]) -> tuple[str, int]:
    return match["Object"], match.get("Pid", 0)


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """`PATH [r1,r2]` and warnings; with `everything` errors too."""
    for match in (result.get("elements") or {}).get("Matches") or ():
        pid = f" [pid:{match['Pid']}]" if match.get("Pid") else ""
        yield f"{on_one_line(match['Object'])}{pid} [{','.join(match['MatchedRules'])}]"
    yield from note_lines(result, everything=everything)
