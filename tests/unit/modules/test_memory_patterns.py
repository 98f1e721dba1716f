"""What is searched in windows, against RE2 on the whole."""

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from investigator.modules.memory.patterns import EDGE_BYTES, BytesPattern, ContentPattern, Window
from investigator.protocol.regex import tolerant

OVERLAP = 48
BLOCK = 40
PIECES = st.sampled_from(
    [b"a", b"ab", b"kernel", "\u212aernel".encode(), b"root:", b"\n", b"\r\n", b"\0", b" ", b"pa\xc3\x9f", b"\xc3\xa9", b"\xe2\x82\xac",
     b"\xf0\x9f\x98\x80", b"\xff", b"\xe2\x82", b"\x80", b"\xf0\x9f", b"\xef\xbf\xbd", b"zz"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=60).map(b"".join)
PATTERNS = [
    "ab", "(?i)KERNEL", "^root:", "root:$", "a$", r"\Aa", r"a\z", r"\bab\b", r"\Ba", ".", "a.b", "(?s)a.b", "[^a]b", "\\x{e9}",
    "\\x{FFFD}", "a\\x{FFFD}", "\\x{20ac}.?z", "[^\\x00-\\x7f]{2}", "z{2}$", r"\s\S", "", "^$", "(?-m)^a", "pa\xdf", r"\w+:", "ab|zz|^r", "(a|b){3}",
    "\U0001f600", "a?\n", "[[:^ascii:]]a",
]  # fmt: skip


def windows(data, opens=True):
    """The data as a reader cuts it."""
    start = 0
    kept = b""
    while True:
        fresh = data[start : start + BLOCK]
        start += len(fresh)
        buffer = bytearray(kept + fresh)
        ended = start >= len(data)
        # what lies behind in a reader's buffer must not matter
        yield (
            Window(buffer + b"kernel ab root:", len(buffer), len(kept), opens=opens, closes=ended),
            start - len(buffer),
        )
        if ended:
            return
        if len(buffer) > OVERLAP:
            opens = False
        kept = bytes(buffer[-OVERLAP:])


def found_in(pattern, data):
    return [base + place for window, base in windows(data) if (place := pattern.find(window)) >= 0]


@settings(max_examples=600, deadline=None)
@given(TEXTS, st.sampled_from(PATTERNS))
@example(b"\x80", ".")
@example(b"a" * 39 + b"\xc3\xa9b", "\\x{e9}")
@example(b"x" * 50 + b"\xe2\x82\xaczz" + b"x" * 50, "\\x{20ac}.?z")
def test_windows_find_what_re2_finds_on_the_whole(data, text):
    pattern = ContentPattern(text, "contents", memory_bytes=1 << 20)
    whole = re2.compile(f"(?m){text}").search(tolerant(data))
    places = found_in(pattern, data)
    assert bool(places) == (whole is not None), places
    for place in places:
        assert 0 <= place <= len(data)
    if places and data.isascii():
        assert places[0] == whole.start()


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.binary(min_size=1, max_size=OVERLAP))
def test_windows_find_bytes_wherever_they_lie(data, other):
    for needle in (other, data[len(data) // 3 :][:OVERLAP]):
        if needle:
            places = found_in(BytesPattern(needle), data)
            assert (places[0] if places else -1) == data.find(needle)


def test_a_place_is_one_in_the_raw_bytes():
    data = b"\xff\xfe\x80" + "é€".encode() + b"\xff needle"
    pattern = ContentPattern("n.edle", "contents", memory_bytes=1 << 20)
    window = Window(bytearray(data), len(data), 0, opens=True, closes=True)
    assert pattern.find(window) == data.index(b"needle")


def test_many_false_candidates_are_not_judged_one_by_one():
    """`ab` stands everywhere and never at a line's end, until far behind."""
    data = bytearray(b"ab " * 300_000 + b"ab\n")
    window = Window(data, len(data), 0, opens=True, closes=True)
    assert ContentPattern("ab$", "contents", memory_bytes=1 << 20).find(window) == len(data) - 3
    assert ContentPattern(r"ab\z", "contents", memory_bytes=1 << 20).find(window) == -1


def test_what_lies_at_an_edge_is_left_to_the_next_window():
    data = bytearray(b"needle" + b"." * 100 + b"needle")
    pattern = ContentPattern("needle", "contents", memory_bytes=1 << 20)
    assert pattern.find(Window(data, len(data), 0, opens=False, closes=False)) == -1
    assert pattern.find(Window(data, len(data), 0, opens=False, closes=True)) == 106
    assert pattern.find(Window(data, len(data) - EDGE_BYTES, 0, opens=True, closes=False)) == 0


@pytest.mark.parametrize("shift", range(4))
@pytest.mark.parametrize("character", ["\xe9", "\u20ac", "\U0001f600"])
def test_a_character_that_an_edge_cuts_is_not_taken_for_broken_bytes(character, shift):
    data = b"x" * shift + character.encode() * 100
    for text in ("\\x{FFFD}", "[^x" + character + "]", "^" + character * 2 + "\\x{FFFD}"):
        assert found_in(ContentPattern(text, "contents", memory_bytes=1 << 20), data) == []
    places = found_in(ContentPattern(character + "{3}", "contents", memory_bytes=1 << 20), data)
    assert {(place - shift) % len(character.encode()) for place in places} == {0}
