"""Patterns that people wrote: they compile, or they are refused with a reason and a place."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadRegex
from investigator.protocol.regex import MAX_PATTERN_CHARACTERS, compile_regex, tolerant, tolerant_name

PATTERNS = st.text(st.characters(), max_size=40) | st.text("a1[](){}*+?|^$\\.,-:PpLdws\n\0é", max_size=20)


def refused(pattern: str) -> BadRegex | None:
    try:
        compile_regex(pattern)
    except BadRegex as error:
        return error
    return None


@given(PATTERNS)
def test_any_text_compiles_or_is_refused_with_a_place_in_it(pattern: str) -> None:
    refusal = refused(pattern)
    if refusal is None:
        compile_regex(pattern).search(b"aa11\n")
    else:
        assert 0 <= refusal.position <= len(pattern)
        assert "\n" not in str(refusal)


@pytest.mark.parametrize(
    ("pattern", "position"),
    [("ab(c", 2), ("[z-a]", 1), ("é[", 1), ("a**", 1), ("(?=x)", 0), (r"(a)\1", 3), ("x\ud800", 1), ("a{5000}", 1)],
)
def test_a_refusal_points_at_the_place(pattern: str, position: int) -> None:
    with pytest.raises(BadRegex) as caught:
        compile_regex(pattern)
    assert caught.value.position == position


def test_a_pattern_that_needs_more_than_its_memory_is_refused() -> None:
    with pytest.raises(BadRegex):
        compile_regex(r"(\pL{1000}){1000}")
    with pytest.raises(BadRegex):
        compile_regex(r"\pL{900}", memory_bytes=1 << 20)


def test_the_longest_pattern_is_taken_and_a_longer_one_refused_in_a_short_line() -> None:
    compile_regex("a" * MAX_PATTERN_CHARACTERS)
    for pattern in ("a" * (MAX_PATTERN_CHARACTERS + 1), "(" * MAX_PATTERN_CHARACTERS):
        with pytest.raises(BadRegex) as caught:
            compile_regex(pattern)
        assert len(str(caught.value)) < 1000


def test_case_and_line_feeds_are_as_asked() -> None:
    assert compile_regex("WEB", ignore_case=True).search(b"web")
    assert not compile_regex("WEB").search(b"web")
    assert not compile_regex("a.b").search(b"a\nb")
    assert compile_regex("a.b", dot_nl=True).search(b"a\nb")


def test_what_would_take_other_engines_for_ever_is_quick() -> None:
    assert not compile_regex(r"(a+)+$").search(b"a" * 100_000 + b"b")


@given(st.binary())
def test_tolerant_text_is_utf8_with_one_mark_for_each_offending_byte(text: bytes) -> None:
    tidy = tolerant(text).decode()
    assert tidy.count("\ufffd") == len(re.findall("[\udc80-\udcff]|\ufffd", text.decode("utf-8", "surrogateescape")))
    assert tolerant(tidy.encode()) == tidy.encode()


@given(st.binary().filter(lambda name: b"\0" not in name))
def test_any_file_name_can_be_searched(name: bytes) -> None:
    assert compile_regex("(?s)^.*$").search(tolerant_name(os.fsdecode(name)))
