"""Arithmetic on whole numbers and on time, casts and COALESCE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from investigator.protocol.nodes.documents import JSON_NULL
from investigator.protocol.nodes.expression import Expression, Get, Moment, Row, bad, strict
from investigator.protocol.nodes.moments import BadValue, Span, add_span, checked_span, subtract_moments
from investigator.protocol.nodes.values import CASTS, json_text, whole

if TYPE_CHECKING:
    from collections.abc import Callable


def _add(kind: str) -> Callable[[Any, Any], Any]:
    return lambda one, other: whole(kind, one + other)


def _subtract(kind: str) -> Callable[[Any, Any], Any]:
    return lambda one, other: whole(kind, one - other)


def _multiply(kind: str) -> Callable[[Any, Any], Any]:
    return lambda one, other: whole(kind, one * other)


def _divide(kind: str) -> Callable[[Any, Any], Any]:
    def divide(one: int, other: int) -> int:
        if not other:
            raise BadValue("division by zero")
        return whole(kind, abs(one) // abs(other) * (1 if (one < 0) == (other < 0) else -1))

    return divide


def _remainder(_kind: str) -> Callable[[Any, Any], Any]:
    def remainder(one: int, other: int) -> int:
        if not other:
            raise BadValue("division by zero")
        return abs(one) % abs(other) * (-1 if one < 0 else 1)

    return remainder


_INTEGER_ARITHMETIC: Final = {"+": _add, "-": _subtract, "*": _multiply, "/": _divide, "%": _remainder}


def _sum_spans(one: Span, other: Span) -> Span:
    return checked_span(one.months + other.months, one.days + other.days, one.microseconds + other.microseconds)


def _take_spans(one: Span, other: Span) -> Span:
    return checked_span(one.months - other.months, one.days - other.days, one.microseconds - other.microseconds)


_TIME_ARITHMETIC: Final[dict[tuple[str, str, str], tuple[str, Callable[[Any, Any], Any]]]] = {
    ("+", "timestamptz", "interval"): ("timestamptz", add_span),
    ("+", "interval", "timestamptz"): ("timestamptz", lambda span, moment: add_span(moment, span)),
    ("-", "timestamptz", "interval"): ("timestamptz", lambda moment, span: add_span(moment, span, -1)),
    ("-", "timestamptz", "timestamptz"): ("interval", subtract_moments),
    ("+", "interval", "interval"): ("interval", _sum_spans),
    ("-", "interval", "interval"): ("interval", _take_spans),
}


def _arithmetic(kind: str) -> Callable[[Expression, Expression], Expression]:
    def make(left: Expression, right: Expression) -> Expression:
        types = {left.type, right.type}
        if types <= {"int4", "int8"}:
            result = "int8" if "int8" in types else "int4"
            return strict(result, _INTEGER_ARITHMETIC[kind](result), left, right)
        known = _TIME_ARITHMETIC.get((kind, left.type, right.type))
        if not known:
            raise bad(f"[{kind!r}, …] does not take {left.type} and {right.type}")
        return strict(known[0], known[1], left, right)

    return make


def cast(kind: Any, argument: Expression) -> Expression:
    """`["cast", "int4", value]`."""
    function = CASTS.get((argument.type, kind)) if isinstance(kind, str) else None
    if function is None:
        raise bad(f"there is no cast from {argument.type} to {str(kind)[:40]}")
    if (argument.type, kind) == ("json", "text"):
        return strict("text", lambda value: json_text(None if value is JSON_NULL else value), argument)
    return strict(kind, function, argument)


def _same_type(kind: str, arguments: tuple[Expression, ...]) -> str:
    if len({argument.type for argument in arguments}) != 1:
        raise bad(f"[{kind!r}, …] needs arguments of one type")
    return arguments[0].type


def coalesce(*arguments: Expression) -> Expression:
    """The first that is not NULL; those after it are not looked at."""
    kind = _same_type("coalesce", arguments)

    def bind(moment: Moment) -> Get:
        gets = [argument.at(moment) for argument in arguments]

        def get(row: Row) -> Any:
            for part in gets:
                value = part(row)
                if value is not None:
                    return value
            return None

        return get

    return Expression(kind, all(argument.constant for argument in arguments), bind)


SUMS: Final[dict[str, tuple[Callable[..., Expression], int | None]]] = {
    "coalesce": (coalesce, None),
    **{kind: (_arithmetic(kind), 2) for kind in _INTEGER_ARITHMETIC},
}
"""Kind -> maker and number of arguments (None: any), which are nodes."""
