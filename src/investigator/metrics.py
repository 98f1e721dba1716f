"""Metrics as text, in Prometheus' exposition format (version 0.0.4): families with HELP and TYPE, samples with labels.

Names and units follow Prometheus' conventions: base units in the name (`_seconds`, `_bytes`), counters end in `_total`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Final, Literal

from investigator.printable import printable

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MAX_LABEL_CHARACTERS: Final = 200
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
Kind = Literal["counter", "gauge"]


@dataclass(slots=True)
class _Family:
    kind: Kind
    meaning: str
    samples: dict[tuple[tuple[str, str], ...], float] = field(default_factory=dict)


class Page:
    """Samples in the order in which they are added, each family together; `str` is the text."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def counter(self, name: str, meaning: str, value: float, /, **labels: str) -> None:
        """Something that only grows while a process lives; the name ends in `_total`."""
        if not name.endswith("_total"):
            raise ValueError(f"{name}: a counter's name ends in _total")
        self._add(name, "counter", meaning, value, labels)

    def gauge(self, name: str, meaning: str, value: float, /, **labels: str) -> None:
        """Something that goes up and down."""
        self._add(name, "gauge", meaning, value, labels)

    def _add(self, name: str, kind: Kind, meaning: str, value: float, labels: dict[str, str]) -> None:
        if not _NAME.fullmatch(name) or not all(map(_NAME.fullmatch, labels)):
            raise ValueError(f"{name}: a name that Prometheus does not take")
        family = self._families.setdefault(name, _Family(kind, meaning))
        key = tuple((label, printable(text)[:MAX_LABEL_CHARACTERS]) for label, text in labels.items())
        family.samples[key] = family.samples.get(key, 0) + value if kind == "counter" else value

    def __str__(self) -> str:
        """The text; a family that no sample was added to is not there."""
        lines = []
        for name, family in self._families.items():
            lines.append(f"# HELP {name} {_escaped(family.meaning)}")
            lines.append(f"# TYPE {name} {family.kind}")
            for key, value in family.samples.items():
                labels = ",".join(f'{label}="{_quoted(text)}"' for label, text in key)
                lines.append(f"{name}{{{labels}}} {_number(value)}" if labels else f"{name} {_number(value)}")
        return "\n".join(lines) + "\n" if lines else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', r"\"")


def _number(value: float) -> str:
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return str(int(value))
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(value)
