"""The values of a target's condition: PostgreSQL's types, their input syntax, and the casts between them.

In Python text is `str`, int4 and int8 `int`, numeric `Decimal`, float8 `float`, bool `bool`, json what orjson loads,
timestamptz and interval as in `moments`; NULL is None. What PostgreSQL refuses is refused in its words, and what it
takes but has no value here (`NaN`, infinities, hexadecimal floats) is refused too, never read differently.
"""

from __future__ import annotations

import math
import re
import sys
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.protocol.nodes.moments import (
    INT4,
    INT8,
    SPACE,
    BadValue,
    read_interval,
    read_timestamptz,
    timestamptz_text,
)

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES: Final = frozenset(("text", "int4", "int8", "numeric", "float8", "bool", "timestamptz", "interval", "json"))
EXACT: Final = frozenset(("int4", "int8", "numeric"))
"""The types of numbers that compare with one another without rounding."""
NAMES: Final = {
    "int4": "integer",
    "int8": "bigint",
    "float8": "double precision",
    "bool": "boolean",
    "timestamptz": "timestamp with time zone",
}
"""PostgreSQL's long names, where they differ, for messages."""
MAX_NUMERIC_DIGITS: Final = 200


def whole(kind: str, value: int) -> int:
    """The value, within the range of int4 or int8.

    Raises:
        BadValue: it is outside.
    """
    if value not in (INT4 if kind == "int4" else INT8):
        raise BadValue(f"{NAMES[kind]} out of range")
    return value


def _bad(kind: str, text: str) -> BadValue:
    return BadValue(f"invalid input syntax for type {NAMES.get(kind, kind)}: {text[:80]!r}")


def _read_int(kind: str, text: str) -> int:
    bare = text.strip(SPACE)
    if not re.fullmatch(r"[+-]?[0-9]+", bare):
        raise _bad(kind, text)
    if len(bare) > 40 or int(bare) not in (INT4 if kind == "int4" else INT8):
        raise BadValue(f"value {text[:80]!r} is out of range for type {NAMES[kind]}")
    return int(bare)


def _decimal(kind: str, text: str) -> Decimal:
    bare = text.strip(SPACE)
    if len(bare) > 2 * MAX_NUMERIC_DIGITS or not re.fullmatch(
        r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", bare
    ):
        raise _bad(kind, text)
    return Decimal(bare)


def read_numeric(text: str) -> Decimal:
    """A numeric of at most 200 digits before and after the point.

    Raises:
        BadValue: it is none; `NaN` and infinities are none here.
    """
    value = _decimal("numeric", text)
    if value.adjusted() > MAX_NUMERIC_DIGITS or int(value.as_tuple().exponent) < -MAX_NUMERIC_DIGITS:
        raise BadValue(f"numeric of more than {MAX_NUMERIC_DIGITS} digits is not supported: {text[:80]!r}")
    return value or abs(value)


def _read_float8(text: str) -> float:
    exact = _decimal("float8", text)
    value = float(exact)
    if math.isinf(value) or (exact and abs(value) < sys.float_info.min):
        raise BadValue(f"{text[:80]!r} is out of range for type double precision")
    return value


def _read_bool(text: str) -> bool:
    bare = text.strip(SPACE).lower()
    if bare in ("on", "1") or (bare and ("true".startswith(bare) or "yes".startswith(bare))):
        return True
    if bare in ("of", "off", "0") or (bare and ("false".startswith(bare) or "no".startswith(bare))):
        return False
    raise _bad("bool", text)


def json_text(value: Any) -> str:
    """The text of a JSON value, in compact form.

    Raises:
        BadValue: it has none, being an integer beyond 64 bits or no JSON at all.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise BadValue(f"a JSON value has no text: {error}") from None


def _numeric_to_int(kind: str, value: Decimal) -> int:
    return whole(kind, int(value.to_integral_value(ROUND_HALF_UP)))


def _float_to_int(kind: str, value: float) -> int:
    return whole(kind, round(value))


def _for(kind: str, cast: Callable[[str, Any], int]) -> Callable[[Any], int]:
    return lambda value: cast(kind, value)


def _unchanged(value: Any) -> Any:
    return value


CASTS: Final[dict[tuple[str, str], Callable[[Any], Any]]] = {
    ("text", "int4"): _for("int4", _read_int),
    ("text", "int8"): _for("int8", _read_int),
    ("text", "numeric"): read_numeric,
    ("text", "float8"): _read_float8,
    ("text", "bool"): _read_bool,
    ("text", "timestamptz"): read_timestamptz,
    ("text", "interval"): read_interval,
    ("int4", "int8"): _unchanged,
    ("int8", "int4"): _for("int4", whole),
    ("int4", "numeric"): Decimal,
    ("int8", "numeric"): Decimal,
    ("int4", "float8"): float,
    ("int8", "float8"): float,
    ("int4", "bool"): bool,
    ("bool", "int4"): int,
    ("numeric", "int4"): _for("int4", _numeric_to_int),
    ("numeric", "int8"): _for("int8", _numeric_to_int),
    ("numeric", "float8"): float,
    ("float8", "int4"): _for("int4", _float_to_int),
    ("float8", "int8"): _for("int8", _float_to_int),
    ("int4", "text"): str,
    ("int8", "text"): str,
    ("numeric", "text"): lambda value: format(value, "f"),
    ("bool", "text"): lambda value: "true" if value else "false",
    ("timestamptz", "text"): timestamptz_text,
    ("json", "text"): json_text,
    **{(kind, kind): _unchanged for kind in TYPES},
}
"""(from, to) -> the cast; each raises `BadValue`. What is missing PostgreSQL has not, or it prints in a way of its own
(float8, interval)."""
