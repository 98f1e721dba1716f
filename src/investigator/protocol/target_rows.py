"""A row of the agents table from JSON, checked: for rows that come from a file or from an agent's facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BadInput
from investigator.nearest import nearest
from investigator.protocol.nodes.expression import has_surrogate
from investigator.protocol.nodes.leaves import COLUMNS
from investigator.protocol.nodes.moments import INT4, BadValue, read_timestamptz

if TYPE_CHECKING:
    from collections.abc import Callable

MIG_COLUMNS: Final = frozenset(("destructiontime", "refreshtime", "loadername"))
"""What MIG's table has beside these columns: allowed in a row, but no target can ask for it."""
BESIDE: Final = "enrolment"
"""What `investigator agents --output ndjson` tells beside the columns."""
_MAX_VALUES: Final = 10_000


def row_from_json(value: Any) -> dict[str, Any]:
    """The row, its times as aware datetimes; a null is a column left out.

    Raises:
        BadInput: it is no object, has a key that is no column, a value of another type than the column's, a text that
            PostgreSQL could not hold, or more than 10,000 values.
    """
    if not isinstance(value, dict):
        raise BadInput("row: an object with the columns as keys is needed")
    row = {}
    for key, item in value.items():
        if key in COLUMNS:
            _check_texts(key, item)
            if item is not None:
                row[key] = _COLUMN_TYPES[key](key, item)
        elif key not in MIG_COLUMNS and key != BESIDE:
            near = nearest(str(key), COLUMNS)
            raise BadInput(f"row: there is no column {str(key)[:80]!r}" + (f"; did you mean {near!r}?" if near else ""))
    return row


def _misfit(key: str, item: Any, wanted: str) -> BadInput:
    return BadInput(f"row: {key}: {wanted} is needed, not {repr(item)[:80]}")


def _text(key: str, item: Any) -> str:
    if not isinstance(item, str):
        raise _misfit(key, item, "a text")
    return item


def _int4(key: str, item: Any) -> int:
    whole = int(item) if isinstance(item, float) and item.is_integer() else item
    if type(whole) is not int or whole not in INT4:
        raise _misfit(key, item, "a whole number of 32 bits")
    return whole


def _moment(key: str, item: Any) -> Any:
    try:
        return read_timestamptz(item if isinstance(item, str) else "")
    except BadValue:
        raise _misfit(key, item, "an RFC 3339 time (2026-11-24T03:00:00Z)") from None


def _object(key: str, item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise _misfit(key, item, "an object")
    return item


def _tags(key: str, item: Any) -> dict[str, Any]:
    if any(not isinstance(text, str) for text in _object(key, item).values()):
        raise _misfit(key, item, "an object of texts")
    return _object(key, item)


def _addresses(key: str, item: Any) -> list[Any]:
    if not isinstance(item, list) or any(not isinstance(address, str) for address in item):
        raise _misfit(key, item, "a list of texts")
    return item


_COLUMN_TYPES: Final[dict[str, Callable[[str, Any], Any]]] = {
    **dict.fromkeys((name for name, kind in COLUMNS.items() if kind == "text"), _text),
    "pid": _int4,
    "starttime": _moment,
    "heartbeattime": _moment,
    "environment": _object,
    "tags": _tags,
    "addresses": _addresses,
}


def _check_texts(key: str, item: Any) -> None:
    """U+0000 and lone surrogates, at any depth: PostgreSQL holds neither."""
    pending, seen = [item], 0
    while pending:
        current = pending.pop()
        seen += 1
        if seen > _MAX_VALUES:
            raise BadInput(f"row: {key}: more than {_MAX_VALUES:,} values")
        if isinstance(current, str) and ("\0" in current or has_surrogate(current)):
            raise BadInput(f"row: {key}: a text with U+0000 or a lone surrogate: {current[:40]!r}")
        if isinstance(current, dict):
            pending.extend(current)
            pending.extend(current.values())
        elif isinstance(current, list):
            pending.extend(current)
