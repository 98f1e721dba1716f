"""Three-valued logic and comparisons: a comparison with NULL is NULL, and neither true nor false."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

from investigator.protocol.nodes.expression import (
    Expression,
    Get,
    Moment,
    NoVerdict,
    Row,
    bad,
    constant_of,
    expect,
    settled,
    strict,
)
from investigator.protocol.nodes.values import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable


def _truth(kind: str, arguments: tuple[Expression, ...], fewest: int) -> bool:
    if len(arguments) < fewest:
        raise bad(f"[{kind!r}, …] needs {fewest} arguments or more")
    for argument in arguments:
        expect(kind, argument, "bool")
    return all(argument.constant for argument in arguments)


def _decided(arguments: tuple[Expression, ...], parts: list[Get], *, verdict: bool) -> bool:
    """Whether a part that needs no row decides: PostgreSQL then never looks at the others, nor meets their errors."""
    return any(settled(*pair) is verdict for pair in zip(arguments, parts, strict=True))


def and_(*arguments: Expression) -> Expression:
    """False as soon as one is, else NULL if one is."""

    def bind(moment: Moment) -> Get:
        parts = [argument.at(moment) for argument in arguments]
        if _decided(arguments, parts, verdict=False):
            return lambda _row: False

        def get(row: Row) -> bool | None:
            verdict: bool | None = True
            for part in parts:
                value = part(row)
                if value is False:
                    return False
                if value is None:
                    verdict = None
            return verdict

        return get

    return Expression("bool", _truth("and", arguments, 2), bind)


def or_(*arguments: Expression) -> Expression:
    """True as soon as one is, else NULL if one is."""

    def bind(moment: Moment) -> Get:
        parts = [argument.at(moment) for argument in arguments]
        if _decided(arguments, parts, verdict=True):
            return lambda _row: True

        def get(row: Row) -> bool | None:
            verdict: bool | None = False
            for part in parts:
                value = part(row)
                if value is True:
                    return True
                if value is None:
                    verdict = None
            return verdict

        return get

    return Expression("bool", _truth("or", arguments, 2), bind)


def not_(argument: Expression) -> Expression:
    """NULL stays NULL."""
    expect("not", argument, "bool")
    return strict("bool", operator.not_, argument)


def _is(kind: str, sought: bool | None) -> Callable[[Expression], Expression]:
    def make(argument: Expression) -> Expression:
        if sought is not None:
            expect(kind, argument, "bool")

        def bind(moment: Moment) -> Get:
            get = argument.at(moment)
            return lambda row: get(row) is sought

        return Expression("bool", argument.constant, bind)

    return make


def comparable(kind: str, *arguments: Expression) -> None:
    """Refuse arguments whose types PostgreSQL would have to convert, and json, which has no comparison."""
    types = {argument.type for argument in arguments}
    if "json" in types or (len(types) > 1 and not types <= EXACT):
        raise bad(f"[{kind!r}, …] does not compare {' with '.join(sorted(types))}")


def _compare(kind: str, function: Callable[[Any, Any], bool]) -> Callable[[Expression, Expression], Expression]:
    def make(left: Expression, right: Expression) -> Expression:
        comparable(kind, left, right)
        if left.type == "interval":
            return strict("bool", lambda one, other: function(one.length(), other.length()), left, right)
        return strict("bool", function, left, right)

    return make


COMPARISONS: Final = {
    "=": _compare("=", operator.eq),
    "<>": _compare("<>", operator.ne),
    "<": _compare("<", operator.lt),
    "<=": _compare("<=", operator.le),
    ">": _compare(">", operator.gt),
    ">=": _compare(">=", operator.ge),
}


def between(value: Expression, low: Expression, high: Expression) -> Expression:
    """As `value >= low AND value <= high`."""
    return and_(COMPARISONS[">="](value, low), COMPARISONS["<="](value, high))


def between_symmetric(value: Expression, low: Expression, high: Expression) -> Expression:
    """BETWEEN with the limits in either order."""
    return or_(between(value, low, high), between(value, high, low))


def is_distinct(left: Expression, right: Expression) -> Expression:
    """`<>` that takes NULL for a value."""
    comparable("is distinct", left, right)
    spans = left.type == "interval"

    def bind(moment: Moment) -> Get:
        one, other = left.at(moment), right.at(moment)

        def get(row: Row) -> bool:
            a, b = one(row), other(row)
            if a is None or b is None:
                return a is not b
            return bool(a.length() != b.length() if spans else a != b)

        return get

    return Expression("bool", left.constant and right.constant, bind)


_FALSE: Final = constant_of("bool", value=False)


def in_(value: Expression, *items: Expression) -> Expression:
    """`value = item OR …`: NULL where no item fits and one is NULL."""
    if not items:
        raise bad("['in', …] needs an item")
    for item in items:
        comparable("in", value, item)
    pairwise = or_(*(COMPARISONS["="](value, item) for item in items), _FALSE)
    if value.type == "interval" or not all(item.constant for item in items):
        return pairwise

    def bind(moment: Moment) -> Get:
        get = value.at(moment)
        try:
            values = {item.at(moment)({}) for item in items}
        except NoVerdict:
            return pairwise.bind(moment)
        missing = None if None in values else False

        def quick(row: Row) -> bool | None:
            sought = get(row)
            return None if sought is None else True if sought in values else missing

        return quick

    return Expression("bool", value.constant, bind)


LOGIC: Final[dict[str, tuple[Callable[..., Expression], int | None]]] = {
    "and": (and_, None),
    "or": (or_, None),
    "not": (not_, 1),
    "is null": (_is("is null", None), 1),
    "is true": (_is("is true", True), 1),  # noqa: FBT003  # the value sought
    "is false": (_is("is false", False), 1),  # noqa: FBT003
    "between": (between, 3),
    "between symmetric": (between_symmetric, 3),
    "is distinct": (is_distinct, 2),
    "in": (in_, None),
    **{kind: (compare, 2) for kind, compare in COMPARISONS.items()},
}
"""Kind -> maker and number of arguments (None: any), which are nodes."""
