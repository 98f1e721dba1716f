"""What one search asks of a file: each value of its lists as a check, and the search as a plan.

A verdict is what a check's test says, turned round by a leading `!`, by `mismatch`, or not at all by both. Values are
validated by being made into checks, at the console and on the agent alike.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BadParameters, BadRegex
from investigator.modules.durations import MAX_NS, NS_PER_S
from investigator.modules.file.content import ALL_PATTERNS_BYTES, LinePattern
from investigator.modules.file.names import NamePattern
from investigator.protocol.regex import compile_regex

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from investigator.modules.file.parameters import Search

    Verdict = Callable[[os.stat_result], bool]

Question = tuple[bool, str, bool]
"""What is asked of a file's lines: (decompressed, pattern, of every line)."""
Digest = tuple[bool, str]
"""A digest of a file's content: (decompressed, hashlib's name of the algorithm)."""

_SIZE: Final = re.compile(r"([<>]?)([0-9]{1,19})([kmgt]?)", re.ASCII)
_SIZE_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_PERIOD: Final = re.compile(r"([<>])([0-9]{1,19})([dhm])", re.ASCII)
_PERIOD_UNITS_NS: Final = {"d": 86_400 * NS_PER_S, "h": 3600 * NS_PER_S, "m": 60 * NS_PER_S}
_HASHES: Final[Mapping[str, Mapping[int, str]]] = {
    "md5": {32: "md5"},
    "sha1": {40: "sha1"},
    "sha2": {64: "sha256", 96: "sha384", 128: "sha512"},
    "sha3": {56: "sha3_224", 64: "sha3_256", 96: "sha3_384", 128: "sha3_512"},
}
MAX_SIZE: Final = 2**63 - 1

_MODE_LETTERS: Final = (  # Go's order; files are looked at through links, so there is no `L`
    (stat.S_ISDIR, "d"),
    (lambda mode: stat.S_ISBLK(mode) or stat.S_ISCHR(mode), "D"),
    (stat.S_ISFIFO, "p"),
    (stat.S_ISSOCK, "S"),
    (lambda mode: mode & stat.S_ISUID, "u"),
    (lambda mode: mode & stat.S_ISGID, "g"),
    (stat.S_ISCHR, "c"),
    (lambda mode: mode & stat.S_ISVTX, "t"),
)


def mode_text(mode: int) -> str:
    """Go's mode string: letters for what is special, `-` only if there are none, then nine places of `rwx`."""
    letters = "".join(letter for test, letter in _MODE_LETTERS if test(mode))
    places = "".join(letter if mode & (0o400 >> at) else "-" for at, letter in enumerate("rwxrwxrwx"))
    return (letters or "-") + places


@dataclass(slots=True, kw_only=True, eq=False)
class Check:
    """One value of one of a search's lists. `kind` is what `mismatch` and the printed lines call it."""

    kind: str
    field: str
    """Its list in the search's JSON."""
    value: str
    """As it is reported."""
    inverted: bool


@dataclass(slots=True, kw_only=True, eq=False)
class NameCheck(Check):
    """A regular expression on the base name."""

    pattern: NamePattern


@dataclass(slots=True, kw_only=True, eq=False)
class ModeCheck(Check):
    """A regular expression on the mode string."""

    regex: Any

    def at(self, now_ns: int) -> Verdict:  # noqa: ARG002 - one signature for the three
        """The verdict on a file's status."""
        search, inverted = self.regex.search, self.inverted
        known: dict[int, bool] = {}  # there are few modes

        def holds(status: os.stat_result) -> bool:
            mode = status.st_mode
            verdict = known.get(mode)
            if verdict is None:
                verdict = known[mode] = (search(mode_text(mode).encode()) is not None) != inverted
            return verdict

        return holds


