"""The nodes without nodes in them: literals, columns, the clock, the ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from investigator.protocol.nodes.expression import Expression, Get, Moment, NoVerdict, Row, bad, constant_of, text_leaf
from investigator.protocol.nodes.moments import INT4, INT8, BadValue, checked_span, read_timestamptz
from investigator.protocol.nodes.values import TYPES, read_numeric

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS: Final = {
    **dict.fromkeys(("id", "name", "queueloc", "os", "arch", "ident", "mode", "version", "status", "publicip"), "text"),
    "pid": "int4",
    **dict.fromkeys(("addresses", "environment", "tags"), "json"),
    **dict.fromkeys(("starttime", "heartbeattime"), "timestamptz"),
}
"""The columns of the agents table, and their types."""


def _read_leaf(kind: str, read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except BadValue as error:
        raise bad(f"[{kind!r}, …]: {error}") from None


def text(value: Any) -> Expression:
    """`["text", "linux"]`."""
    return constant_of("text", text_leaf("text", value))


def int_(value: Any) -> Expression:
    """`["int", 5]`: an integer, or a bigint where it needs one."""
    if type(value) is not int or value not in INT8:
        raise bad("['int', …] needs a whole number of at most 64 bits")
    return constant_of("int4" if value in INT4 else "int8", value)


def numeric(value: Any) -> Expression:
    """`["numeric", "1.5"]`."""
    return constant_of("numeric", _read_leaf("numeric", read_numeric, text_leaf("numeric", value)))


def bool_(value: Any) -> Expression:
    """`["bool", true]`."""
    if type(value) is not bool:
        raise bad("['bool', …] needs true or false")
    return constant_of("bool", value)


def null(kind: Any) -> Expression:
    """`["null", "text"]`: NULL of that type."""
    if type(kind) is not str or kind not in TYPES:
        raise bad("['null', …] needs the name of a type")
    return constant_of(kind, None)


def timestamptz(value: Any) -> Expression:
    """`["timestamptz", "2026-11-24T03:00:00Z"]`."""
    return constant_of("timestamptz", _read_leaf("timestamptz", read_timestamptz, text_leaf("timestamptz", value)))


def interval(months: Any, days: Any, microseconds: Any) -> Expression:
    """`["interval", months, days, microseconds]`."""
    if any(type(part) is not int for part in (months, days, microseconds)):
        raise bad("['interval', …] needs whole months, days and microseconds")
    try:
        return constant_of("interval", checked_span(months, days, microseconds))
    except BadValue as error:
        raise bad(f"['interval', …]: {error}") from None


def now() -> Expression:
    """`["now"]`: the judging machine's clock."""
    return Expression("timestamptz", constant=True, bind=lambda moment: lambda _row: moment.now)


def found(action: Any) -> Expression:
    """`["found", ID]`: the judging agent's own outcome of that action found something."""
    return _outcome("found", action, sought=True)


def notfound(action: Any) -> Expression:
    """`["notfound", ID]`: the judging agent answered that action, and found nothing."""
    return _outcome("notfound", action, sought=False)


def _outcome(kind: str, action: Any, *, sought: bool) -> Expression:
    name = text_leaf(kind, action)

    def bind(moment: Moment) -> Get:
        has = moment.ledger is not None and bool(moment.ledger(name, sought))
        return lambda _row: has

    return Expression("bool", constant=True, bind=bind)


def column(name: Any) -> Expression:
    """`["column", "os"]`."""
    if type(name) is not str or name not in COLUMNS:
        raise bad(f"there is no column {str(name)[:80]!r}")
    kind = COLUMNS[name]
    return Expression(kind, constant=False, bind=lambda _moment: _READERS[kind](name))


def _misfit(name: str, value: Any, wanted: str) -> NoVerdict:
    return NoVerdict(f"this row's {name} is no {wanted}: {repr(value)[:80]}")


def _text_reader(name: str) -> Get:
    def get(row: Row) -> Any:
        value = row.get(name)
        if value.__class__ is str or value is None:
            return value
        raise _misfit(name, value, "text")

    return get


def _int_reader(name: str) -> Get:
    def get(row: Row) -> Any:
        value = row.get(name)
        if value is None or (value.__class__ is int and value in INT4):
            return value
        raise _misfit(name, value, "integer")

    return get


def _json_reader(name: str) -> Get:
    def get(row: Row) -> Any:
        value = row.get(name)
        if value is None or isinstance(value, (dict, list)):
            return value
        raise _misfit(name, value, "JSON object or list")

    return get


def _moment_reader(name: str) -> Get:
    def get(row: Row) -> Any:
        value = row.get(name)
        if value is None:
            return None
        if isinstance(value, str):
            try:
                return read_timestamptz(value)
            except BadValue as error:
                raise _misfit(name, value, f"time ({error})") from None
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value if value.tzinfo is UTC else value.astimezone(UTC)
        raise _misfit(name, value, "time with a time zone")

    return get


_READERS: Final = {"text": _text_reader, "int4": _int_reader, "json": _json_reader, "timestamptz": _moment_reader}


LEAVES: Final[dict[str, tuple[Callable[..., Expression], int]]] = {
    "text": (text, 1),
    "int": (int_, 1),
    "numeric": (numeric, 1),
    "bool": (bool_, 1),
    "null": (null, 1),
    "timestamptz": (timestamptz, 1),
    "interval": (interval, 3),
    "now": (now, 0),
    "column": (column, 1),
    "found": (found, 1),
    "notfound": (notfound, 1),
}
"""Kind -> maker and number of arguments, which are plain JSON."""
