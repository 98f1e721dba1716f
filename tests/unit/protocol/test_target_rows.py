"""Rows that people write by hand, or that agents send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.protocol.target import judge, parse_condition, row_from_json


def test_a_row_keeps_its_columns_and_reads_its_times() -> None:
    row = row_from_json(
        {
            "id": "a1", "name": None, "pid": 5.0, "tags": {"k": "v"}, "environment": {"os": "linux"}, "addresses": ["::1/128"],
            "starttime": "2026-01-01T02:00:00.5+02:00", "loadername": "MIG's own column",
        }
    )  # fmt: skip
    assert row == {
        "id": "a1", "pid": 5, "tags": {"k": "v"}, "environment": {"os": "linux"}, "addresses": ["::1/128"],
        "starttime": datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC),
    }  # fmt: skip
    assert type(row["pid"]) is int


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "an object"),
        ({"oss": "linux"}, "did you mean 'os'"),
        ({"os": 5}, "os: a text"),
        ({"pid": "5"}, "pid: a whole number"),
        ({"pid": True}, "pid: a whole number"),
        ({"pid": 1 << 40}, "pid: a whole number"),
        ({"starttime": 5}, "starttime: an RFC 3339 time"),
        ({"starttime": "yesterday"}, "starttime: an RFC 3339 time"),
        ({"tags": ["a"]}, "tags: an object"),
        ({"tags": {"a": 5}}, "tags: an object of texts"),
        ({"environment": "linux"}, "environment: an object"),
        ({"addresses": "::1"}, "addresses: a list of texts"),
        ({"addresses": [5]}, "addresses: a list of texts"),
        ({"os": "a\0"}, "U+0000"),
        ({"environment": {"a": [{"\ud800": 1}]}}, "surrogate"),
        ({"environment": {"a": [0] * 20_000}}, "10,000 values"),
    ],
)
def test_a_bad_row_is_one_line_that_names_the_column(value: Any, said: str) -> None:
    with pytest.raises(BadInput) as error:
        row_from_json(value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@given(
    st.dictionaries(
        st.sampled_from(["os", "pid", "tags", "environment", "addresses", "starttime", "name"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
    )
)
def test_what_passes_can_be_judged_and_the_rest_is_bad_input(value: dict[str, Any]) -> None:
    condition = parse_condition(
        [
            "and",
            *(["is null", ["column", name]] for name in ("os", "pid", "tags", "environment", "addresses", "starttime")),
            ["like", ["column", "name"], ["text", "%"]],
        ]
    )
    try:
        row = row_from_json(value)
    except BadInput:
        return
    judge(condition, row, datetime(2026, 11, 24, tzinfo=UTC))
