"""RE2, and Hyperscan before it: the same places, for lines and for text without lines."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from investigator.errors import BadRegex
from investigator.modules.file.content import LinePattern
from investigator.modules.patterns import prefilter as prefilters
from investigator.modules.patterns.hyper import library
from investigator.modules.patterns.prefilter import TwoStagePrefilter, line_prefilter, raw_prefilter
from investigator.protocol.regex import compile_regex, tolerant
from pattern_texts import FILLERS, PATTERNS, TEXTS


def both(found: Any) -> list[Any]:
    """The prefilter before and after Hyperscan was brought in."""
    assert isinstance(found, TwoStagePrefilter)
    return [found.candidate, lambda *part: (found.bring_in(), found.candidate(*part))[1]]


@pytest.fixture(autouse=True)
def any_block(monkeypatch: Any) -> None:
    """Hyperscan is asked of the smallest blocks too."""
    monkeypatch.setattr(prefilters, "MIN_BLOCK_BYTES", 0)


@settings(max_examples=500, deadline=None)
@given(PATTERNS, st.lists(TEXTS | FILLERS, min_size=1, max_size=6))
@example(r"\Bab", [b"xab", b"ab"])
@example("^$", [b"a", b""])
@example("^.{2}x", ["\U0001f600éx".encode()])
def test_lines_are_pointed_at_before_and_after_hyperscan_came(pattern: Any, lines: Any) -> None:
    try:
        judge, chosen = LinePattern(pattern), line_prefilter(pattern)
    except BadRegex:
        return
    if chosen is None:
        return
    block = b"\n".join(lines) + b"\n"
    for candidate in both(chosen):
        start = 0
        for line in block.split(b"\n")[:-1]:
            end = start + len(line)
            if judge.matches(line.removesuffix(b"\r")):
                assert start <= candidate(block, start, end) <= end
                assert 0 <= candidate(block, 0, len(block) - 1) <= end
            start = end + 1


@settings(max_examples=500, deadline=None)
@given(PATTERNS, TEXTS, TEXTS, TEXTS)
@example("^a$", b"x", b"a", b"x")
@example(r"\B", b"", "aé".encode(), b"")
@example(r"\Ba", b"", b"a", b"")
@example("a.{2}x", b"", "a\U0001f600éx".encode(), b"")
@example("(?s)a.b", b"", b"a\nb", b"")
@example("[^x]", b"", b"\n", b"")
@example("�", b"", b"\xff", b"")
@example("(?i)k", b"", "\u212a".encode(), b"")
def test_text_without_lines_is_pointed_at_wherever_it_begins_and_ends(
    pattern: Any, before: Any, text: Any, after: Any
) -> None:
    try:
        found = compile_regex(pattern).search(tolerant(text))
    except BadRegex:
        return
    chosen = raw_prefilter(pattern)
    if chosen is None or found is None:
        return
    block = before + text + after
    for candidate in both(chosen):
        place = candidate(block, len(before), len(before) + len(text))
        assert len(before) <= place <= len(before) + len(text)
        # the bytes that RE2 saw before its match are at least those before the place
        assert len(tolerant(text)[: found.start()].decode("utf-8", "replace").encode("utf-16-le")) // 2 >= _characters(
            text[: place - len(before)]
        )
        assert candidate(block, 0, len(block)) >= 0


def _characters(text: bytes) -> int:
    """At least so many UTF-16 units the text has, if its first and last character may be cut."""
    return len(text.decode("utf-8", "ignore"))


def test_a_small_search_stays_with_re2(monkeypatch: Any) -> None:
    monkeypatch.setattr(prefilters, "price_s", lambda program_size: 60.0)
    chosen = line_prefilter("needle")
    assert isinstance(chosen, TwoStagePrefilter)
    block = b"hay\n" * 100
    for _ in range(5):
        assert chosen.candidate(block, 0, len(block) - 1) == -1
    assert not chosen.has_hyperscan


@pytest.mark.skipif(library() is None, reason="no Hyperscan here")
def test_a_large_search_brings_hyperscan_in_and_finds_the_same(monkeypatch: Any) -> None:
    monkeypatch.setattr(prefilters, "price_s", lambda program_size: 0.0)
    chosen = line_prefilter("^needle")
    assert isinstance(chosen, TwoStagePrefilter)
    block = b"hay needle\n" * 1000 + b"needle\n"
    places = [chosen.candidate(block, 0, len(block) - 1) for _ in range(3)]
    assert places == [11_000] * 3
    assert chosen.has_hyperscan


def test_where_hyperscan_does_not_come_re2_goes_on(monkeypatch: Any) -> None:
    monkeypatch.setattr(prefilters, "compile_filter", lambda rewritten, program_size: None)
    chosen = line_prefilter("needle")
    assert isinstance(chosen, TwoStagePrefilter)
    assert not chosen.bring_in()
    assert chosen.candidate(b"a needle\n", 0, 8) == 2


def test_what_cannot_be_rewritten_has_no_prefilter() -> None:
    assert line_prefilter(r"a\Cb") is None
    assert raw_prefilter(r"a\Cb") is None
