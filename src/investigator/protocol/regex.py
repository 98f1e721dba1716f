r"""Regular expressions that people wrote: RE2, which has MIG's syntax and no catastrophic cases.

A pattern is text, matched unanchored. Bytes of the searched text that are no UTF-8 count as U+FFFD each, as in MIG:
`tolerant` replaces them, since RE2 itself never lets `.` match one.
"""

from __future__ import annotations

import os
from typing import Any, Final

import re2

from investigator.errors import BadRegex

MAX_PATTERN_CHARACTERS: Final = 65_536
MAX_PROGRAM_BYTES: Final = 64 << 20
"""RE2's memory for one compiled pattern and its automaton caches; a pattern that needs more is refused."""


def compile_regex(
    pattern: str, *, ignore_case: bool = False, dot_nl: bool = False, memory_bytes: int = MAX_PROGRAM_BYTES
) -> Any:
    """Compile for `.search(bytes)`, `.match` and `.finditer` of google-re2.

    `memory_bytes` is what the program and its automaton's caches may take while it runs.

    Raises:
        BadRegex: with the reason and the position, in characters from 0.
    """
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise BadRegex(
            f"regular expression of {len(pattern):,} characters; {MAX_PATTERN_CHARACTERS:,} at most",
            pattern=pattern[:40],
            position=MAX_PATTERN_CHARACTERS,
        )
    options = re2.Options()
    options.log_errors = False
    options.case_sensitive = not ignore_case
    options.dot_nl = dot_nl
    options.max_mem = memory_bytes
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise _bad_regex(pattern, error) from None
    except UnicodeEncodeError as error:
        raise BadRegex(
            f"regular expression {_shown(pattern)} holds a lone surrogate", pattern=pattern, position=error.start
        ) from None


def _bad_regex(pattern: str, error: Exception) -> BadRegex:
    """RE2 names the offending piece, not its place: find where it stands."""
    raw = error.args[0] if error.args else b""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
    reason, _, piece = text.partition(": ")
    position = max(pattern.find(piece), 0) if piece else 0
    if reason == "missing )":  # RE2 then quotes the whole pattern
        position = pattern.rfind("(")
    shown = f" {_shown(piece)}" if piece and piece != pattern else ""
    return BadRegex(
        f"regular expression {_shown(pattern)} does not compile: {reason}{shown} at character {position + 1}",
        pattern=pattern,
        position=position,
        hint="The syntax is RE2's: no look-around, no back-references.",
    )


def _shown(pattern: str) -> str:
    return repr(pattern if len(pattern) <= 200 else pattern[:199] + "…")


def tolerant(text: bytes) -> bytes:
    """The same text as valid UTF-8, each offending byte replaced by U+FFFD (EF BF BD), as Go's regexp sees it."""
    if text.isascii():
        return text
    try:
        text.decode()
    except UnicodeDecodeError:
        # surrogateescape gives one lone surrogate per offending byte; "replace" would merge some of them
        decoded = text.decode("utf-8", "surrogateescape")
        return decoded.translate(_ESCAPED).encode()
    return text


_ESCAPED: Final = dict.fromkeys(range(0xDC80, 0xDD00), "\ufffd")


def tolerant_name(name: str) -> bytes:
    """A file name as `os.scandir` gives it, as RE2 can read it."""
    return tolerant(os.fsencode(name))
