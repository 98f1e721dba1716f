"""Moments and intervals of a target's condition: PostgreSQL's input syntax and its arithmetic, at UTC.

A timestamptz is an aware `datetime` at UTC (so years 1 to 9999), an interval a `Span`. Spellings that PostgreSQL takes but
that are not read here (dates without dashes, zone names, `today`, fractions of months) are refused, never read differently.
"""

from __future__ import annotations

import calendar
import re
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Final, NamedTuple

INT4: Final = range(-(1 << 31), 1 << 31)
INT8: Final = range(-(1 << 63), 1 << 63)
DAY_US: Final = 86_400_000_000
SPACE: Final = " \t\n\r\f\v"
"""What PostgreSQL's lexer and input functions take for white space."""


class BadValue(ValueError):  # as the BadX of the tree of errors, of which this is the inner part
    """A value that its type does not take; the text is PostgreSQL's, or says what is not supported."""


class Span(NamedTuple):
    """An interval, as PostgreSQL keeps it: three parts that are added to a moment one after the other."""

    months: int
    days: int
    microseconds: int

    def length(self) -> int:
        """What intervals are compared by, in microseconds: a month is 30 days, a day 24 hours."""
        return (self.months * 30 + self.days) * DAY_US + self.microseconds


def checked_span(months: int, days: int, microseconds: int) -> Span:
    """A span within PostgreSQL's ranges.

    Raises:
        BadValue: it is outside.
    """
    if months not in INT4 or days not in INT4 or microseconds not in INT8:
        raise BadValue("interval out of range")
    return Span(months, days, microseconds)


_TIMESTAMPTZ: Final = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:(?:[Tt]|[ ]+)([0-9]{1,2}):([0-9]{2})(?::([0-9]{2})(\.[0-9]{1,20})?)?"
    r"[ ]*(?:Z|z|UTC|utc|GMT|gmt|([+-])([0-9]{1,2})(?::?([0-9]{2}))?)?)?"
)


def read_timestamptz(text: str) -> datetime:
    """`2026-11-24`, `2026-11-24 03:00[:00[.123456]]`, each with `Z`, `UTC` or `+01[:00]`; without a zone it is UTC.

    Raises:
        BadValue: it is no such text, or no such day.
    """
    found = _TIMESTAMPTZ.fullmatch(text.strip(SPACE))
    if not found:
        raise BadValue(
            f"invalid input syntax for type timestamp with time zone: {text[:80]!r} (write it as 2026-11-24 03:00:00+00)"
        )
    year, month, day, hour, minute, second = (int(part or 0) for part in found.group(1, 2, 3, 4, 5, 6))
    offset_hours, offset_minutes = int(found[9] or 0), int(found[10] or 0)
    if offset_hours > 15 or offset_minutes > 59:
        raise BadValue(f"time zone displacement out of range: {text[:80]!r}")
    offset = timedelta(hours=offset_hours, minutes=offset_minutes) * (-1 if found[8] == "-" else 1)
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=timezone(offset))
        return (moment + timedelta(microseconds=round(float(found[7] or "0") * 1e6))).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadValue(f"date/time field value out of range: {text[:80]!r}") from None


_SPELLINGS: Final = (
    ("microsecond", "us", 1, "us usec usecs microsecond microseconds"),
    ("millisecond", "us", 1_000, "ms msec msecs millisecond milliseconds"),
    ("second", "us", 1_000_000, "s sec secs second seconds"),
    ("minute", "us", 60_000_000, "m min mins minute minutes"),
    ("hour", "us", 3_600_000_000, "h hr hrs hour hours"),
    ("day", "day", 1, "d day days"),
    ("week", "day", 7, "w week weeks"),
    ("month", "month", 1, "mon mons month months"),
    ("year", "month", 12, "y yr yrs year years"),
    ("decade", "month", 120, "decade decades"),
    ("century", "month", 1_200, "century centuries"),
)
_UNITS: Final = {
    spelling: (unit, part, factor) for unit, part, factor, spellings in _SPELLINGS for spelling in spellings.split()
}
_CLOCK: Final = re.compile(r"([+-]?)([0-9]{1,9}):([0-9]{2})(?::([0-9]{2}(?:\.[0-9]{1,6})?))?(?= |$)")
_AMOUNT: Final = re.compile(r"([+-]?[0-9]{1,18}(?:\.[0-9]{1,9})?) ?([dhmsDHMS](?=[0-9])|[A-Za-z]+(?= |$))")
_NUMBER: Final = re.compile(r"([+-]?[0-9]{1,18}(?:\.[0-9]{1,6})?)(?= |$)")
_ISO: Final = re.compile(
    r"P(?=[0-9+-]|T[0-9+-])(?:([+-]?[0-9]{1,9})Y)?(?:([+-]?[0-9]{1,9})M)?(?:([+-]?[0-9]{1,9})W)?(?:([+-]?[0-9]{1,9})D)?"
    r"(?:T(?=[0-9+-])(?:([+-]?[0-9]{1,9})H)?(?:([+-]?[0-9]{1,9})M)?(?:([+-]?[0-9]{1,9}(?:\.[0-9]{1,6})?)S)?)?"
)


