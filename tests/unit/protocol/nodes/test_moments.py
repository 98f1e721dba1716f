"""PostgreSQL's spellings of moments and intervals; what is expected was seen in PostgreSQL 15."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol.nodes.moments import (
    BadValue,
    Span,
    add_span,
    read_interval,
    read_timestamptz,
    subtract_moments,
    timestamptz_text,
)

HOUR = 3_600_000_000


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30 days", (0, 30, 0)),
        (" 1  day\t2 hours ", (0, 1, 2 * HOUR)),
        ("1 day 02:03:04.5", (0, 1, 2 * HOUR + 184_500_000)),
        ("1 year 2 mons 3 days -04:00", (14, 3, -4 * HOUR)),
        ("-1 day 2 hours", (0, -1, 2 * HOUR)),
        ("1 day -2 hours ago", (0, -1, 2 * HOUR)),
        ("@ 1 week ago", (0, -7, 0)),
        ("1.5 hours", (0, 0, HOUR * 3 // 2)),
        ("1.5 days", (0, 1, 12 * HOUR)),
        ("-1.5 days", (0, -1, -12 * HOUR)),
        ("1.5 weeks", (0, 10, 12 * HOUR)),
        ("0.7 weeks", (0, 4, 77_760_000_000)),
        ("1h30m", (0, 0, HOUR * 3 // 2)),
        ("90", (0, 0, 90_000_000)),
        ("1 02:00", (0, 1, 2 * HOUR)),
        ("1 century 1 decade", (1320, 0, 0)),
        ("1 ms 1 us", (0, 0, 1001)),
        ("P1Y2M3W4DT5H6M7.5S", (14, 25, 5 * HOUR + 367_500_000)),
        ("PT36H", (0, 0, 36 * HOUR)),
        ("P-1D", (0, -1, 0)),
    ],
)
def test_an_interval_is_read_as_postgresql_reads_it(text: str, span: tuple[int, int, int]) -> None:
    assert read_interval(text) == Span(*span)


@pytest.mark.parametrize(
    "text",
    ["", "ago", "day", "1 foo", "1 day 1 day", "1 hour 01:00", "25:61", "1day2hours", "5 ago", "P", "P1D ", "pt1h", "1 day 5 1", "1e3 sec", "99999999999 days", "01:02 3us", "1.5 months", "0.0000005 sec", "1 2", "1-2", "9" * 40, "1 day\xa0", "٣ days"],
)  # fmt: skip
def test_an_interval_that_postgresql_or_we_do_not_take_is_refused(text: str) -> None:
    with pytest.raises(BadValue):
        read_interval(text)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("2026-01-02", "2026-01-02 00:00:00+00"),
        ("2026-1-2 03:04", "2026-01-02 03:04:00+00"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02 03:04:05.123457+00"),
        ("2026-01-02 03:04:05-0730", "2026-01-02 10:34:05+00"),
        ("2026-01-02 03:04:05 +01:30", "2026-01-02 01:34:05+00"),
        ("2026-01-02 03:04:05.9999999", "2026-01-02 03:04:06+00"),
        ("0001-01-01", "0001-01-01 00:00:00+00"),
    ],
)
def test_a_moment_is_read_and_printed_as_postgresql_does_at_utc(text: str, printed: str) -> None:
    assert timestamptz_text(read_timestamptz(text)) == printed


@pytest.mark.parametrize(
    "text", ["", "now", "2026-02-30", "2026-01-02 25:00", "20260102", "2026-01-02 03:04+16", "9999-12-31 23:00-02"]
)
def test_no_moment_is_guessed(text: str) -> None:
    with pytest.raises(BadValue):
        read_timestamptz(text)


@pytest.mark.parametrize(
    ("moment", "span", "sign", "expected"),
    [
        ("2026-01-31", (1, 0, 0), 1, "2026-02-28"),
        ("2024-01-31", (1, 0, 0), 1, "2024-02-29"),
        ("2026-03-31", (1, 0, 0), -1, "2026-02-28"),
        ("2024-02-29", (12, 0, 0), 1, "2025-02-28"),
        ("2026-01-31", (1, 1, -HOUR), 1, "2026-02-28 23:00"),
        ("2026-01-01", (13, -1, 0), -1, "2024-12-02"),
    ],
)
def test_months_come_first_then_days_then_the_rest(
    moment: str, span: tuple[int, int, int], sign: int, expected: str
) -> None:
    assert add_span(read_timestamptz(moment), Span(*span), sign) == read_timestamptz(expected)


def test_a_sum_beyond_the_calendar_is_an_error() -> None:
    for span in (Span(12 * 9000, 0, 0), Span(0, 1 << 30, 0), Span(0, -(1 << 31), -(1 << 63))):
        with pytest.raises(BadValue):
            add_span(datetime(2026, 1, 1, tzinfo=UTC), span)


@given(*[st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(3000, 1, 1), timezones=st.just(UTC))] * 2)  # noqa: DTZ001  # hypothesis adds the zone
def test_a_difference_added_to_the_earlier_moment_is_the_later(one: datetime, other: datetime) -> None:
    assert add_span(other, subtract_moments(one, other)) == one


@given(st.text("0123456789 .:-+dayhourmsPTYMDH@ago", max_size=20))
def test_any_text_is_an_interval_or_a_bad_value(text: str) -> None:
    try:
        span = read_interval(text)
    except BadValue:
        return
    assert all(isinstance(part, int) for part in span)
