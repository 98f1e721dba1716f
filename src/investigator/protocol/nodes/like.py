r"""SQL's LIKE: `%` is any text, `_` one character, and `\` takes the next one literally. Without backtracking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from investigator.protocol.nodes.moments import BadValue

if TYPE_CHECKING:
    from collections.abc import Callable

Segment = tuple[str | None, ...]
"""Characters, None for any one."""


def compile_like(pattern: str) -> Callable[[str], bool]:
    r"""A function that says whether the whole of a text fits the pattern.

    Raises:
        BadValue: the pattern ends with a lone `\`.
    """
    segments = _segments(pattern)
    if any(None in segment for segment in segments):
        return lambda text: _fits(segments, text)
    literals = ["".join(character for character in segment if character) for segment in segments]
    first, last = literals[0], literals[-1]
    if len(literals) == 1:
        return first.__eq__
    shortest = len(first) + len(last)
    middles = [middle for middle in literals[1:-1] if middle]
    if not middles:
        return lambda text: len(text) >= shortest and text.startswith(first) and text.endswith(last)
    if not shortest and len(middles) == 1:
        sought = middles[0]
        return lambda text: sought in text
    return lambda text: _fits(segments, text)


def _segments(pattern: str) -> list[Segment]:
    """What stands between the `%`."""
    segments: list[list[str | None]] = [[]]
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            segments.append([])
            continue
        literal = next(characters, "") if character == "\\" else character
        if not literal:
            raise BadValue("LIKE pattern must not end with escape character")
        segments[-1].append(None if character == "_" else literal)
    return [tuple(segment) for segment in segments]


def _fits(segments: list[Segment], text: str) -> bool:
    """Both ends are fixed; each segment between them takes the first place that it finds, which leaves most to the rest."""
    first, last = segments[0], segments[-1]
    if len(segments) == 1:
        return len(text) == len(first) and _stands(first, text, 0)
    place, end = len(first), len(text) - len(last)
    if place > end or not _stands(first, text, 0) or not _stands(last, text, end):
        return False
    for segment in segments[1:-1]:
        latest = end - len(segment)
        while place <= latest and not _stands(segment, text, place):
            place += 1
        if place > latest:
            return False
        place += len(segment)
    return True


def _stands(segment: Segment, text: str, place: int) -> bool:
    """Whether the segment is what the text has at that place; it must not reach beyond the text's end."""
    return all(sought is None or sought == text[place + number] for number, sought in enumerate(segment))
