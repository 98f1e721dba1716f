"""The fleet as a table."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from investigator.console.table import CSV_COLUMNS, aligned, write_agents
from investigator.printable import columns, fit, printable
from investigator.protocol.target_rows import row_from_json

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def row(name: str, *, ago_s: float = 3, **more: Any) -> dict[str, Any]:
    return {
        "id": f"id-{name}",
        "name": name,
        "os": "linux",
        "tags": {"site": "berlin", "role": "web"},
        "version": "0.1.0",
        "status": "online",
        "heartbeattime": NOW - timedelta(seconds=ago_s),
        **more,
    }


def written(rows: list[dict[str, Any]], output: Any) -> str:
    out = io.StringIO()
    write_agents(rows, output=output, now=NOW, stdout=out)
    return out.getvalue()


def test_text_is_aligned_and_says_how_long_ago() -> None:
    text = written([row("web-1"), row("a-longer-name", ago_s=7300, status="idle", tags={})], "text")
    assert text.splitlines() == [
        "NAME           OS     TAGS                  VERSION  LAST SEEN  STATUS  ENROLMENT",
        "web-1          linux  role=web site=berlin  0.1.0    3 s ago    online",
        "a-longer-name  linux                        0.1.0    2 h ago    idle",
    ]


def test_an_empty_fleet_is_headings_only() -> None:
    assert written([], "text") == "NAME  OS  TAGS  VERSION  LAST SEEN  STATUS  ENROLMENT\n"
    assert json.loads(written([], "json")) == []
    assert written([], "ndjson") == ""


def test_names_and_tags_are_capped_and_cannot_drive_the_terminal() -> None:
    text = written([row("x" * 100 + "\x1b[2J", tags={"k\n": "\x07", "l": "y" * 99}, version=None)], "text")
    assert "x" * 39 + "…" in text
    assert "k\\n=\\x07 l=" in text
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_rows_of_a_hostile_agent_do_not_end_the_listing() -> None:
    odd = {"id": "i", "name": 5, "os": None, "tags": ["x"], "heartbeattime": "soon"}
    assert "never" in written([odd], "text")
    assert "i,5,,,,," in written([odd], "csv")


def test_ndjson_is_what_target_rows_reads_and_json_a_list_of_it() -> None:
    lines = written([row("a"), row("b")], "ndjson").splitlines()
    assert [row_from_json(json.loads(line))["name"] for line in lines] == ["a", "b"]
    assert json.loads(lines[0])["heartbeattime"] == "2026-11-24T11:59:57Z"
    assert json.loads(written([row("a"), row("b")], "json")) == [json.loads(line) for line in lines]


def test_csv_has_a_header_and_safe_cells() -> None:
    (only,) = csv.DictReader(io.StringIO(written([row("=cmd")], "csv"), newline=""))
    assert tuple(only) == CSV_COLUMNS
    assert only["name"] == "'=cmd"
    assert only["last_seen"] == "2026-11-24T11:59:57+00:00"


@given(st.lists(st.tuples(st.text(max_size=12), st.text("ab ~", max_size=12)), max_size=5))
def test_columns_are_as_wide_as_their_widest_cell_whatever_is_in_them(rows: list[tuple[str, str]]) -> None:
    lines = aligned(rows, (("NAME", 8), ("OS", 8)))
    cells = [("NAME", "OS"), *((printable(name), os) for name, os in rows)]
    widths = [min(8, max(columns(row[at]) for row in cells)) for at in (0, 1)]
    expected = []
    for row in cells:
        padded = [fit(cell, width) for cell, width in zip(row, widths, strict=True)]
        padded = [cell + " " * (width - columns(cell)) for cell, width in zip(padded, widths, strict=True)]
        expected.append("  ".join(padded).rstrip())
    assert lines == expected
