"""Go's durations and times: tables of what Go prints, and round trips."""

import contextlib
import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.modules.durations import MAX_NS, duration_text, parse_duration, utc_text

S = 1_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0), ("0s", 0), ("300s", 300 * S), ("1h30m", 5400 * S), ("1.5h", 5400 * S), ("-1.5h", -5400 * S), ("+5s", 5 * S),
        (".5s", S // 2), ("1.s", S), ("1m1s1ms1us1ns", 61 * S + 1_001_001), ("5µs", 5000), ("5μs", 5000),
        ("0.000000001s", 1), ("2562047h47m16.854775807s", MAX_NS), ("1ns", 1),
    ],
)  # fmt: skip
def test_a_duration_is_read_as_go_reads_it(text: Any, ns: Any) -> None:
    assert parse_duration(text) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "+",
        "3",
        "1d",
        "1",
        "s",
        ".s",
        "1 s",
        "1s ",
        "s1",
        "1.5",
        "--1s",
        "1e3s",
        "2562048h",
        "9" * 200 + "s",
        "1S",
    ],
)
def test_what_is_no_duration_is_refused_with_the_text(text: Any) -> None:
    with pytest.raises(BadInput, match="invalid duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"), (1, "1ns"), (500, "500ns"), (462_748, "462.748µs"), (1_500_000, "1.5ms"), (999_999_999, "999.999999ms"),
        (S, "1s"), (61 * S, "1m1s"), (60 * S, "1m0s"), (3600 * S, "1h0m0s"), (3661 * S + S // 2, "1h1m1.5s"), (-S, "-1s"),
        (S + 1, "1.000000001s"),
    ],
)  # fmt: skip
def test_a_duration_is_printed_as_go_prints_it(ns: Any, text: Any) -> None:
    assert duration_text(ns) == text


@given(st.integers(-MAX_NS, MAX_NS))
def test_what_is_printed_is_read_back(ns: Any) -> None:
    assert parse_duration(duration_text(ns)) == ns


@given(st.text(max_size=20))
def test_any_text_is_a_duration_or_bad_input(text: Any) -> None:
    with contextlib.suppress(BadInput):
        assert abs(parse_duration(text)) <= MAX_NS


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (1_577_934_245 * S, "2020-01-02 03:04:05 +0000 UTC"),
        (1_577_934_245 * S + 120_000_000, "2020-01-02 03:04:05.12 +0000 UTC"),
        (-1, "1969-12-31 23:59:59.999999999 +0000 UTC"),
        (253_402_300_800 * S, "10000-01-01 00:00:00 +0000 UTC"),
        (-62_198_755_200 * S, "-001-01-01 00:00:00 +0000 UTC".replace("-001", "-0001")),
    ],
)
def test_a_time_is_printed_in_utc_with_what_fraction_it_has(ns: Any, text: Any) -> None:
    assert utc_text(ns) == text


@given(st.integers(-(2**63) * S, 2**63 * S))
def test_any_time_that_a_file_system_stores_is_printed(ns: Any) -> None:
    assert utc_text(ns).endswith(" +0000 UTC")


@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_times_agree_with_the_calendar(moment: Any) -> None:
    seconds = int((moment.replace(microsecond=0) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)).total_seconds())
    shown = utc_text(seconds * S + moment.microsecond * 1000)
    assert shown.startswith(moment.strftime(f"{moment.year:04}-%m-%d %H:%M:%S"))
