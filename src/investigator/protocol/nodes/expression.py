"""A node of a condition, checked: the type of its value, and a maker of the closure that judges rows.

So a row is judged without looking at the tree again, and what needs no row is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BadTarget
from investigator.protocol.nodes.moments import BadValue
from investigator.protocol.nodes.values import NAMES

if TYPE_CHECKING:
    from datetime import datetime

Row = Mapping[str, Any]
Get = Callable[[Row], Any]
Ledger = Callable[[str, bool], bool]


class NoVerdict(BadTarget):
    """A row on which PostgreSQL would end the query with an error (a cast that fails), or which is no row of agents."""

    code = "no-verdict"


@dataclass(frozen=True, slots=True)
class Moment:
    """What a condition is judged against beside the row."""

    now: datetime
    ledger: Ledger | None = None


@dataclass(frozen=True, slots=True)
class Expression:
    """A node, checked: the type of its value, whether it needs no row, and the maker of its closure."""

    type: str
    constant: bool
    bind: Callable[[Moment], Get]

    def at(self, moment: Moment) -> Get:
        """The closure; what needs no row is worked out here, once. Its errors wait until a row asks for it."""
        get = self.bind(moment)
        if not self.constant:
            return get
        try:
            value = get({})
        except NoVerdict:
            return get
        return lambda _row: value


def bad(problem: str) -> BadTarget:
    """What is wrong with a tree."""
    return BadTarget(f"condition: {problem}")


def expect(kind: str, argument: Expression, *types: str) -> None:
    """Refuse an argument of another type."""
    if argument.type not in types:
        raise bad(f"[{kind!r}, …] does not take {NAMES.get(argument.type, argument.type)}")


def text_leaf(kind: str, value: Any) -> str:
    """A text that PostgreSQL could hold."""
    if type(value) is not str or "\0" in value or (not value.isascii() and has_surrogate(value)):
        raise bad(f"[{kind!r}, …] needs a text without U+0000 and without lone surrogates")
    return value


def has_surrogate(text: str) -> bool:
    """Whether the text is no Unicode: JSON can say so, UTF-8 cannot."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def constant_of(kind: str, value: Any) -> Expression:
    """A literal, its value already checked."""
    return Expression(kind, constant=True, bind=lambda _moment: lambda _row: value)


UNSETTLED: Final = object()


def settled(argument: Expression, get: Get) -> Any:
    """The value of what needs no row, `UNSETTLED` for all else and for what ends in an error."""
    if not argument.constant:
        return UNSETTLED
    try:
        return get({})
    except NoVerdict:
        return UNSETTLED


def strict(kind: str, function: Callable[..., Any], *arguments: Expression) -> Expression:
    """A function of one or two values that are not NULL; with a NULL it is NULL. `BadValue` becomes `NoVerdict`.

    As in PostgreSQL, a NULL that needs no row decides before the other value is worked out.
    """
    constant = all(argument.constant for argument in arguments)

    def bind(moment: Moment) -> Get:
        gets = [argument.at(moment) for argument in arguments]
        known = [settled(argument, get) for argument, get in zip(arguments, gets, strict=True)]
        if None in known:
            return lambda _row: None
        if len(gets) == 1:
            return unary(function, gets[0])
        if known[1] is not UNSETTLED:
            return _half(function, gets[0], known[1])
        return _binary(function, *gets)

    return Expression(kind, constant, bind)


def unary(function: Callable[[Any], Any], left: Get) -> Get:
    """The closure of a function of one value: NULL for NULL, `NoVerdict` for `BadValue`."""

    def get(row: Row) -> Any:
        value = left(row)
        if value is None:
            return None
        try:
            return function(value)
        except BadValue as error:
            raise NoVerdict(str(error)) from None

    return get


def _half(function: Callable[[Any, Any], Any], left: Get, fixed: Any) -> Get:
    def get(row: Row) -> Any:
        value = left(row)
        if value is None:
            return None
        try:
            return function(value, fixed)
        except BadValue as error:
            raise NoVerdict(str(error)) from None

    return get


def _binary(function: Callable[[Any, Any], Any], left: Get, right: Get) -> Get:
    def get(row: Row) -> Any:
        one, other = left(row), right(row)
        if one is None or other is None:
            return None
        try:
            return function(one, other)
        except BadValue as error:
            raise NoVerdict(str(error)) from None

    return get