@dataclass(slots=True, kw_only=True, eq=False)
class SizeCheck(Check):
    """A range of sizes on disk, both ends included."""

    least: int
    most: int

    def at(self, now_ns: int) -> Verdict:  # noqa: ARG002 - one signature for the three
        """The verdict on a file's status."""
        least, most = self.least, self.most
        if self.inverted:
            return lambda status: not least <= status.st_size <= most
        return lambda status: least <= status.st_size <= most


@dataclass(slots=True, kw_only=True, eq=False)
class MtimeCheck(Check):
    """Modified later than so long before the run, or earlier; neither includes the moment itself."""

    later: bool
    period_ns: int

    def at(self, now_ns: int) -> Verdict:
        """The verdict on a file's status, for a run at `now_ns`."""
        moment, inverted = now_ns - self.period_ns, self.inverted
        if self.later:
            return lambda status: (status.st_mtime_ns > moment) != inverted
        return lambda status: (status.st_mtime_ns < moment) != inverted


@dataclass(slots=True, kw_only=True, eq=False)
class ContentCheck(Check):
    """A regular expression on lines."""

    question: Question

    def holds(self, answers: Mapping[Question, bool]) -> bool:
        """The verdict; of a file that could not be read there is none, so that it never holds."""
        raw = answers.get(self.question)
        return raw is not None and raw != self.inverted


@dataclass(slots=True, kw_only=True, eq=False)
class HashCheck(Check):
    """A digest of the whole content."""

    digest: Digest
    expected: str
    """Upper case."""

    def holds(self, digests: Mapping[Digest, str]) -> bool:
        """The verdict; of a file that could not be read there is none, so that it never holds."""
        raw = digests.get(self.digest)
        return raw is not None and (raw == self.expected) != self.inverted


Cheap = ModeCheck | SizeCheck | MtimeCheck


@dataclass(slots=True, kw_only=True, eq=False)
class Plan:
    """A search ready to run, and how far it has come."""

    label: str
    search: Search
    names: list[NameCheck] = field(default_factory=list)
    cheap: list[Cheap] = field(default_factory=list)
    contents: list[ContentCheck] = field(default_factory=list)
    hashes: list[HashCheck] = field(default_factory=list)
    patterns: dict[str, LinePattern] = field(default_factory=dict)
    hits: int = 0
    paths: list[str] = field(default_factory=list)
    """Cleaned, as they are reported."""

    matchall: bool = False
    """Whether a file has to pass all checks."""
    maxdepth: float = float("inf")
    """Levels of folders to enter."""
    matchlimit: float = float("inf")

    @property
    def done(self) -> bool:
        """Whether its matchlimit is reached."""
        return self.hits >= self.matchlimit

    @property
    def has_checks(self) -> bool:
        """Whether there is anything to match."""
        return bool(self.names or self.cheap or self.contents or self.hashes)

    @property
    def reads(self) -> bool:
        """Whether files have to be opened for the verdict."""
        return bool(self.contents or self.hashes)

    @property
    def sha256(self) -> Digest | None:
        """The digest that is returned with each matched file, if one is."""
        return (self.search.options.decompress, "sha256") if self.search.options.returnsha256 else None

    def checks(self) -> Iterator[Check]:
        """All of them, in the order in which MIG reports them."""
        ordered: list[Check] = [*self.contents, *self.names, *self.cheap, *self.hashes]
        places = {name: place for place, name in enumerate(_ORDER)}
        yield from sorted(ordered, key=lambda check: places[check.field])


_ORDER: Final = ("contents", "names", "sizes", "modes", "mtimes", "md5", "sha1", "sha2", "sha3")


