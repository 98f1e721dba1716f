"""What the modules that search processes share: labelled searches, each a list of checks that all or each must hold.

A check is one value of one of a search's lists. Under `matchall` a process is found when all hold, else each check
reports its own processes; the JSON is MIG's (its memory module's).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BadParameters, BadRegex
from investigator.modules.processes.parsing import forms
from investigator.protocol.regex import compile_regex, tolerant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CLI_LABEL: Final = "s1"
MAX_SEARCHES: Final = 100
MAX_CHECKS: Final = 1000
"""Of all searches together."""
PATTERN_BYTES: Final = 32 << 20
"""What the automata of all patterns of a run should take together."""
_MIN_PATTERN_BYTES: Final = 1 << 20
_LABEL: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def parameters_of_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of one search, labelled `s1`, from the JSON of a `SearchFlags`; matchany wins over matchall."""
    options = dict(values.get("options", {}))
    if options.pop("matchany", False):
        options["matchall"] = False
    return {"searches": {CLI_LABEL: {**values, "options": options}}}


@dataclass(slots=True, kw_only=True, eq=False)
class Check:
    """One value of one list."""

    kind: str
    """What printed lines call it."""
    field: str
    """Its list in the search's JSON."""
    value: str
    """As it was asked and is reported."""
    inverted: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Plan:
    """A search ready to run."""

    label: str
    checks: list[Any]
    """In the order in which they are reported."""
    search: dict[str, Any]
    """As it is reported: empty lists and unset options left out."""
    matchall: bool
    matchlimit: float = float("inf")

    def one(self, check: Check) -> dict[str, Any]:
        """The search of a check that reports its own processes."""
        return {check.field: [check.value], "options": {}}


def check_labels(searches: Mapping[str, Any]) -> None:
    """Raises BadParameters: no search, too many, or a label that is none."""
    if not searches:
        raise BadParameters("searches: at least one search is needed")
    if len(searches) > MAX_SEARCHES:
        raise BadParameters(f"searches: {len(searches):,} searches; {MAX_SEARCHES} at most")
    for label in searches:
        if _LABEL.fullmatch(label) is None:
            raise BadParameters(f"searches: label {label[:80]!r} must have 1 to 64 of a-z A-Z 0-9 _ and -")


def values_of(label: str, search: Any, names: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """(list's name, its path for messages, value) of each value in a search's lists.

    Raises:
        BadParameters: an empty value, or nothing at all to search for.
    """
    seen = False
    for name in names:
        for value in getattr(search, name):
            where = f"searches.{label}.{name}"
            if not value:
                raise BadParameters(f"{where}: an empty value")
            seen = True
            yield name, where, value
    if not seen:
        raise BadParameters(f"searches.{label}: nothing to search for; at least one of {', '.join(names)} is needed")


def check_count(plans: Sequence[Plan]) -> None:
    """Raises BadParameters: there are too many checks."""
    count = sum(len(plan.checks) for plan in plans)
    if count > MAX_CHECKS:
        raise BadParameters(f"searches: {count:,} values to check; {MAX_CHECKS:,} at most")


def pattern_share(searches: Mapping[str, Any], names: tuple[str, ...]) -> int:
    """The bytes that each pattern's automata may take when all of the lists named share `PATTERN_BYTES`."""
    count = sum(len(getattr(search, name)) for search in searches.values() for name in names)
    return max(PATTERN_BYTES // max(count, 1), _MIN_PATTERN_BYTES)


@dataclass(frozen=True, slots=True)
class TextPattern:
    """A regular expression on names and paths; bytes that are no UTF-8 count as U+FFFD each."""

    text: str
    _regex: Any = field(repr=False)

    def matches(self, text: bytes) -> bool:
        """Whether it matches a text; of a path with ` (deleted)` behind it, the path alone will do."""
        return any(self._regex.search(tolerant(form)) is not None for form in forms(text))


def text_pattern(pattern: str, where: str, *, memory_bytes: int) -> TextPattern:
    """Raises BadRegex, beginning with `where`."""
    return TextPattern(pattern, compile_at(pattern, where, memory_bytes=memory_bytes))


def compile_at(pattern: str, where: str, *, memory_bytes: int) -> Any:
    """RE2's program; one that is large may take more than its share. Raises BadRegex, beginning with `where`."""
    try:
        try:
            return compile_regex(pattern, memory_bytes=memory_bytes)
        except BadRegex:
            return compile_regex(pattern)
    except BadRegex as error:
        raise error.at(where) from None


def search_json(search: Any, lists: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """A whole search as it is reported."""
    shown: dict[str, Any] = {"description": search.description} if search.description else {}
    shown |= {name: getattr(search, name) for name in lists if getattr(search, name)}
    shown["options"] = {name: value for name, value in options.items() if value}
    return shown
