"""Hyperscan as a yes-or-no filter for blocks.

It is never given what people wrote, only a `Superset`: its own byte and UTF-8 modes both miss what RE2 finds. It says
whether a block holds a match, not where: the order in which it reports matches is not promised.

Its compiler has no time-out, and within its own limits it can take minutes and hundreds of megabytes. Counted
repetitions do that, and RE2's program, which spells them out, tells their size beforehand.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from investigator.modules.patterns.libhs import Database, Library
    from investigator.modules.patterns.superset import Superset

MAX_PROGRAM: Final = 450
"""Instructions of RE2's program for what is compiled, where something repeats."""
MAX_PROGRAM_UNREPEATED: Final = 6000
"""The same where nothing does: lists of literals."""
MAX_CHARACTERS: Final = 15_000
"""Hyperscan refuses more than 16,000."""

_LOAD_S: Final = 0.006
_COMPILE_S: Final = 0.000_5
_COMPILE_S_PER_INSTRUCTION: Final = 0.000_02

_LITERAL_BYTE: Final = re.compile(r"\[\\x([0-9a-f]{2})\]")
_REPEAT: Final = re.compile(r"[*+{]")


@cache
def library() -> Library | None:
    """See `libhs.load`; once, and not before it is needed."""
    from investigator.modules.patterns.libhs import load

    return load()


def compile_filter(rewritten: Superset, program_size: int) -> Database | None:
    """The filter for a rewritten pattern; None: there is no Hyperscan here, or it is not to have, or take, this pattern.

    `program_size` is that of RE2's program for the same (`programsize`). Mind one difference: where a block ends with a
    newline, there is for Hyperscan no empty line behind it.
    """
    pattern = _LITERAL_BYTE.sub(_shortest, rewritten.pattern.removeprefix("(?m)"))
    limit = MAX_PROGRAM if _REPEAT.search(pattern) else MAX_PROGRAM_UNREPEATED
    if program_size > limit or len(pattern) > MAX_CHARACTERS:
        return None
    found = library()
    return None if found is None else found.compile(pattern.encode("ascii"))


def price_s(program_size: int) -> float:
    """About how long `compile_filter` takes for such a pattern, with loading the library where that was not done yet."""
    is_loaded = library.cache_info().currsize > 0
    return (0.0 if is_loaded else _LOAD_S) + _COMPILE_S + _COMPILE_S_PER_INSTRUCTION * program_size


def _shortest(byte: re.Match[str]) -> str:
    char = chr(int(byte[1], 16))
    return char if char.isascii() and char.isalnum() else f"\\x{byte[1]}"
