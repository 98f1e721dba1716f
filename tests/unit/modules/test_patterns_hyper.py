"""Hyperscan as a filter: it may say yes too often, and never no where RE2 finds something."""

import random
import sys
import threading
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from investigator.errors import BadRegex
from investigator.modules.file.content import LinePattern
from investigator.modules.patterns import hyper
from investigator.modules.patterns.hyper import BlockFilter, compile_filter, is_available
from investigator.modules.patterns.superset import compile_superset, superset
from pattern_texts import FILLERS, PATTERNS, TEXTS

pytestmark = pytest.mark.skipif(not is_available(), reason="no Hyperscan here")


def filter_for(pattern: str) -> BlockFilter | None:
    rewritten = superset(pattern)
    program = compile_superset(rewritten)
    return None if rewritten is None or program is None else compile_filter(rewritten, program.programsize)


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
            assert chosen.may_match(memoryview(block))
            assert chosen.may_match(memoryview(block)[start:end])
            assert chosen.may_match(memoryview(block)[max(start - 1, 0) : end])
        start = end


@pytest.mark.parametrize(
    "pattern",
    ["kernel_secret_key", "^root:", "(?i)private_token", "(ghp|gho)_[0-9A-Za-z]{36}|AKIA[0-9A-Z]{16}", "[a-z0-9]+@evil[.]example",
     r"\bsshd?\b.*Accepted", "x$", "password.{0,30}=", "|".join(rf"c2-{n:04}\.example\.org" for n in range(400))],
)  # fmt: skip
def test_what_people_ask_is_taken(pattern: Any) -> None:
    chosen = filter_for(pattern)
    assert chosen is not None
    assert not chosen.may_match(memoryview(b"nothing of the kind\n" * 100))


def test_a_match_in_a_block_is_seen() -> None:
    chosen = filter_for("needle$")
    assert chosen is not None
    assert chosen.may_match(memoryview(b"hay\n" * 1000 + b"needle\r\n" + b"hay\n" * 1000))
    assert not chosen.may_match(memoryview(b"hay needle stack\n" * 1000))


@pytest.mark.parametrize(
    "pattern",
    [".{1000}x", "(a.{50}b|c.{60}d){10}", "(?:(?:a.){1,30}b){1,30}", "([^a]{1,99}b){9}", "(?i)(?:(?:k.*){9}s){9}", "é{900}",
     "|".join(f"w{n}" for n in range(3000))],
)  # fmt: skip
def test_what_may_take_its_compiler_long_is_left_to_re2(pattern: Any) -> None:
    assert filter_for(pattern) is None


def test_what_it_refuses_is_left_to_re2() -> None:
    assert filter_for(r"\n") is None  # a class with nothing in it


def test_threads_share_a_filter(monkeypatch: Any) -> None:
    chosen = filter_for("needle")
    assert chosen is not None
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    wrong: list[int] = []

    def scan(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(300):
            there = draw.random() < 0.5
            block = b"hay\n" * draw.randrange(5000) + (b"needle" if there else b"noodle") + b"\n" + b"hay\n" * 50
            if chosen.may_match(memoryview(block)) != there:
                wrong.append(seed)

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
    """`is_available` forgets what it found before and after."""
    hyper.is_available.cache_clear()
    yield
    hyper.is_available.cache_clear()


def test_a_processor_that_lacks_what_it_needs_has_re2_alone(monkeypatch: Any, asked_again: Any) -> None:
    monkeypatch.setattr(hyper, "machine", lambda: "riscv64")
    assert not is_available()
    assert filter_for("needle") is None


def test_a_host_without_it_has_re2_alone(monkeypatch: Any, asked_again: Any) -> None:
    def missing() -> None:
        raise ImportError("No module named 'hyperscan'")

    monkeypatch.setattr(hyper, "_hyperscan", missing)
    assert not is_available()
    assert filter_for("needle") is None
