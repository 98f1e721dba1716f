"""`--output csv` (RFC 4180, with a header): a row for each line that an agent has to show, in one physical line each.

An agent without lines has one row without operation, module and line, so that whoever did not answer stands there too.
`unfinished` is `yes` in the rows of an agent of whose answer not everything came, as in `render`.
A text that a spreadsheet would take for a formula (`=`, `+`, `-`, `@` first) gets an apostrophe before it, since agents'
names and findings are written by whoever has the host; control characters are written as escapes.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, TextIO

from investigator.console.audience import Shown, Summary
from investigator.console.render_parts import ModuleLines, Quiet, why
from investigator.printable import printable
from investigator.protocol.action import Action
from investigator.protocol.result import Outcome

COLUMNS: Final = (
    "action",
    "agent_id",
    "agent_name",
    "state",
    "code",
    "reason",
    "operation",
    "module",
    "line",
    "unfinished",
)
_FORMULA: Final = ("=", "+", "-", "@")


class CsvRenderer(Quiet):
    """For spreadsheets and scripts; `-show` governs which answers have rows."""

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, show: Literal["found", "notfound", "all"], lines: ModuleLines
    ) -> None:
        super().__init__(stdout, stderr)
        self._show = show
        self._lines = lines
        self._action = ""

    def started(self, action: Action, *, targeted: int, expected: int) -> None:  # noqa: ARG002 - the protocol's
        """The header."""
        self._action = action.id
        self.put(csv_text([COLUMNS]))

    def outcome(
        self, agent: str, name: str, state: Shown, outcome: Outcome | None, *, unfinished: bool = False
    ) -> None:
        """The agent's rows."""
        answered = state in ("found", "notfound")
        if answered and self._show not in ("all", state):
            return
        code = outcome.code if outcome is not None else ""
        reason = "" if answered else why(outcome).removeprefix(code).removeprefix(": ")
        head, mark = (self._action, agent, name, state, code, reason), "yes" if unfinished else ""
        rows = [(*head, *tail, mark) for tail in self._tails(outcome)]
        self.put(csv_text(rows or [(*head, "", "", "", mark)]))

    def summary(self, summary: Summary) -> None:
        """Nothing more: the rows are all there is."""
        self.line.clear()
        if summary.interrupted:
            self.say("interrupted, agents may still be running")

    def _tails(self, outcome: Outcome | None) -> Iterator[tuple[str, str, str]]:
        everything = self._show != "found"
        for number, result in enumerate(outcome.results if outcome is not None else ()):
            if not everything and not result.foundanything:
                continue
            module = self._lines.modules[number] if number < len(self._lines.modules) else ""
            for line in self._lines.of(number, result, everything=everything):
                yield str(number + 1), module, line


def csv_text(rows: Iterable[Sequence[str]]) -> str:
    """The rows, safe for terminals and spreadsheets."""
    buffer: list[str] = []
    csv.writer(_Into(buffer)).writerows([_cell(cell) for cell in row] for row in rows)
    return "".join(buffer)


def _cell(text: str) -> str:
    shown = printable(text)
    return "'" + shown if shown.startswith(_FORMULA) else shown


class _Into:
    """A file that only keeps what is written; `csv` asks for no more."""

    def __init__(self, buffer: list[str]) -> None:
        self._buffer = buffer

    def write(self, text: str) -> int:
        """Keep it."""
        self._buffer.append(text)
        return len(text)
