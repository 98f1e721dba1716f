"""The block engine against the definition: split into lines, judge each with RE2."""

import io
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from investigator.errors import BadRegex
from investigator.modules.file import content, reading
from investigator.modules.file.content import LinePattern, LineScan
from investigator.modules.file.names import NamePattern, joined_names
from investigator.modules.patterns.superset import compile_superset, is_short, superset, without_start
from investigator.protocol.regex import compile_regex, tolerant
from pattern_texts import FILLERS, PATTERNS, PIECES, TEXTS, lines_of


def compiled(pattern: str) -> LinePattern | None:
    try:
        return LinePattern(pattern)
    except BadRegex:
        return None


def ask(pattern: LinePattern, data: bytes, *, every: bool) -> LineScan:
    """What a file's reader does, on bytes."""
    scan = LineScan(pattern, every=every)
    reading.Blocks().read(Bytes(data), [scan], [])
    return scan


class Bytes:
    """A source that gives its bytes in pieces of any size."""

    def __init__(self, data: bytes, most: int = 1 << 30) -> None:
        self._file = io.BytesIO(data)
        self._most = most

    def read_into(self, room: memoryview) -> int:
        return self._file.readinto(room[: self._most])


@settings(max_examples=500, deadline=None)
@given(PATTERNS, TEXTS)
@example("x$", b"ax\r\n")
@example("^$", b"a\n\r\nb")
@example("^.{2}x", "\U0001f600éx".encode())
@example("(?:^$){2}", b"\r\n")
@example(r"$\b", b"a\r\n")
@example(r"a$|\bb", b"b\r\n")
@example("caf. x", b"caf\xe9 x")
@example("(?i)pass", "paſſ".encode())
@example("(?i)kernel", "\u212aernel".encode())
@example("a.b", b"a\nb")
@example("", b"\n")
@example("^", b"a\n")
@example("[^a]", b"\xff")
@example("�", b"\xff")
@example(r"\S\s", b"a\nb")
@example("x", b"x\r")
@example("x$", b"x\r")
def test_blocks_find_what_the_definition_finds(pattern: Any, data: Any) -> None:
    judge = compiled(pattern)
    if judge is None:
        return
    exact = compile_regex(pattern)
    verdicts = [exact.search(tolerant(line)) is not None for line in lines_of(data)]
    assert ask(judge, data, every=False).answer == any(verdicts)
    assert ask(judge, data, every=True).answer == (bool(verdicts) and all(verdicts))


@settings(max_examples=500, deadline=None)
@given(PATTERNS, st.lists(TEXTS, min_size=1, max_size=6))
def test_the_superset_never_misses_a_line_wherever_it_stands_in_a_block(pattern: Any, chunks: Any) -> None:
    judge, program = compiled(pattern), compile_superset(superset(pattern))
    if judge is None or program is None:
        return
    block = b"\n".join(chunks) + b"\n"
    for number, line in enumerate(lines_of(block)):
        if judge.matches(line):
            start = sum(len(piece) + 1 for piece in block.split(b"\n")[:number])
            stop = block.index(b"\n", start)
            assert program.search(block, start, len(block) - 1) is not None
            assert program.search(block, start, len(block) - 1).start() <= stop


@settings(max_examples=300, deadline=None)
@given(PATTERNS, TEXTS, st.integers(1, 5))
def test_it_does_not_matter_in_what_portions_a_file_comes(pattern: Any, data: Any, most: Any) -> None:
    judge = compiled(pattern)
    if judge is None:
        return
    scan = LineScan(judge, every=False)
    reading.Blocks().read(Bytes(data, most), [scan], [])
    assert scan.answer == ask(judge, data, every=False).answer


@pytest.fixture
def small_blocks(monkeypatch: Any) -> None:
    """Buffers of 96 bytes that overlap by 32, so that every text has long lines."""
    monkeypatch.setattr(reading, "BUFFER_BYTES", 96)
    monkeypatch.setattr(reading, "_KEEP_BYTES", 32 + 16)


SHORT_PATTERNS = [
    "ab",
    "^ab",
    "ab$",
    r"\bab\b",
    r"\Bab",
    "^$",
    "b.a",
    "(?i)ks",
    "[^a]b",
    "x\r?$",
    r"a\B",
    "é",
    "�b",
    "^.?a",
    "a.?$",
]


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(SHORT_PATTERNS), st.lists(PIECES | FILLERS | FILLERS, min_size=3, max_size=20), st.booleans())
def test_lines_longer_than_the_buffer_are_judged_as_one(pattern: Any, pieces: Any, every: Any) -> None:
    data = b"".join(pieces)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "BUFFER_BYTES", 96)
        patch.setattr(reading, "_KEEP_BYTES", 32 + 16)
        judge = LinePattern(pattern)
        verdicts = [judge.matches(line) for line in lines_of(data)]
        assert ask(judge, data, every=every).answer == (bool(verdicts) and all(verdicts) if every else any(verdicts))


