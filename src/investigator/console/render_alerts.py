"""Alerts for people and programs; an agent may have written anything, so nothing reaches a terminal as it came."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from investigator.console.render_csv import csv_text
from investigator.console.render_parts import json_text
from investigator.printable import printable

if TYPE_CHECKING:
    from typing import TextIO

    from investigator.console.alerts import Kept
    from investigator.protocol.alert import Alert

CSV_COLUMNS: Final = ("id", "time", "agent_id", "agent_name", "module", "severity", "alert", "details")


class AlertWriter:
    """Writes letters as they come; a context manager, since JSON has an end."""

    def __init__(self, output: Literal["text", "json", "ndjson", "csv"], stdout: TextIO | None = None) -> None:
        self._output = output
        self._out = stdout or sys.stdout
        self._count = 0

    def __enter__(self) -> Self:
        if self._output == "csv":
            self._out.write(csv_text([CSV_COLUMNS]))
        elif self._output == "json":
            self._out.write('{"alerts":[')
        return self

    def __exit__(self, *error: object) -> None:
        if self._output == "json":
            self._out.write("\n]}\n" if self._count else "]}\n")
        self._out.flush()

    def write(self, kept: Kept, alerts: list[Alert]) -> None:
        """The alerts of one letter."""
        for alert in alerts:
            self._out.write(self._line(kept, alert))
            self._count += 1
        self._out.flush()

    def _line(self, kept: Kept, alert: Alert) -> str:
        document = _document(kept, alert)
        match self._output:
            case "text":
                name, module = printable(kept.letter.name or kept.letter.agent), printable(kept.letter.module)
                return (
                    f"{kept.id}  {document['time']}  {alert.severity:<8}  {name}  {module}: {printable(alert.alert)}\n"
                )
            case "csv":
                details = json_text(alert.details) if alert.details else ""
                row = (kept.id, document["time"], kept.letter.agent, kept.letter.name, kept.letter.module)
                return csv_text([(*row, alert.severity, alert.alert, details)])
            case "ndjson":
                return json_text(document, encoding=self._out.encoding) + "\n"
            case _:
                return ("," if self._count else "") + "\n" + json_text(document, encoding=self._out.encoding)


def _document(kept: Kept, alert: Alert) -> dict[str, Any]:
    return {
        "type": "alert",
        "id": kept.id,
        "time": _text(alert.time_s),
        "agent": {"id": kept.letter.agent, "name": kept.letter.name},
        "module": kept.letter.module,
        "severity": alert.severity,
        "alert": alert.alert,
        "details": alert.details,
    }


def _text(moment_s: float) -> str:
    """RFC 3339, to the second."""
    try:
        return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return f"{moment_s:.0f}"
