"""LIKE against the same pattern as a regular expression."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol.nodes.like import compile_like
from investigator.protocol.nodes.moments import BadValue


def as_regex(pattern: str) -> str:
    pieces = re.findall(r"\\.|[^\\]", pattern, re.DOTALL)
    signs = {"%": ".*", "_": "."}
    return "".join(signs.get(piece, re.escape(piece[-1])) for piece in pieces)


@given(st.text("ab%_\\é\n", max_size=8), st.text("ab%_\\é\n", max_size=10))
def test_like_agrees_with_the_regular_expression_of_the_same_meaning(pattern: str, text: str) -> None:
    whole = re.findall(r"\\.|[^\\]", pattern, re.DOTALL)
    if "".join(whole) != pattern:
        with pytest.raises(BadValue):
            compile_like(pattern)
    else:
        assert compile_like(pattern)(text) is (re.fullmatch(as_regex(pattern), text, re.DOTALL) is not None)


def test_many_percent_signs_do_not_backtrack() -> None:
    assert compile_like("%a_" * 300 + "b")("a" * 20_000) is False
