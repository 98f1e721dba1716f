"""What a bench found: a line for the reader and, when `make bench` asks for it, a record for its table.

    figure("file.literal", 0.37, against="grep -rlaP", goal=0.8)

`INVESTIGATOR_FIGURES` names the file that takes the records, one JSON object a line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

import msgspec

VARIABLE: Final = "INVESTIGATOR_FIGURES"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured value. A ratio has the unit `x` and says against what; all others are for the record."""

    name: str
    """`topic.what`, the same in every run: by it a run is compared with the recorded one."""
    value: float
    unit: str = "x"
    against: str = ""
    goal: float | None = None
    better: Literal["lower", "higher"] = "lower"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None if there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.better == "lower" else self.value >= self.goal

    def line(self) -> str:
        """As a reader sees it."""
        shown = f"{self.value:12,.0f}" if abs(self.value) >= 1000 else f"{self.value:12.3g}"
        against = f" {self.against}" if self.against else ""
        limit = "at most" if self.better == "lower" else "at least"
        goal = "" if self.goal is None else f"   ({limit} {self.goal:g}{'' if self.met else ': MISSED'})"
        note = f"   {self.note}" if self.note else ""
        return f"{shown} {self.unit:<4}{against}   {self.name}{goal}{note}"


def figure(
    name: str,
    value: float,
    *,
    unit: str = "x",
    against: str = "",
    goal: float | None = None,
    better: Literal["lower", "higher"] = "lower",
    note: str = "",
) -> Figure:
    """Print it, and record it where `INVESTIGATOR_FIGURES` says."""
    found = Figure(name=name, value=value, unit=unit, against=against, goal=goal, better=better, note=note)
    print(found.line(), flush=True)
    if path := os.environ.get(VARIABLE):
        with Path(path).open("ab") as records:
            records.write(msgspec.json.encode(found) + b"\n")
    return found
