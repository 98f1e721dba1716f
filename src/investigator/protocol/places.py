"""Where a key stands in a document, so that a complaint can name the line; a key is named by its path from the top."""

from __future__ import annotations

import bisect
import re
import tomllib
from typing import TYPE_CHECKING, Any, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator

Place = tuple[str | int, ...]
MAX_TOML_LINES_AHEAD: Final = 100
_JSON: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|[{}\[\],\n]')


def json_line(text: str, place: Place) -> int:
    """The line, from 1, of a key in JSON that parses; of the nearest key around it that is there.

    A key that stands twice counts where it stands last, as JSON's readers have it.
    """
    lines = dict(_json_keys(text))
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def json_duplicate_line(text: str) -> int:
    """The line of the first key that stands twice in one object, the second time; 1 if none does."""
    seen = set()
    for place, line in _json_keys(text):
        if place in seen:
            return line
        seen.add(place)
    return 1


def _json_keys(text: str) -> Iterator[tuple[Place, int]]:
    """Every key with its line, in the order of the text. In a list, the number of the item takes the key's place."""
    line = 1
    inside: list[str | int | None] = []
    """Of each object or list that is open: the key or item that is being read, None before a key."""
    for mark in _JSON.findall(text):
        if mark == "\n":
            line += 1
        elif mark == "{":
            inside.append(None)
        elif mark == "[":
            inside.append(0)
        elif mark in ("}", "]"):
            inside.pop()
        elif mark == ",":
            inside[-1] = inside[-1] + 1 if isinstance(inside[-1], int) else None
        elif inside and inside[-1] is None:
            inside[-1] = orjson.loads(mark)
            yield tuple(part for part in inside if part is not None), line


def toml_line(text: str, place: Place) -> int:
    """The line, from 1, of a key in TOML that parses; of the nearest key around it that is there.

    Asks the parser itself, which says no lines: the key stands on the line without which it would not be there.
    """
    lines = text.split("\n")

    def has(count: int) -> bool:
        for more in range(count, min(count + MAX_TOML_LINES_AHEAD, len(lines))):
            try:
                return _stands(tomllib.loads("\n".join(lines[:more]) + "\n"), place)
            except tomllib.TOMLDecodeError:  # in the middle of a text or list of several lines
                continue
        return True

    while place and not _stands(tomllib.loads(text), place):
        place = place[:-1]
    return 1 + bisect.bisect_left(range(1, len(lines) + 1), True, key=has) if place else 1  # noqa: FBT003 - what is sought


def _stands(document: Any, place: Place) -> bool:
    for key in place:
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True
