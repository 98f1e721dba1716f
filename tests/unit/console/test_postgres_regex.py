"""What PostgreSQL's regular expressions become; the verdicts against the real one are in the recorded corpus."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.console.postgres_regex import translate
from investigator.errors import BadRegex
from investigator.protocol.regex import compile_regex


@pytest.mark.parametrize(
    ("pattern", "ignore_case", "expected"),
    [
        ("^web[0-9]+", False, "^web[0-9]+"),
        ("^web-1", True, r"^[wW][eE][bB]\-1"),
        ("(?i)ab", False, "[aA][bB]"),
        ("(?c)ab", True, "ab"),
        (r"\s\S", False, r"[\t-\r ][^\t-\r ]"),
        (r"\yx\Y\A\Z", False, r"\bx\B\A\z"),
        ("(a|b)", False, "(?:a|b)"),
        ("a{,5}", False, r"a\{\,5\}"),
        ("[]a-c^-]", False, r"[\]a-c\^\-]"),
        ("[a-c]", True, "[a-cA-C]"),
        ("[[:upper:]_]", True, "[A-Za-z_]"),
        (r"\u00e9", False, "é"),
        ("a+?", False, "a+"),
    ],
)
def test_a_pattern_becomes_the_same_for_re2(pattern: str, ignore_case: bool, expected: str) -> None:
    assert translate(pattern, ignore_case=ignore_case) == expected
    compile_regex(expected)


@pytest.mark.parametrize(
    ("pattern", "position"),
    [
        (r"a\bc", 1), (r"\mfoo", 0), ("a(?=b)", 1), ("a(?i)b", 1), (r"(a)\1", 3), ("***:a", 0), ("(?x)a", 0), ("a**", 2), ("^*", 1),
        ("(a", 0), ("a)", 1), ("[a", 0), ("[[.a.]]", 1), ("[[:<:]]a", 1), ("[[:foo:]]", 1), ("[z-a]", 1), ("[a-c-e]", 4), ("a{256}", 1),
        ("a{3,2}", 1), ("a{1", 1), ("a\\", 1), (r"a\z", 1), (r"\x41", 0), (r"[\D]", 1), (r"[a-\d]", 1), ("+", 0), ("(*a)", 1),
    ],
)  # fmt: skip
def test_what_re2_cannot_say_or_postgresql_refuses_is_refused_with_its_place(pattern: str, position: int) -> None:
    with pytest.raises(BadRegex) as error:
        translate(pattern, ignore_case=False)
    assert error.value.position == position


@pytest.mark.parametrize("pattern", ["É", "[à-ÿ]", "\u212a", "[é]"])
def test_the_case_of_letters_outside_ascii_is_never_guessed(pattern: str) -> None:
    assert translate(pattern, ignore_case=False)
    with pytest.raises(BadRegex, match="depends on the database"):
        translate(pattern, ignore_case=True)


@given(st.text("ab(|)[]^$*+?{}1,\\dsw.-:é\n", max_size=12), st.booleans(), st.text("ab1-é\n", max_size=6))
def test_whatever_is_translated_compiles_and_searches(pattern: str, ignore_case: bool, text: str) -> None:
    try:
        compiled = compile_regex(translate(pattern, ignore_case=ignore_case), dot_nl=True)
    except BadRegex:
        return
    assert compiled.search(text.encode()) is None or True
