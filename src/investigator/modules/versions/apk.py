"""The order of Alpine's versions, as apk-tools 2 compares them: `digits(.digits)*[letter](_suffix[digits])*[-rN]`.

A number after a dot that starts with 0 is a fraction (`1.01` before `1.1`); the suffixes alpha, beta, pre, rc make a
version older, cvs, svn, git, hg, p newer. What does not fit the form ends the comparison there.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Final

_SUFFIXES: Final = ("alpha", "beta", "pre", "rc", "", "cvs", "svn", "git", "hg", "p")
_NO_SUFFIX: Final = _SUFFIXES.index("")
_DIGITS: Final = re.compile("[0-9]*", re.ASCII)
_SUFFIX: Final = re.compile("alpha|beta|pre|rc|cvs|svn|git|hg|p")


class _Kind(IntEnum):
    """What a piece is; where two versions first differ in this, the one of the lower kind is newer."""

    INVALID = -1
    FRACTION = 0
    """A number after a dot."""
    NUMBER = 1
    LETTER = 2
    SUFFIX = 3
    SUFFIX_NUMBER = 4
    REVISION = 5
    END = 6


_BEFORE_DIGITS: Final = {_Kind.LETTER: _Kind.NUMBER, _Kind.SUFFIX: _Kind.SUFFIX_NUMBER}

_Number = tuple[int, int, str]
"""(sign, length, digits), which sorts as the number does: hosts have versions of thousands of digits if they like."""
_Piece = tuple[_Kind, _Number]
_NOTHING: Final[_Number] = (0, 0, "")


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is older than, equal to or newer than `right`; every text is taken."""
    a, b = _pieces(left), _pieces(right)
    for (kind_a, value_a), (kind_b, value_b) in zip(a, b, strict=False):  # both are closed by END or INVALID
        if kind_a == kind_b and value_a == value_b:
            if kind_a in (_Kind.END, _Kind.INVALID):
                return 0
            continue
        if kind_a == kind_b:
            return 1 if value_a > value_b else -1
        if kind_a == _Kind.SUFFIX and value_a < _NOTHING:
            return -1
        if kind_b == _Kind.SUFFIX and value_b < _NOTHING:
            return 1
        return -1 if kind_a > kind_b else 1
    return 0


def _pieces(version: str) -> list[_Piece]:
    """The pieces, closed by END, or by INVALID where the rest does not fit."""
    pieces: list[_Piece] = []
    kind, at = _Kind.NUMBER, 0
    while kind not in (_Kind.END, _Kind.INVALID):
        value, end = _value(version, at, kind)
        if value is None:
            kind = _Kind.INVALID
            break
        pieces.append((kind, value))
        if kind is _Kind.FRACTION and value < _NOTHING and end < len(version):
            kind, at = _Kind.NUMBER, end  # what follows the zeros, be it nothing
        else:
            kind, at = _next(version, end, kind)
    return [*pieces, (kind, _NOTHING)]


def _value(version: str, at: int, kind: _Kind) -> tuple[_Number | None, int]:
    """A piece's value and end; None: there is none."""
    if kind is _Kind.LETTER:
        return (1, 0, version[at]), at + 1
    if kind is _Kind.SUFFIX:
        suffix = _SUFFIX.match(version, at)
        if suffix is None:
            return None, at
        rank = _SUFFIXES.index(suffix[0])
        return ((-1 if rank < _NO_SUFFIX else 1), 0, str(rank)), suffix.end()
    found = _DIGITS.match(version, at)
    digits = found[0] if found else ""
    number = digits.lstrip("0")
    if kind is _Kind.FRACTION and number != digits:
        zeros = len(digits) - len(number)
        return (-1, -zeros, ""), at + zeros  # more zeros: smaller; the digits after them are a piece of their own
    return (1 if number else 0, len(number), number), at + len(digits)


def _next(version: str, at: int, kind: _Kind) -> tuple[_Kind, int]:
    """The kind of the piece that starts at `at`, and where its value stands."""
    char = version[at : at + 1]
    number = kind in (_Kind.FRACTION, _Kind.NUMBER)
    found = (_Kind.INVALID, at)
    if not char:
        found = _Kind.END, at
    elif _is_digit(char) and kind in _BEFORE_DIGITS:
        found = _BEFORE_DIGITS[kind], at
    elif number and "a" <= char <= "z":
        found = _Kind.LETTER, at
    elif number and char == ".":
        found = _Kind.FRACTION, at + 1
    elif char == "_" and kind < _Kind.REVISION:
        found = _Kind.SUFFIX, at + 1
    elif version.startswith("-r", at):
        found = _Kind.REVISION, at + 2
    return found


def _is_digit(char: str) -> bool:
    return char.isascii() and char.isdigit()
