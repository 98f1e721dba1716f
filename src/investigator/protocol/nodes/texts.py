"""What is asked of texts: LIKE, regular expressions, `lower`, `upper`, `length`, `||`. Letters are folded in ASCII only."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

from investigator.protocol.nodes.expression import Expression, Get, Moment, expect, settled, strict, text_leaf, unary
from investigator.protocol.nodes.like import compile_like
from investigator.protocol.nodes.moments import BadValue
from investigator.protocol.regex import compile_regex

if TYPE_CHECKING:
    from collections.abc import Callable


REGEX_BYTES: Final = 8 << 20
"""What one regular expression may take while it runs."""


def like(value: Expression, pattern: Expression) -> Expression:
    r"""LIKE, with `\` as its escape."""
    expect("like", value, "text")
    expect("like", pattern, "text")
    by_row = strict("bool", lambda subject, written: compile_like(written)(subject), value, pattern)

    def bind(moment: Moment) -> Get:
        written = settled(pattern, pattern.at(moment))
        try:
            fits = compile_like(written) if isinstance(written, str) else None
        except BadValue:
            fits = None
        return unary(fits, value.at(moment)) if fits else by_row.bind(moment)

    return Expression("bool", by_row.constant, bind)


def regex(value: Expression, pattern: Any) -> Expression:
    """`["~", value, "RE2 pattern"]`: a match anywhere; `.` takes line feeds too, `^` and `$` are the text's ends."""
    expect("~", value, "text")
    search = compile_regex(text_leaf("~", pattern), dot_nl=True, memory_bytes=REGEX_BYTES).search

    def matches(subject: str) -> bool:
        try:
            return search(subject.encode()) is not None
        except UnicodeEncodeError:
            raise BadValue("a text of this row holds a lone surrogate") from None

    return strict("bool", matches, value)


def _ascii_fold(change: Callable[[str], str], table: dict[int, int]) -> Callable[[str], str]:
    return lambda subject: change(subject) if subject.isascii() else subject.translate(table)


_LOWER: Final = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_TEXT_FUNCTIONS: Final = {
    "lower": ("text", _ascii_fold(str.lower, _LOWER)),
    "upper": ("text", _ascii_fold(str.upper, {small: capital for capital, small in _LOWER.items()})),
    "length": ("int4", len),
}


def _text_function(kind: str) -> Callable[[Expression], Expression]:
    result, function = _TEXT_FUNCTIONS[kind]

    def make(argument: Expression) -> Expression:
        expect(kind, argument, "text")
        return strict(result, function, argument)

    return make


def concatenate(left: Expression, right: Expression) -> Expression:
    """`||` of two texts."""
    expect("||", left, "text")
    expect("||", right, "text")
    return strict("text", operator.add, left, right)


TEXTS: Final[dict[str, tuple[Callable[..., Expression], int | None]]] = {
    "like": (like, 2),
    "||": (concatenate, 2),
    **{kind: (_text_function(kind), 1) for kind in _TEXT_FUNCTIONS},
}
"""Kind -> maker and number of arguments, which are nodes."""
