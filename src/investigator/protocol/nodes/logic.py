"""Three-valued logic and comparisons: a comparison with NULL is NULL, and neither true nor false."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

from investigator.protocol.nodes.expression import (
    UNSETTLED,
    Expression,
    Get,
    Moment,
    Row,
    bad,
    expect,
    settled,
    strict,
)
from investigator.protocol.nodes.moments import Span
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


def _ordered(argument: Expression) -> Expression:
    """The same, or for an interval its length: what compares as PostgreSQL compares it."""
    return strict("int8", Span.length, argument) if argument.type == "interval" else argument


def _compare(kind: str, function: Callable[[Any, Any], bool]) -> Callable[[Expression, Expression], Expression]:
    def make(left: Expression, right: Expression) -> Expression:
        comparable(kind, left, right)
        return strict("bool", function, _ordered(left), _ordered(right))

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
    """As `value >= low AND value <= high`. The value is worked out once, else nested ones would take exponential time."""
    comparable("between", value, low, high)
    arguments = [_ordered(argument) for argument in (value, low, high)]

    def bind(moment: Moment) -> Get:
        sought, least, most = (argument.at(moment) for argument in arguments)

        def get(row: Row) -> bool | None:
            found, limit = sought(row), least(row)
            if found is not None and limit is not None and found < limit:
                return False
            return _within(found, limit, most(row))

        return get

    return Expression("bool", all(argument.constant for argument in arguments), bind)


def between_symmetric(value: Expression, low: Expression, high: Expression) -> Expression:
    """BETWEEN with the limits in either order."""
    comparable("between symmetric", value, low, high)
    arguments = [_ordered(argument) for argument in (value, low, high)]

    def bind(moment: Moment) -> Get:
        gets = [argument.at(moment) for argument in arguments]

        def get(row: Row) -> bool | None:
            found, one, other = (part(row) for part in gets)
            verdicts = (_within(found, one, other), _within(found, other, one))
            return True if True in verdicts else None if None in verdicts else False

        return get

    return Expression("bool", all(argument.constant for argument in arguments), bind)


def _within(found: Any, low: Any, high: Any) -> bool | None:
    """`found >= low AND found <= high`, of which one part decides even where the other is NULL."""
    if found is None:
        return None
    if (low is not None and found < low) or (high is not None and found > high):
        return False
    return None if low is None or high is None else True


def is_distinct(left: Expression, right: Expression) -> Expression:
    """`<>` that takes NULL for a value."""
    comparable("is distinct", left, right)
    arguments = (_ordered(left), _ordered(right))

    def bind(moment: Moment) -> Get:
        one, other = (argument.at(moment) for argument in arguments)
        return lambda row: bool(one(row) != other(row))

    return Expression("bool", left.constant and right.constant, bind)


def nullif(left: Expression, right: Expression) -> Expression:
    """NULL where both are equal, else the first."""
    comparable("nullif", left, right)
    key = Span.length if left.type == "interval" else None

    def bind(moment: Moment) -> Get:
        one, other = left.at(moment), right.at(moment)

        def get(row: Row) -> Any:
            value, avoided = one(row), other(row)
            if value is None or avoided is None:
                return value
            return None if (key(value) == key(avoided) if key else value == avoided) else value

        return get

    return Expression(left.type, left.constant and right.constant, bind)


def in_(value: Expression, *items: Expression) -> Expression:
    """`value = item OR …`: NULL where no item fits and one is NULL."""
    if not items:
        raise bad("['in', …] needs an item")
    comparable("in", value, *items)
    sought, listed = _ordered(value), [_ordered(item) for item in items]
    constant = all(item.constant for item in listed)

    def bind(moment: Moment) -> Get:
        get, gets = sought.at(moment), [item.at(moment) for item in listed]
        values = {settled(item, part) for item, part in zip(listed, gets, strict=True)} if constant else {UNSETTLED}
        return _one_of(get, gets) if UNSETTLED in values else _member_of(get, values)

    return Expression("bool", value.constant and constant, bind)


def _member_of(get: Get, values: set[Any]) -> Get:
    missing = None if None in values else False

    def quick(row: Row) -> bool | None:
        found = get(row)
        return None if found is None else True if found in values else missing

    return quick


def _one_of(get: Get, gets: list[Get]) -> Get:
    def slow(row: Row) -> bool | None:
        found = get(row)
        if found is None:
            return None
        verdict: bool | None = False
        for part in gets:
            item = part(row)
            if item is None:
                verdict = None
            elif item == found:
                return True
        return verdict

    return slow


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
    "nullif": (nullif, 2),
    **{kind: (compare, 2) for kind, compare in COMPARISONS.items()},
}
"""Kind -> maker and number of arguments (None: any), which are nodes."""
