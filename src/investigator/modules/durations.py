"""Durations and times as Go writes them, which is how MIG's flags, statistics and elements have them.

Go's `time.ParseDuration`, `Duration.String` and `Time.String` in UTC; everything is nanoseconds, as whole numbers.
"""

from __future__ import annotations

import re
import time
from typing import Final

from investigator.errors import BadInput

NS_PER_S: Final = 1_000_000_000
MAX_NS: Final = 2**63 - 1
"""Go's durations are 64-bit: about 292 years."""

_UNITS_NS: Final = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,  # the micro sign
    "\u03bcs": 1_000,  # the Greek letter, which Go takes too
    "ms": 1_000_000,
    "s": NS_PER_S,
    "m": 60 * NS_PER_S,
    "h": 3600 * NS_PER_S,
}
_PART: Final = re.compile(r"([0-9]*)(?:\.([0-9]*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")
_MAX_CHARACTERS: Final = 128
_SECONDS_PER_DAY: Final = 86_400


def parse_duration(text: str) -> int:
    """Nanoseconds of `300s`, `1h30m`, `-1.5h`; there are no days, and no bare number but 0.

    Raises:
        BadInput: it is no duration, or more than 292 years.
    """
    body = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if body == "0":
        return 0
    total = position = 0
    while position < len(body) <= _MAX_CHARACTERS:
        part = _PART.match(body, position)
        if part is None or not (part[1] or part[2]):
            break
        unit_ns, fraction = _UNITS_NS[part[3]], part[2] or ""
        total += int(part[1] or 0) * unit_ns + int(fraction or 0) * unit_ns // 10 ** len(fraction)
        position = part.end()
    if not body or position < len(body) or total > MAX_NS:
        shown = text if len(text) <= 40 else text[:40] + "…"
        raise BadInput(f"invalid duration {shown!r}", hint="For example 300s, 1h30m, 1.5h; units: ns us µs ms s m h.")
    return -total if text.startswith("-") else total


def duration_text(ns: int) -> str:
    """The shortest exact text: `462.748µs`, `1.5ms`, `1m1s`, `1h0m1.5s`; `0s` for zero."""
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns == 0:
        return "0s"
    if ns < NS_PER_S:
        unit, unit_ns = next(
            (unit, size) for unit, size in (("ms", 10**6), ("\u00b5s", 10**3), ("ns", 1)) if ns >= size
        )
        return f"{sign}{_decimal(ns, unit_ns)}{unit}"
    minutes, rest = divmod(ns, 60 * NS_PER_S)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{sign}{text}{_decimal(rest, NS_PER_S)}s"


def utc_text(ns: int) -> str:
    """The time `ns` after 1970 as `2020-01-02 03:04:05.12 +0000 UTC`; any year, before Christ too."""
    seconds, fraction = divmod(ns, NS_PER_S)
    days, second = divmod(seconds, _SECONDS_PER_DAY)
    shown = f".{fraction:09}".rstrip("0") if fraction else ""
    year, month, day = _civil(days)
    sign, year = ("-", -year) if year < 0 else ("", year)
    hour, minute = divmod(second // 60, 60)
    return f"{sign}{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second % 60:02}{shown} +0000 UTC"


def _decimal(value: int, unit: int) -> str:
    whole, part = divmod(value, unit)
    return f"{whole}.{part:0{len(str(unit)) - 1}}".rstrip("0") if part else str(whole)


def _civil(days: int) -> tuple[int, int, int]:
    """Year, month, day of a day counted from 1970-01-01, in the proleptic Gregorian calendar."""
    try:
        return time.gmtime(days * _SECONDS_PER_DAY)[:3]
    except (OverflowError, ValueError, OSError):  # the platform's range; file systems store more
        era, day_of_era = divmod(days, 146_097)
        year, month, day = time.gmtime(day_of_era * _SECONDS_PER_DAY)[:3]
        return year + 400 * era, month, day