def make_plan(label: str, search: Search, *, patterns: int = 1) -> Plan:
    """The plan of a search; `patterns` is how many content patterns share the memory for their automata.

    Raises:
        BadParameters, BadRegex: a value is none of its kind; the message starts with the parameter's path.
    """
    options = search.options
    plan = Plan(
        label=label,
        search=search,
        matchall=options.matchall,
        maxdepth=options.maxdepth or float("inf"),
        matchlimit=options.matchlimit or float("inf"),
    )
    for name in ("names", "modes", "sizes", "mtimes", "contents", "regexes", *_HASHES):
        for value in getattr(search, name):
            where = f"searches.{label}.{name}"
            if not value:
                raise BadParameters(f"{where}: an empty value")
            try:
                _add(plan, name, value, where, ALL_PATTERNS_BYTES // patterns)
            except BadRegex as error:
                raise BadRegex(
                    f"{where}: {error}", pattern=error.pattern, position=error.position, hint=error.hint
                ) from None
    return plan


def _add(plan: Plan, name: str, value: str, where: str, memory_bytes: int) -> None:
    options = plan.search.options
    negated = name in ("names", "modes", "contents", "regexes") and value.startswith("!") and value != "!"
    regex = value[1:] if negated else value

    def common(kind: str, field: str, shown: str = value, *, negated: bool = negated) -> dict[str, Any]:
        return {"kind": kind, "field": field, "value": shown, "inverted": negated != (kind in options.mismatch)}

    match name:
        case "names":
            plan.names.append(NameCheck(pattern=NamePattern(regex), **common("name", name)))
        case "modes":
            plan.cheap.append(ModeCheck(regex=compile_regex(regex), **common("mode", name)))
        case "sizes":
            least, most = _size_range(value, where)
            plan.cheap.append(SizeCheck(least=least, most=most, **common("size", name)))
        case "mtimes":
            later, period_ns = parse_period(value, where)
            plan.cheap.append(MtimeCheck(later=later, period_ns=period_ns, **common("mtime", name)))
        case "contents" | "regexes":
            if regex not in plan.patterns:
                plan.patterns[regex] = LinePattern(regex, memory_bytes=memory_bytes)
            # under macroal `!` says "no line matches", which is "not some line", not "not every line"
            every = options.macroal and not negated
            question = (options.decompress, regex, every)
            plan.contents.append(ContentCheck(question=question, **common("content", "contents")))
        case _:
            algorithm = hash_algorithm(name, value, where)
            digest = (options.decompress, algorithm)
            expected = value.upper()
            plan.hashes.append(HashCheck(digest=digest, expected=expected, **common(name, name, expected)))


def _size_range(value: str, where: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(value)
    size = int(found[2]) * _SIZE_UNITS[found[3]] if found else -1
    if found is None or size > MAX_SIZE:
        raise BadParameters(
            f"{where}: {value[:40]!r} is no size", hint="[<>]N[kmgt], for example >10m or <4k or 0; powers of 1024."
        )
    return (0, size) if found[1] == "<" else (size, MAX_SIZE) if found[1] == ">" else (size, size)


def parse_period(value: str, where: str) -> tuple[bool, int]:
    """(whether later, nanoseconds) of `<2d`, `>3h`, `<10m`. Raises BadParameters, beginning with `where`."""
    found = _PERIOD.fullmatch(value)
    period_ns = int(found[2]) * _PERIOD_UNITS_NS[found[3]] if found else 0
    if found is None or period_ns > MAX_NS:
        raise BadParameters(
            f"{where}: {value[:40]!r} is no period",
            hint="<N or >N and d, h or m (minutes), for example <2d; at most 106751 days.",
        )
    return found[1] == "<", period_ns


def hash_algorithm(kind: str, value: str, where: str) -> str:
    """The name in hashlib of a digest of `md5`, `sha1`, `sha2` or `sha3`. Raises BadParameters, beginning with `where`."""
    lengths = _HASHES[kind]
    if re.fullmatch(r"[0-9A-Fa-f]+", value) is None or len(value) not in lengths:
        raise BadParameters(
            f"{where}: {value[:140]!r} is no {kind} in hex: {len(value)} characters",
            hint=f"{kind} has {' or '.join(map(str, lengths))} hexadecimal digits.",
        )
    return lengths[len(value)]
