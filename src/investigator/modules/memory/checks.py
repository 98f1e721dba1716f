"""What one search asks of a process's memory; values are validated by being made into checks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BadParameters
from investigator.modules.memory.parameters import LISTS
from investigator.modules.memory.patterns import BytesPattern, ContentPattern
from investigator.modules.processes.searches import (
    Check,
    Plan,
    TextPattern,
    check_count,
    check_labels,
    pattern_share,
    search_json,
    text_pattern,
    values_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from investigator.modules.memory.parameters import Search

KINDS: Final = {"names": "name", "libraries": "library", "contents": "content", "bytes": "byte"}
"""What printed lines call the checks of a list."""
REGEX_LISTS: Final = ("names", "libraries", "contents")
MAX_NEEDLE_BYTES: Final = 16 << 10
MAX_CONTENTS: Final = 100
"""Of all searches together: each is looked for in all memory."""
_HEX: Final = re.compile(r"(?:[0-9A-Fa-f]{2})+")


@dataclass(slots=True, kw_only=True, eq=False)
class PathCheck(Check):
    """A regular expression on the executable's path, or on those of mapped files."""

    pattern: TextPattern


@dataclass(slots=True, kw_only=True, eq=False)
class ContentCheck(Check):
    """A regular expression, or bytes, in the memory."""

    pattern: ContentPattern | BytesPattern


@dataclass(slots=True, kw_only=True, eq=False)
class MemoryPlan(Plan):
    """A search ready to run."""

    names: list[PathCheck] = field(default_factory=list)
    libraries: list[PathCheck] = field(default_factory=list)
    contents: list[ContentCheck] = field(default_factory=list)
    """Bytes included."""
    reach: tuple[int, int, bool] = (0, 0, False)
    """What is read: from which address on, how many bytes (0: all), and whether what is swapped out too."""
    logfailures: bool = False


def make_plans(searches: Mapping[str, Search]) -> list[MemoryPlan]:
    """The searches ready to run.

    Raises:
        BadParameters, BadRegex: a value is none of its kind; the message starts with the parameter's path.
    """
    check_labels(searches)
    share = pattern_share(searches, REGEX_LISTS)
    known: dict[tuple[str, str], ContentPattern | BytesPattern] = {}
    plans = [_make_plan(label, search, share, known) for label, search in searches.items()]
    if len(known) > MAX_CONTENTS:
        raise BadParameters(f"searches: {len(known):,} contents and bytes to look for; {MAX_CONTENTS} at most")
    check_count(plans)
    return plans


def _make_plan(label: str, search: Search, share: int, known: dict[Any, Any]) -> MemoryPlan:
    options = search.options
    shown = {
        "offset": options.offset, "maxlength": options.maxlength, "matchall": options.matchall,
        "logfailures": options.logfailures, "swapped": options.swapped,
    }  # fmt: skip
    plan = MemoryPlan(
        label=label,
        checks=[],
        search=search_json(search, LISTS, shown),
        matchall=options.matchall,
        reach=(options.offset, options.maxlength, options.swapped),
        logfailures=options.logfailures,
    )
    for name, where, value in values_of(label, search, LISTS):
        common: dict[str, Any] = {"kind": KINDS[name], "field": name, "value": value}
        if name in ("names", "libraries"):
            path = PathCheck(pattern=text_pattern(value, where, memory_bytes=share), **common)
            (plan.names if name == "names" else plan.libraries).append(path)
            plan.checks.append(path)
            continue
        if (name, value) not in known:
            known[name, value] = (
                ContentPattern(value, where, memory_bytes=share)
                if name == "contents"
                else BytesPattern(_needle(value, where))
            )
        content = ContentCheck(pattern=known[name, value], **common)
        plan.contents.append(content)
        plan.checks.append(content)
    return plan


def _needle(value: str, where: str) -> bytes:
    if _HEX.fullmatch(value) is None:
        raise BadParameters(f"{where}: {value[:40]!r} is no bytes in hex: two digits each, no 0x")
    needle = bytes.fromhex(value)
    if len(needle) > MAX_NEEDLE_BYTES:
        raise BadParameters(f"{where}: {len(needle):,} bytes to look for; {MAX_NEEDLE_BYTES:,} at most")
    return needle
