"""Whom the enrolment service knows, as a table or for programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

import msgspec

from investigator.console.render_csv import csv_text
from investigator.console.render_parts import json_text
from investigator.console.table import aligned
from investigator.printable import printable
from investigator.protocol.enrolment import Known

COLUMNS: Final = ("agent", "name", "state", "reason", "first", "last", "expires", "bytes", "token", "notices")
_HEADS: Final = (("ID", 26), ("NAME", 40), ("STATE", 8), ("LAST", 20), ("UNTIL", 20), ("BYTES", 15), ("WHY", 70))


def write_known(
    agents: Sequence[Known],
    *,
    policy: str,
    output: Literal["text", "json", "ndjson", "csv"],
    stdout: TextIO | None = None,
) -> None:
    """Print them; for people with a line each for what somebody should look at."""
    out = stdout or sys.stdout
    rows = [_row(agent) for agent in agents]
    if output == "text":
        table = [
            (row["agent"], row["name"], row["state"], row["last"], row["expires"], f"{row['bytes']:,}", row["reason"])
            for row in rows
        ]
        out.write("".join(line + "\n" for line in aligned(table, _HEADS)))
        for row in rows:
            for notice in row["notices"]:
                out.write(printable(f"{row['name']} ({row['agent']}) {notice}") + "\n")
        out.write(f"policy: {policy}\n")
    elif output == "csv":
        body = [tuple("; ".join(row[key]) if key == "notices" else str(row[key]) for key in COLUMNS) for row in rows]
        out.write(csv_text([COLUMNS, *body]))
    elif output == "ndjson":
        out.writelines(json_text(row, encoding=out.encoding) + "\n" for row in rows)
    else:
        out.write(json_text({"policy": policy, "agents": rows}, encoding=out.encoding) + "\n")
    out.flush()


def _row(agent: Known) -> dict[str, Any]:
    plain = msgspec.to_builtins(agent)
    times = {name: _time(plain.pop(f"{name}_s")) for name in ("first", "last", "expires")}
    return {**plain, **times}


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""
    except (ValueError, OverflowError, OSError):
        return ""
