"""The order of Debian's versions: deb-version(7), and what `dpkg --compare-versions` of dpkg 1.21 does with the rest.

A version is `[epoch:]upstream[-revision]`. Epochs are compared as numbers, then upstream and revision each piece by piece:
a piece without digits by character (`~` before the end, the end before letters, letters before all else), then a number.
"""

from __future__ import annotations

import re
from typing import Final

from investigator.errors import BadInput
from investigator.modules.versions.remembering import Remembered

_MAX_EPOCH: Final = 2**31 - 1
_SPACE: Final = " \t\n\v\f\r"
_EPOCH: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_PIECE: Final = re.compile(r"([^0-9]*)([0-9]*)", re.ASCII)

_Piece = tuple[str, int, str]
"""What sorts as the piece's text does, then the number's length and digits."""
_Part = tuple[_Piece, ...]
_TILDE: Final = "\x00"
_TEXT_END: Final = "\x01"
_END: Final[_Piece] = (_TEXT_END, 0, "")


def compare(left: str, right: str) -> int:
    """-1, 0 or 1 as `left` is older than, equal to or newer than `right`.

    Raises:
        BadInput: one of them is what `dpkg --compare-versions` refuses; what it only warns of is compared, as it does.
    """
    a, b = sort_key(left), sort_key(right)
    return (a > b) - (a < b)


@Remembered
def sort_key(version: str) -> tuple[int, _Part, _Part]:
    """Something that sorts as dpkg does; equal for versions that dpkg holds equal (`1.0`, `0:1.0-0`).

    Raises:
        BadInput: dpkg does not take it; the message says why.
    """
    epoch, upstream, revision = _split(version)
    return epoch, _part_key(upstream), _part_key(revision)


def _split(version: str) -> tuple[int, str, str]:
    text = version.strip(_SPACE)
    if not text:
        raise _refused(version, "it is empty")
    if any(space in text for space in _SPACE):
        raise _refused(version, "it holds a space")
    head, colon, rest = text.partition(":")
    epoch = 0
    if colon:
        # 11 digits say all there is to know: Python refuses to convert thousands of them
        if not _EPOCH.fullmatch(head):
            raise _refused(version, "its epoch is no number")
        digits = head.lstrip("+-").lstrip("0") or "0"
        epoch = int(digits[:11])
        if head[0] == "-" and epoch:
            raise _refused(version, "its epoch is negative")
        if epoch > _MAX_EPOCH:
            raise _refused(version, "its epoch is too big")
        text = rest
        if not text:
            raise _refused(version, "nothing follows its epoch")
    upstream, dash, revision = text.rpartition("-")
    if not dash:
        return epoch, text, ""
    if not upstream:
        raise _refused(version, "its upstream part is empty")
    if not revision:
        raise _refused(version, "its revision is empty")
    return epoch, upstream, revision


def _part_key(part: str) -> _Part:
    """Its pieces, closed by the end's own; an empty part is as `0`, as dpkg has it."""
    pieces: list[_Piece] = []
    for text, digits in _PIECE.findall(part or "0"):
        if text or digits:
            number = digits.lstrip("0")
            pieces.append((_text_key(text), len(number), number))
    return (*pieces, _END)


@Remembered
def _text_key(text: str) -> str:
    """Characters that sort as dpkg sorts those of a piece, closed by the end's."""
    return "".join(map(_order, text)) + _TEXT_END


def _order(char: str) -> str:
    """Letters as they are; all else after them, but for `~`."""
    if char == "~":
        return _TILDE
    return char if char.isascii() and char.isalpha() else chr(min(ord(char) + 256, 0x10FFFF))


def _refused(version: str, why: str) -> BadInput:
    shown = version if len(version) <= 80 else version[:79] + "…"
    return BadInput(f"{shown!r} is no dpkg version: {why}")
