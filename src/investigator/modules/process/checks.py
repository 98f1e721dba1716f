"""What one search asks of a process, each value as a check; values are validated by being made into checks.

A leading `!` turns a regular expression's verdict round. Of what could not be read, or is not there (a kernel thread has
no executable), there is no verdict: neither the check nor its inversion holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BadParameters
from investigator.modules.file.checks import hash_algorithm, parse_period
from investigator.modules.process.parameters import LISTS
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
    from collections.abc import Iterable, Mapping

    from investigator.modules.process.looking import Facts
    from investigator.modules.process.parameters import Search

REGEX_LISTS: Final = ("names", "cmdlines", "exes", "users", "parents", "openfiles")
KINDS: Final = {
    "names": "name", "cmdlines": "cmdline", "exes": "exe", "users": "user", "parents": "parent", "pids": "pid",
    "openfiles": "openfile", "started": "started", "md5": "md5", "sha1": "sha1", "sha2": "sha2", "sha3": "sha3",
    "deleted": "deleted",
}  # fmt: skip
"""What printed lines call the checks of a list."""
_MAX_PID: Final = 2**32 - 1
_MAX_DIGITS: Final = 10


@dataclass(slots=True, kw_only=True, eq=False)
class ProcessCheck(Check):
    """A check on one process. `cost` orders them: the dear ones are asked last."""

    cost: int

    def verdict(self, facts: Facts) -> bool | None:
        """Whether what is asked is so; None where that cannot be known."""
        raise NotImplementedError

    def holds(self, facts: Facts) -> bool:
        """The verdict, turned round by `!`."""
        raw = self.verdict(facts)
        return raw is not None and raw != self.inverted


@dataclass(slots=True, kw_only=True, eq=False)
class TextCheck(ProcessCheck):
    """A regular expression on the texts that a process has of a kind; for some a number will do."""

    pattern: TextPattern
    number: int | None = None

    def verdict(self, facts: Facts) -> bool | None:
        """See `ProcessCheck`."""
        match self.field:
            case "names":
                return self.pattern.matches(facts.name)
            case "cmdlines":
                arguments = facts.arguments
                return None if arguments is None else self._in_arguments(facts, arguments)
            case "exes":
                return self.pattern.matches(facts.executable.path) if facts.executable else None
            case "users":
                return None if facts.owner is None else self._among(facts.owner.numbers, facts.owner.names)
            case "parents":
                return self._among((facts.parent,), facts.parent_texts())
            case _:
                return None if facts.open_files is None else bool(self.matching(facts.open_files))

    def matching(self, texts: Iterable[bytes]) -> list[bytes]:
        """Those that it matches."""
        return [text for text in texts if self.pattern.matches(text)]

    def _among(self, numbers: Iterable[int], texts: Iterable[bytes]) -> bool:
        if self.number is not None:
            return self.number in numbers
        return any(self.pattern.matches(text) for text in texts)

    def _in_arguments(self, facts: Facts, arguments: bytes) -> bool | None:
        """Of a process of this run that was given the pattern itself in its arguments, that is no verdict."""
        if facts.is_ours and self.pattern.text.encode() in arguments:
            return None
        return self.pattern.matches(arguments)


@dataclass(slots=True, kw_only=True, eq=False)
class PidCheck(ProcessCheck):
    """One process id."""

    number: int

    def verdict(self, facts: Facts) -> bool:
        """See `ProcessCheck`."""
        return facts.pid == self.number


@dataclass(slots=True, kw_only=True, eq=False)
class StartedCheck(ProcessCheck):
    """Started later than so long before the run, or earlier; neither includes the moment itself."""

    later: bool
    period_ns: int

    def verdict(self, facts: Facts) -> bool:
        """See `ProcessCheck`."""
        moment = facts.now_ns - self.period_ns
        return facts.started_ns > moment if self.later else facts.started_ns < moment


@dataclass(slots=True, kw_only=True, eq=False)
class DeletedCheck(ProcessCheck):
    """The executable has no name any more."""

    def verdict(self, facts: Facts) -> bool | None:
        """See `ProcessCheck`."""
        return facts.executable.deleted if facts.executable else None


@dataclass(slots=True, kw_only=True, eq=False)
class HashCheck(ProcessCheck):
    """A digest of the executable."""

    algorithm: str
    expected: str
    """Upper case."""

    def verdict(self, facts: Facts) -> bool | None:
        """See `ProcessCheck`."""
        digest = facts.digest(self.algorithm)
        return None if digest is None else digest == self.expected


_COSTS: Final = {
    "pids": 0, "names": 1, "started": 1, "parents": 2, "users": 3, "exes": 4, "deleted": 5, "cmdlines": 6,
    "openfiles": 7, "md5": 8, "sha1": 8, "sha2": 8, "sha3": 8,
}  # fmt: skip


def make_plans(searches: Mapping[str, Search]) -> list[Plan]:
    """The searches ready to run.

    Raises:
        BadParameters, BadRegex: a value is none of its kind; the message starts with the parameter's path.
    """
    check_labels(searches)
    share = pattern_share(searches, REGEX_LISTS)
    plans = [_make_plan(label, search, share) for label, search in searches.items()]
    check_count(plans)
    return plans


def _make_plan(label: str, search: Search, share: int) -> Plan:
    shown = search_json(search, LISTS, _options(search))
    checks: list[ProcessCheck] = []
    if search.deleted:
        shown["deleted"] = True
    if not search.deleted or any(getattr(search, name) for name in LISTS):
        checks += [_check(name, where, value, share) for name, where, value in values_of(label, search, LISTS)]
    if search.deleted:
        checks.append(DeletedCheck(value="true", **_common("deleted")))
    return Plan(
        label=label,
        checks=checks,
        search=shown,
        matchall=search.options.matchall,
        matchlimit=search.options.matchlimit or float("inf"),
    )


def _options(search: Search) -> dict[str, Any]:
    options = search.options
    return {"matchall": options.matchall, "matchlimit": options.matchlimit, "returnsha256": options.returnsha256}


def _common(name: str) -> dict[str, Any]:
    return {"kind": KINDS[name], "field": name, "cost": _COSTS[name]}


def _check(name: str, where: str, value: str, share: int) -> ProcessCheck:
    common = {"value": value, **_common(name)}
    if name in REGEX_LISTS:
        negated = value.startswith("!") and value != "!"
        text = value[1:] if negated else value
        number = int(text) if name in ("users", "parents") and _is_number(text) else None
        pattern = text_pattern(text, where, memory_bytes=share)
        return TextCheck(pattern=pattern, number=number, inverted=negated, **common)
    if name == "pids":
        if not (_is_number(value) and 0 < int(value) <= _MAX_PID):
            raise BadParameters(f"{where}: {value[:40]!r} is no process id")
        return PidCheck(number=int(value), **common)
    if name == "started":
        later, period_ns = parse_period(value, where)
        return StartedCheck(later=later, period_ns=period_ns, **common)
    expected = value.upper()
    return HashCheck(algorithm=hash_algorithm(name, value, where), expected=expected, **{**common, "value": expected})


def _is_number(text: str) -> bool:
    """Whether it may be the number of a process or user; what is longer, Python may refuse to convert."""
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
