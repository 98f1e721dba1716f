"""JSON as it is read from signed bytes: strictly, with caps, before any structure is trusted."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import orjson

from investigator.errors import BadInput

MAX_DEPTH: Final = 100
MAX_COMPLAINT_CHARACTERS: Final = 300
"""What is wrong is told in one line of at most so many: the culprit may be a key of a megabyte, or full of line feeds."""
T = TypeVar("T")


class DuplicateKey(BadInput):
    """A key that stands twice in one object, which two readers could resolve differently."""

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key


def strict_loads(text: bytes, *, what: str, max_bytes: int) -> Any:
    """Decode JSON that may come from an attacker.

    orjson settles encoding, syntax and NaN, and depth is checked next. Duplicate keys, which two readers could resolve
    differently, are found by a second pass of the standard library; what is written exactly as orjson writes it has none.

    Raises:
        BadInput: `what` and the place; also for more than `max_bytes`.
    """
    if len(text) > max_bytes:
        raise BadInput(f"{what}: {len(text):,} bytes; {max_bytes:,} at most")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"{what}: no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    # each level needs a bracket: most texts have fewer than that, and are spared the look at every value
    if text.count(b"[") + text.count(b"{") > MAX_DEPTH and _deeper_than(value, MAX_DEPTH):
        raise BadInput(f"{what}: nested deeper than {MAX_DEPTH}")
    if _as_written(value) == text:
        return value
    try:
        _once.decode(text.decode())
    except _DuplicateKeyError as error:
        key = error.args[0]
        raise DuplicateKey(f"{what}: the key {key[:80]!r} stands twice in one object", key=key) from None
    return value


def convert(value: Any, shape: type[T], *, what: str) -> T:
    """`value`, as JSON decoded it, as `shape`; whole floats are integers, strings never are.

    Raises:
        BadInput: naming the path and the reason.
    """
    try:
        return msgspec.convert(whole_floats_as_integers(value), shape)
    except msgspec.ValidationError as error:
        text, _, place = str(error).partition(" - at `")
        path = place.rstrip("`").removeprefix("$").removeprefix(".")
        raise BadInput(f"{what}: {one_line(path + ': ' * bool(path) + text.replace('`', chr(39)))}") from None


def one_line(text: str, *, at_most: int = MAX_COMPLAINT_CHARACTERS) -> str:
    """A complaint that quotes what others wrote, cut, and without anything that breaks a line or drives a terminal."""
    cut = text if len(text) <= at_most else text[: at_most - 1] + "…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut)


def whole_floats_as_integers(value: Any) -> Any:
    """JSON has one kind of number: `3.0` is 3. Beyond 64 bits it stays as it is: as an integer it could not be written again."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1 << 63 else value
    if isinstance(value, list):
        return [whole_floats_as_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: whole_floats_as_integers(item) for key, item in value.items()}
    return value


def _as_written(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a text that holds half a surrogate pair, a number beyond 64 bits
        return b""


class _DuplicateKeyError(ValueError):
    pass


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise _DuplicateKeyError(key)
        seen[key] = value
    return seen


def _no_constants(name: str) -> NoReturn:
    raise ValueError(name)


_once = json.JSONDecoder(object_pairs_hook=_refuse_duplicates, parse_constant=_no_constants, parse_int=float)
"""Looks for duplicates only; `parse_int=float` since Python's own integers refuse 5,000 digits with an error."""


def _deeper_than(value: Any, depth: int) -> bool:
    """Whether it has more than so many objects and lists within each other."""
    level = [value]
    for _ in range(depth + 1):
        level = [item for item in level if isinstance(item, (dict, list))]
        if not level:
            return False
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return True
