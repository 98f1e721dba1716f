"""Hyperscan (Vectorscan on arm64) as a yes-or-no filter for blocks: the only place that imports it.

It is never given what people wrote, only a `Superset`: its own byte and UTF-8 modes both miss what RE2 finds. It says
whether a block holds a match, not where: the order in which it reports matches is not promised.

Its compiler has no time-out, and within its own limits it can take minutes and hundreds of megabytes. Counted
repetitions do that, and RE2's program, which spells them out, tells their size beforehand. Within the two limits below
the worst of some 2,000 hostile patterns took 0.6 s and 11 MB (on busy cores), and what people ask takes less than 10 ms.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from platform import machine, system
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.modules.patterns.superset import Superset

MAX_PROGRAM: Final = 450
"""Instructions of RE2's program for what is compiled, where something repeats."""
MAX_PROGRAM_UNREPEATED: Final = 6000
"""The same where nothing does: lists of literals."""
MAX_CHARACTERS: Final = 15_000
"""Hyperscan refuses more than 16,000."""

_LITERAL_BYTE: Final = re.compile(r"\[\\x([0-9a-f]{2})\]")
_REPEAT: Final = re.compile(r"[*+{]")


class BlockFilter:
    """One compiled pattern; any number of threads may use it at once."""

    def __init__(self, database: Any) -> None:
        self._scan = database.scan
        self._database = database
        self._idle: list[Any] = []
        """Scratch spaces that no thread uses; a scan needs one for itself."""

    def may_match(self, block: memoryview) -> bool:
        """Whether a match begins and ends in the block, whose edges count as edges of a line. Releases the GIL."""
        scratch = self._idle.pop() if self._idle else _hyperscan().Scratch(self._database)
        found: list[None] = []
        try:
            self._scan(block, match_event_handler=_note, context=found, scratch=scratch)
        except _hyperscan().ScanTerminated:
            return True
        finally:
            self._idle.append(scratch)
        return bool(found)


def _note(_pattern: int, _start: int, _end: int, _flags: int, found: list[None]) -> bool:
    """Called at a match; true: one is enough."""
    found.append(None)
    return True


def compile_filter(rewritten: Superset, program_size: int) -> BlockFilter | None:
    """The filter for a rewritten pattern; None: there is no Hyperscan here, or it is not to have, or take, this pattern.

    `program_size` is that of RE2's program for the same (`programsize`).
    """
    pattern = _LITERAL_BYTE.sub(_shortest, rewritten.pattern.removeprefix("(?m)"))
    limit = MAX_PROGRAM if _REPEAT.search(pattern) else MAX_PROGRAM_UNREPEATED
    if program_size > limit or len(pattern) > MAX_CHARACTERS or not is_available():
        return None
    hyperscan = _hyperscan()
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    flags = hyperscan.HS_FLAG_MULTILINE | hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_ALLOWEMPTY
    try:
        database.compile(expressions=[pattern.encode("ascii")], flags=flags)
    except (hyperscan.error, MemoryError):
        return None
    return BlockFilter(database)


def _shortest(byte: re.Match[str]) -> str:
    char = chr(int(byte[1], 16))
    return char if char.isascii() and char.isalnum() else f"\\x{byte[1]}"


@cache
def is_available() -> bool:
    """Whether Hyperscan is installed and this processor has what it needs: SSE4.2, or any arm64."""
    has_instructions = _PROCESSORS.get(machine().lower())
    try:
        return has_instructions is not None and has_instructions() and _hyperscan() is not None
    except ImportError:
        return False


@cache
def _hyperscan() -> Any:
    import hyperscan

    return hyperscan


def _has_sse42() -> bool:
    if system() == "Linux":
        try:
            with open("/proc/cpuinfo", "rb") as file:
                return re.search(rb"^flags\s*:.*\bsse4_2\b", file.read(1 << 16), re.MULTILINE) is not None
        except OSError:
            return False
    if sys.platform == "win32":
        import ctypes

        return bool(ctypes.windll.kernel32.IsProcessorFeaturePresent(_PF_SSE4_2_INSTRUCTIONS_AVAILABLE))
    return system() == "Darwin"  # every Mac that runs a CPython of today


_PF_SSE4_2_INSTRUCTIONS_AVAILABLE: Final = 38
_PROCESSORS: Final[dict[str, Callable[[], bool]]] = {
    "x86_64": _has_sse42,
    "amd64": _has_sse42,
    "aarch64": lambda: True,
    "arm64": lambda: True,
}
