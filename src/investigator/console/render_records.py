"""What was asked, by whom and how it stands, for people and programs; others wrote it, so nothing reaches a terminal as it came."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from investigator.console.render_csv import csv_text
from investigator.console.render_parts import json_text
from investigator.console.table import aligned
from investigator.printable import printable
from investigator.protocol.tally import STATES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

    from investigator.console.records import Entry, Signed

CSV_COLUMNS: Final = ("id", "asked", "expires", "by", "verified", "name", "target", "modules", "cancelled", "standing")
ID_DIGITS: Final = 12
_HEADS: Final = (("ASKED", 20), ("ID", ID_DIGITS), ("BY", 24), ("MODULES", 20), ("TARGET", 40), ("STANDING", 90))


@dataclass(frozen=True, slots=True)
class Standing:
    """How an action stands, as far as it is known here."""

    states: Mapping[str, int]
    final: bool = False
    source: Literal["signed", "unsigned", "here", "answers", "nothing"] = "nothing"
    """A tally on record that somebody known signed, or that nobody did; this console's own; the stream's count of agents."""
    answered: int = 0
    """With `answers`: how many agents have answers in the stream."""


@dataclass(frozen=True, slots=True)
class Line:
    """One action to be shown."""

    entry: Entry
    signed: Signed
    cancelled: tuple[str, ...]
    """Who signed cancels of it."""
    standing: Standing
    now: datetime

    @property
    def is_valid_still(self) -> bool:
        """Whether agents may still begin to run it."""
        return self.entry.prepared.action.expireafter > self.now

    def by(self) -> str:
        """For people: marked where the signatures prove nothing here."""
        if not self.signed.names:
            return f"UNVERIFIED: {self.signed.problem}"
        return ", ".join(self.signed.names)

    def told(self) -> str:
        """How it stands, in words."""
        standing = self.standing
        counts = ", ".join(f"{standing.states[state]} {state}" for state in STATES if standing.states.get(state))
        if standing.source == "answers":
            counts = f"{standing.answered} answered"
        words = [counts or "nothing on record"]
        if self.cancelled:
            words.append(f"cancelled by {', '.join(self.cancelled)}")
        if self.is_valid_still:
            words.append(f"valid until {_time(self.entry.prepared.action.expireafter.timestamp())}")
        elif standing.source in ("signed", "unsigned") and not standing.final:
            words.append("not counted since it expired")
        if standing.source == "unsigned":
            words.append("count not signed")
        return "; ".join(words)


def write_actions(
    lines: Sequence[Line], *, output: Literal["text", "json", "ndjson", "csv"], stdout: TextIO | None = None
) -> None:
    """Print them, in their order."""
    out = stdout or sys.stdout
    if output == "text":
        table = [
            (_time(one.entry.asked_s), one.entry.id[:ID_DIGITS], one.by(), _modules(one), _target(one), one.told())
            for one in lines
        ]
        out.write("".join(line + "\n" for line in aligned(table, _HEADS)))
    elif output == "csv":
        out.write(csv_text([CSV_COLUMNS, *(_row(one) for one in lines)]))
    elif output == "ndjson":
        out.writelines(json_text(document(one), encoding=out.encoding) + "\n" for one in lines)
    else:
        body = ",".join("\n" + json_text(document(one), encoding=out.encoding) for one in lines)
        out.write(f'{{"actions":[{body}\n]}}\n')
    out.flush()


def document(line: Line) -> dict[str, Any]:
    """For programs; docs/protocol.md has the shape."""
    action, standing = line.entry.prepared.action, line.standing
    return {
        "type": "recorded",
        "action": action.id,
        "digest": line.entry.digest,
        "name": action.name,
        "target": action.target,
        "modules": [operation.module for operation in action.operations],
        "asked": _time(line.entry.asked_s),
        "expireafter": _time(action.expireafter.timestamp()),
        "by": [{"name": n, "fingerprint": f} for n, f in sorted(line.signed.people)],
        "problem": line.signed.problem,
        "sealto": action.sealto,
        "cancelled": list(line.cancelled),
        "standing": {
            "source": standing.source,
            "final": standing.final,
            "states": dict(standing.states),
            **({"answered": standing.answered} if standing.source == "answers" else {}),
        },
    }


def _row(one: Line) -> tuple[str, ...]:
    action = one.entry.prepared.action
    return (
        action.id,
        _time(one.entry.asked_s),
        _time(action.expireafter.timestamp()),
        ", ".join(one.signed.names),
        "yes" if one.signed.names else f"no: {one.signed.problem}",
        action.name,
        action.target,
        _modules(one),
        ", ".join(one.cancelled),
        one.told(),
    )


def _modules(one: Line) -> str:
    return ", ".join(dict.fromkeys(operation.module for operation in one.entry.prepared.action.operations))


def _target(one: Line) -> str:
    return printable(one.entry.prepared.action.target)


def _time(seconds: float) -> str:
    """RFC 3339, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