def read_interval(text: str) -> Span:
    """`30 days`, `1 day 02:03:04`, `1.5 hours ago`, `1 week -3 hours`, `90` (seconds), `P1DT2H`.

    Raises:
        BadValue: it is no such text, or needs a fraction of a month or of a microsecond.
    """
    bare = re.sub(rf"[{SPACE}]+", " ", text).strip(" ")
    iso = _ISO.fullmatch(text)
    if iso:
        years, months, weeks, days, hours, minutes = (int(part or 0) for part in iso.groups()[:6])
        seconds = hours * 3600 + minutes * 60 + Fraction(iso[7] or 0)
        return checked_span(years * 12 + months, weeks * 7 + days, int(seconds * 1_000_000))
    body = re.sub(r"(?i)(?<=[a-z0-9]) ago$", "", bare)
    sign = 1 if body == bare else -1
    totals = _sum_fields(body.removeprefix("@").lstrip(" "), text, bare_number=sign == 1)
    return checked_span(*(sign * int(totals[part]) for part in ("month", "day", "us")))


def _sum_fields(body: str, text: str, *, bare_number: bool) -> dict[str, Fraction]:
    """The fields of an interval, each kind of them once, as months, days and microseconds."""
    totals = {"month": Fraction(0), "day": Fraction(0), "us": Fraction(0), "clock": Fraction(0)}
    kinds: Counter[str] = Counter()
    place = 0
    while place < len(body):
        clock, amount, number = (shape.match(body, place) for shape in (_CLOCK, _AMOUNT, _NUMBER))
        if clock:
            totals["clock"] += _clock_us(clock, text)
            kinds.update(("clock", "hour", "minute", "second"))
        elif amount and amount[2].lower() in _UNITS:
            _add_amount(totals, amount, text)
            kinds[_UNITS[amount[2].lower()][0]] += 1
        elif number and bare_number and number[0] == body:
            totals["us"] += Fraction(number[1]) * 1_000_000
        elif number and _CLOCK.match(body, number.end() + 1) and "." not in number[1]:
            totals["day"] += int(number[1])
            kinds["day"] += 1
        else:
            raise _bad(text)
        place = (clock or amount or number).end()  # type: ignore[union-attr]  # one of them matched, see above
        place += body[place : place + 1] == " "
    beside_clock = totals["us"] or kinds["microsecond"] or kinds["millisecond"]
    if not body or max(kinds.values(), default=1) > 1 or (kinds["clock"] and beside_clock):
        raise _bad(text)
    totals["us"] += totals["clock"]
    if totals["us"].denominator != 1:
        raise BadValue(f"interval with a fraction of a microsecond is not supported: {text[:80]!r}")
    return totals


def _bad(text: str) -> BadValue:
    return BadValue(f"invalid input syntax for type interval: {text[:80]!r}")


def _clock_us(clock: re.Match[str], text: str) -> Fraction:
    seconds = Fraction(clock[4] or 0)
    if int(clock[3]) > 59 or seconds >= 60:
        raise BadValue(f"interval field value out of range: {text[:80]!r}")
    return (int(clock[2]) * 3600 + int(clock[3]) * 60 + seconds) * (-1_000_000 if clock[1] == "-" else 1_000_000)


def _add_amount(totals: dict[str, Fraction], amount: re.Match[str], text: str) -> None:
    _, part, factor = _UNITS[amount[2].lower()]
    value = Fraction(amount[1])
    if part == "us":
        totals["us"] += value * factor
        return
    if part == "month" and value.denominator != 1:
        raise BadValue(f"interval with a fraction of months or years is not supported: {text[:80]!r}")
    entire = int(value * factor)
    totals[part] += entire
    totals["us"] += (value * factor - entire) * DAY_US


def timestamptz_text(moment: datetime) -> str:
    """`2026-11-24 03:00:00.5+00`, as PostgreSQL prints it where TimeZone is UTC."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return (text.rstrip("0") if "." in text else text) + "+00"


def add_span(moment: datetime, span: Span, sign: int = 1) -> datetime:
    """PostgreSQL's order at UTC: months (the day clipped to the month's last), then days, then the rest.

    Raises:
        BadValue: the sum lies outside the years 1 to 9999.
    """
    try:
        if span.months:
            count = moment.year * 12 + moment.month - 1 + sign * span.months
            year, month = count // 12, count % 12 + 1
            if not 1 <= year <= 9999:
                raise BadValue("timestamp out of range")
            day = min(moment.day, calendar.monthrange(year, month)[1])
            moment = moment.replace(year=year, month=month, day=day)
        return moment + sign * timedelta(days=span.days, microseconds=span.microseconds)
    except OverflowError:
        raise BadValue("timestamp out of range") from None


def subtract_moments(later: datetime, earlier: datetime) -> Span:
    """The difference of two moments: days and the rest, never months."""
    total = (later - earlier) // timedelta(microseconds=1)
    days = abs(total) // DAY_US * (1 if total >= 0 else -1)
    return Span(0, days, total - days * DAY_US)