@pytest.mark.parametrize(("pattern", "unsure"), [("a.*b", True), ("ab", False), ("^a.*b", True)])
def test_a_match_that_a_long_line_may_hide_is_admitted(small_blocks: Any, pattern: Any, unsure: Any) -> None:
    scan = ask(LinePattern(pattern), b"x" * 1000, every=False)
    assert (scan.answer, scan.unsure) == (False, unsure)


def test_a_found_match_is_certain_whatever_the_line(small_blocks: Any) -> None:
    scan = ask(LinePattern("a.*b"), b"x" * 1000 + b"a--b" + b"x" * 1000, every=False)
    assert (scan.answer, scan.unsure) == (True, False)


@pytest.mark.parametrize("size", [content.EXACT_LINE_BYTES - 8, content.EXACT_LINE_BYTES])
def test_a_line_of_a_mebibyte_is_judged_whole(size: Any) -> None:
    scan = ask(LinePattern("^a.*b$"), b"a" + b"x" * (size - 2) + b"b\r\n", every=False)
    assert scan.answer is True


def test_a_line_beyond_64_kib_does_not_end_the_file() -> None:
    data = b"x" * 70_000 + b"\nneedle\n"
    assert ask(LinePattern("^needle$"), data, every=False).answer is True


def test_what_the_rewriting_does_not_know_is_judged_line_by_line() -> None:
    assert superset(r"a\Cb") is None
    assert ask(LinePattern(r"a\Cb"), b"x\na-b\n", every=False).answer is True


@pytest.mark.parametrize(
    ("pattern", "short"),
    [("abc", True), ("a?b", True), ("[ab]c", True), ("a*", False), ("a{3}", False), ("a{", True), (r"\C", False)],
)
def test_the_length_of_matches_is_known_where_nothing_repeats(pattern: Any, short: Any) -> None:
    assert is_short(pattern, 64) is short


@settings(max_examples=500, deadline=None)
@given(PATTERNS, st.lists(TEXTS.map(lambda text: text.replace(b"\n", b"")).filter(bool), min_size=1, max_size=8))
@example("^a", [b"b", b"a"])
@example("k$", [b"k\r", b"k"])
@example("(?i)k", ["\u212a".encode(), b"K", b"x"])
@example("[^a]", [b"\xff", b"a", b"b", b"c"])
@example(r"\B", [b"a\xe9a", b"aa", b"a", b"b"])
def test_names_joined_are_matched_as_each_alone(pattern: Any, names: Any) -> None:
    try:
        judge = NamePattern(pattern)
    except BadRegex:
        return
    assert judge.among(names, joined_names(names)) == [place for place, name in enumerate(names) if judge.matches(name)]


@pytest.mark.parametrize(
    ("pattern", "exact"),
    [
        ("^passwd$", True),
        (r"\.h$", True),
        ("[a-f]+", True),
        ("é", True),
        ("a.b", False),
        ("(?i)x", False),
        ("[^a]", False),
        (r"\W", False),
        (r"\bx\b", True),
    ],
)
def test_what_needs_no_judge_is_known(pattern: Any, exact: Any) -> None:
    rewritten = superset(pattern, cr=False)
    assert rewritten is not None
    assert rewritten.exact is exact


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["^root:", "^root:.*x$", "^rootk?", "^root(?i)k"]),
    st.lists(st.sampled_from([b"root:", b"xroot:", b"\n", b"\r\n", b"x", b"k"]), max_size=80),
)
def test_an_anchored_literal_is_looked_for_without_its_anchor_and_found_with_it(pattern: Any, pieces: Any) -> None:
    data = b"".join(pieces)
    judge = LinePattern(pattern)
    assert ask(judge, data, every=False).answer == any(judge.matches(line) for line in lines_of(data))


@pytest.mark.parametrize(
    ("pattern", "loose"),
    [("^root:", True), ("^roo", False), ("^root?", False), ("^root|x", False), ("root", False), ("^r[a-z]ot", False)],
)
def test_only_a_literal_behind_the_anchor_is_looked_for_alone(pattern: Any, loose: Any) -> None:
    rewritten = superset(pattern)
    assert rewritten is not None
    assert (without_start(rewritten) is not None) is loose
