"""The fleet as a table.

`ndjson` is a row of the agents table per line, as `investigator target --rows` reads them; `json` a list of the same;
`csv` has the columns of `CSV_COLUMNS` (RFC 4180, as safe for spreadsheets as `render_csv` is); `text` is for people.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TextIO

from investigator.console.render_csv import csv_text
from investigator.console.render_parts import json_text
from investigator.printable import columns, fit, printable

CSV_COLUMNS: Final = ("id", "name", "os", "tags", "version", "last_seen", "status", "enrolment")
_MAX_PROBLEMS: Final = 8
_HEADS: Final = (
    ("NAME", 40),
    ("OS", 8),
    ("TAGS", 48),
    ("VERSION", 16),
    ("LAST SEEN", 14),
    ("STATUS", 8),
    ("ENROLMENT", 9),
)
"""Heading and the widest that its column gets."""


def write_agents(
    rows: Sequence[Mapping[str, Any]],
    *,
    output: Literal["text", "json", "ndjson", "csv"],
    now: datetime,
    stdout: TextIO | None = None,
) -> None:
    """Print rows of the agents table; `now` is what "last seen" counts from."""
    out = stdout or sys.stdout
    if output == "text":
        table = [
            (
                _text(row, "name"),
                _text(row, "os"),
                _tags(row),
                _text(row, "version"),
                _ago(row, now),
                _text(row, "status"),
                _standing(row),
            )
            for row in rows
        ]
        out.write("".join(line + "\n" for line in aligned(table, _HEADS)))
    elif output == "csv":
        body = [
            (*(_text(row, key) for key in ("id", "name", "os")), _tags(row), _text(row, "version"), _seen(row),
             _text(row, "status"), _standing(row))
            for row in rows
        ]  # fmt: skip
        out.write(csv_text([CSV_COLUMNS, *body]))
    elif output == "ndjson":
        out.writelines(json_text(dict(row), encoding=out.encoding) + "\n" for row in rows)
    else:
        out.write("[" + ",".join("\n" + json_text(dict(row), encoding=out.encoding) for row in rows) + "\n]\n")
    out.flush()


def broken_trust(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A line for each thing that is broken in an agent's keyring or ACL, as it says itself in its facts."""
    return [
        f"{printable(_text(row, 'name'))}: {printable(str(problem))}"
        for row in rows
        for problem in _told_problems(row.get("environment"))
    ]


def _told_problems(environment: object) -> Sequence[object]:
    """What an agent says may be anything."""
    trust = environment.get("trust") if isinstance(environment, Mapping) else None
    problems = trust.get("problems") if isinstance(trust, Mapping) else None
    return problems[:_MAX_PROBLEMS] if isinstance(problems, list) else ()


def aligned(rows: Iterable[Sequence[str]], heads: Sequence[tuple[str, int]]) -> list[str]:
    """Lines of a table: headings, then the rows, each column as wide as its widest cell or its limit."""
    by_column = zip(*([head for head, _ in heads], *rows), strict=True)
    padded = [_column(cells, limit) for cells, (_, limit) in zip(by_column, heads, strict=True)]
    return ["  ".join(cells).rstrip() for cells in zip(*padded, strict=True)]


def _column(cells: Sequence[str], limit: int) -> list[str]:
    together = "".join(cells)
    # mostly so; looking at each cell costs more than the rest of a table
    if together.isascii() and together.isprintable():
        width = max(map(len, cells))
        if width <= limit:
            return [cell.ljust(width) for cell in cells]
    shown = [printable(cell) for cell in cells]
    width = min(limit, max(map(columns, shown)))
    return [_padded(cell, width) for cell in shown]


def _padded(cell: str, width: int) -> str:
    if len(cell) <= width and cell.isascii():
        return cell.ljust(width)
    shown = fit(cell, width)
    return shown + " " * (width - columns(shown))


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)


def _standing(row: Mapping[str, Any]) -> str:
    enrolment = row.get("enrolment")
    return _text(enrolment, "standing") if isinstance(enrolment, Mapping) else ""


def _tags(row: Mapping[str, Any]) -> str:
    tags = row.get("tags")
    return " ".join(f"{key}={tags[key]}" for key in sorted(tags)) if isinstance(tags, Mapping) else ""


def _seen(row: Mapping[str, Any]) -> str:
    seen = row.get("heartbeattime")
    return seen.isoformat(timespec="seconds") if isinstance(seen, datetime) else ""


def _ago(row: Mapping[str, Any], now: datetime) -> str:
    seen = row.get("heartbeattime")
    if not isinstance(seen, datetime):
        return "never"
    age_s = max(0, int((now - seen).total_seconds()))
    for unit, size_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if age_s >= 2 * size_s:
            return f"{age_s // size_s} {unit} ago"
    return f"{age_s} s ago"
