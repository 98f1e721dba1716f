"""Steps into JSON: `->`, `->>`, `#>`, `#>>`. JSON's null is a value, which only becomes NULL as a text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from investigator.protocol.nodes.expression import Expression, bad, expect, strict, text_leaf
from investigator.protocol.nodes.values import json_text

if TYPE_CHECKING:
    from collections.abc import Callable


class JsonNull:
    """The type of the one value that stands for JSON's null, which SQL tells from NULL."""


JSON_NULL: Final = JsonNull()


def _step(document: Any, key: str | int) -> Any:
    """The member or item, None where there is none, `JSON_NULL` for a null. Negative numbers count from the end."""
    if isinstance(key, str):
        if not isinstance(document, dict) or key not in document:
            return None
        value = document[key]
    else:
        if not isinstance(document, list) or not -len(document) <= key < len(document):
            return None
        value = document[key]
    return JSON_NULL if value is None else value


def _index(key: str) -> int | None:
    """A path's element as the number of an item, where C's strtol would read all of it as one."""
    bare = key.lstrip(" \t\n\r\f\v")
    digits = bare[1:] if bare[:1] in ("+", "-") else bare
    return int(bare) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _walk(document: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        step = _index(key) if document.__class__ is list else key
        document = None if step is None else _step(document, step)
        if document is None:
            return None
    return document


def _as_text(value: Any) -> str | None:
    """`->>`: a string itself, null as NULL, all else as compact JSON."""
    if value is None or isinstance(value, str):
        return value
    return None if value is JSON_NULL else json_text(value)


def _member(kind: str, result: str) -> Callable[[Expression, Expression], Expression]:
    def make(document: Expression, key: Expression) -> Expression:
        expect(kind, document, "json")
        expect(kind, key, "text", "int4")
        if result == "text":
            return strict("text", lambda value, step: _as_text(_step(value, step)), document, key)
        return strict("json", _step, document, key)

    return make


def _path(kind: str, result: str) -> Callable[[Expression, Any], Expression]:
    def make(document: Expression, path: Any) -> Expression:
        expect(kind, document, "json")
        if type(path) is not list or len(path) > 64:
            raise bad(f"[{kind!r}, …] needs a list of at most 64 texts")
        steps = tuple(text_leaf(kind, step) for step in path)
        if result == "text":
            return strict("text", lambda value: _as_text(_walk(value, steps)), document)
        return strict("json", lambda value: _walk(value, steps), document)

    return make


MEMBERS: Final = {"->": (_member("->", "json"), 2), "->>": (_member("->>", "text"), 2)}
"""Kind -> maker and number of arguments, which are nodes."""
PATHS: Final = {"#>": _path("#>", "json"), "#>>": _path("#>>", "text")}
"""Kind -> maker; its second argument is a plain list of texts."""
