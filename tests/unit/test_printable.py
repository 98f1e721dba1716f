"""What others wrote cannot drive a terminal."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.printable import columns, fit, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Grüße, 世界", "Grüße, 世界"),
        ("\x1b[2J", "\\x1b[2J"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x9b31m", "\\x9b31m"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b", "a\\u2028b"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("\x7f\x00", "\\x7f\\x00"),
    ],
)
def test_what_a_terminal_would_obey_is_written_as_an_escape(text: Any, shown: Any) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=200))
def test_nothing_that_moves_or_reorders_is_left(text: Any) -> None:
    shown = printable(text)
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(shown) & set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
    shown.encode()


@given(st.text(max_size=50), st.integers(1, 30))
def test_a_cut_text_never_takes_more_columns_than_it_may(text: Any, width: Any) -> None:
    shown = printable(text)
    assert columns(fit(shown, width)) <= width


def test_wide_and_combining_characters_count_as_terminals_draw_them() -> None:
    assert columns("世界") == 4
    assert columns("e\u0301") == 1
    assert fit("世界世界", 5) == "世界…"
