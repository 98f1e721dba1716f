"""Text that others wrote, on its way to a terminal: names, paths and errors may hold escapes that would drive it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1: cursor movements, window titles, answers typed back
    "\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible, line-breaking or reordering
    "\ud800-\udfff\U000e0000-\U000e007f]"  # no characters at all, and invisible tags
)


def printable(text: str) -> str:
    r"""The text in one line, with every character that a terminal would obey or hide written as an escape (`\x1b`)."""
    if text.isascii() and text.isprintable():
        return text
    return UNSAFE.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def columns(text: str) -> int:
    """How many columns of a terminal a printable text takes (Unicode Standard Annex 11, and combining marks)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def fit(text: str, width: int) -> str:
    """The text cut to so many columns, the last being `…` where something is missing."""
    if columns(text) <= width:
        return text
    kept, used = [], 0
    for one in text:
        used += columns(one)
        if used > width - 1:
            break
        kept.append(one)
    return "".join(kept) + "…"
