"""What may be asked of accounts: the JSON, its flags, and each value as a check; a search is valid if its checks can be made."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from investigator.errors import BadParameters, BadRegex
from investigator.modules.interface import flag
from investigator.modules.user.accounts import MAX_ID
from investigator.protocol.regex import compile_regex, tolerant

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.modules.user.host import Person

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
MAX_VALUES: Final = 1000
MAX_REGEX_BYTES: Final = 128 << 20
"""The memory of all patterns together."""
_NEVER: Final = "never"
_UIDS: Final = re.compile(r"([<>]?)([0-9]{1,10})", re.ASCII)
_PERIOD: Final = re.compile(r"([<>])([0-9]{1,9})([dhm])", re.ASCII)
_PERIOD_UNITS_S: Final = {"d": 86_400, "h": 3600, "m": 60}
_REGEX_KINDS: Final = ("name", "group", "shell", "home", "comment", "sudo")


class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How checks are combined, and where the list ends."""

    matchall: Annotated[bool, flag("matchall", "an account matches when all checks hold", default=True)] = True
    matchlimit: Annotated[
        Count, flag("matchlimit", "return at most so many accounts; 0: no limit", value="N", default=1000)
    ] = 0


class OptionsFlags(Options, kw_only=True, forbid_unknown_fields=True):
    """The options with the flag that is not in the JSON."""

    matchany: Annotated[bool, flag("matchany", "one check is enough; wins over matchall")] = False


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Checks on accounts; at least one. A leading `!` inverts a regular expression."""

    names: Annotated[list[str], flag("name", "regex on the account's name; a leading ! inverts", value="REGEX")] = []
    uids: Annotated[list[str], flag("uid", "[<>]N: at most, at least, or exactly", value="UID")] = []
    groups: Annotated[
        list[str], flag("group", "regex on any of its groups' names; a leading ! inverts", value="REGEX")
    ] = []
    shells: Annotated[list[str], flag("shell", "regex on the login shell; a leading ! inverts", value="REGEX")] = []
    homes: Annotated[list[str], flag("home", "regex on the home folder; a leading ! inverts", value="REGEX")] = []
    comments: Annotated[
        list[str], flag("comment", "regex on the comment (GECOS) field; a leading ! inverts", value="REGEX")
    ] = []
    passwords: Annotated[
        list[Literal["none", "locked", "set", "unknown"]],
        flag("password", "the password's state: none, locked, set or unknown; any of those given", value="STATE"),
    ] = []
    lastlogins: Annotated[
        list[str],
        flag("lastlogin", "<N or >N and d, h, m: a login since then, or none; never: none at all", value="PERIOD"),
    ] = []
    sudo: Annotated[
        list[str], flag("sudo", "regex on any of the sudo rules for it; a leading ! inverts", value="REGEX")
    ] = []
    options: Options = msgspec.field(default_factory=Options)


class ParametersFlags(Parameters, kw_only=True, forbid_unknown_fields=True):
    """The same as the command line writes it."""

    options: OptionsFlags = msgspec.field(default_factory=OptionsFlags)


def parameters_of_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters from the JSON of a `ParametersFlags`."""
    options = dict(values.get("options", {}))
    if options.pop("matchany", False):
        options["matchall"] = False
    return {**values, "options": options}


@dataclass(frozen=True, slots=True)
class RegexCheck:
    """A regular expression on the texts of one kind."""

    kind: str
    regex: Any
    inverted: bool

    def holds(self, person: Person, now_s: float) -> bool:  # noqa: ARG002 - one signature for all
        """The verdict: some text of the account matches, or with `!` none does."""
        return any(self.matches(text) for text in person.texts(self.kind)) != self.inverted

    def matches(self, text: bytes) -> bool:
        """Whether the expression itself does."""
        return self.regex.search(tolerant(text)) is not None


@dataclass(frozen=True, slots=True)
class UidCheck:
    """A range of uids, both ends included."""

    least: int
    most: int
    kind = "uid"

    def holds(self, person: Person, now_s: float) -> bool:  # noqa: ARG002 - one signature for all
        """The verdict."""
        return self.least <= person.account.uid <= self.most


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """One of several states."""

    states: frozenset[str]
    kind = "password"

    def holds(self, person: Person, now_s: float) -> bool:  # noqa: ARG002 - one signature for all
        """The verdict."""
        return person.account.password in self.states


@dataclass(frozen=True, slots=True)
class LoginCheck:
    """A login within a period before the run; or none within it, which an account that never logged in has neither."""

    recent: bool
    period_s: int | None
    kind = "lastlogin"

    def holds(self, person: Person, now_s: float) -> bool:
        """The verdict; without a period: never."""
        login = person.login
        if self.period_s is None:
            return login is None
        return (login is not None and login.time_s > now_s - self.period_s) == self.recent


Check = RegexCheck | UidCheck | PasswordCheck | LoginCheck


def make_checks(parameters: Parameters) -> list[Check]:
    """Every value as a check.

    Raises:
        BadParameters: none at all, too many, or a value that is none of its kind; it begins with the list's name.
        BadRegex: likewise.
    """
    lists = {
        "names": parameters.names, "groups": parameters.groups, "shells": parameters.shells, "homes": parameters.homes,
        "comments": parameters.comments, "sudo": parameters.sudo,
    }  # fmt: skip
    count = sum(len(values) for values in lists.values())
    total = count + len(parameters.uids) + len(parameters.passwords) + len(parameters.lastlogins)
    if not total:
        raise BadParameters("names: a search needs at least one check", hint="-name . lists every account.")
    if total > MAX_VALUES:
        raise BadParameters(f"names: {total:,} checks in all; {MAX_VALUES:,} at most")
    checks: list[Check] = []
    for (field, values), kind in zip(lists.items(), _REGEX_KINDS, strict=True):
        checks += (_regex(field, kind, value, MAX_REGEX_BYTES // max(count, 1)) for value in values)
    checks += map(_uids, parameters.uids)
    if parameters.passwords:
        checks.append(PasswordCheck(frozenset(parameters.passwords)))
    checks += map(_login, parameters.lastlogins)
    return checks


def only_regexes(checks: list[Check], kind: str) -> Iterator[RegexCheck]:
    """The expressions of one kind that are not inverted."""
    return (one for one in checks if isinstance(one, RegexCheck) and one.kind == kind and not one.inverted)


def _regex(field: str, kind: str, value: str, memory_bytes: int) -> RegexCheck:
    pattern = value.removeprefix("!")
    if not pattern:
        raise BadParameters(f"{field}: an empty regular expression matches everything; `.` says so")
    try:
        return RegexCheck(kind, compile_regex(pattern, memory_bytes=memory_bytes), value.startswith("!"))
    except BadRegex as error:
        raise error.at(field) from None


def _uids(value: str) -> UidCheck:
    found = _UIDS.fullmatch(value)
    if found is None or int(found[2]) > MAX_ID:
        raise BadParameters(f"uids: {value[:40]!r} is not of the form [<>]N, N up to {MAX_ID}")
    uid = int(found[2])
    return UidCheck(0 if found[1] == "<" else uid, MAX_ID if found[1] == ">" else uid)


def _login(value: str) -> LoginCheck:
    if value == _NEVER:
        return LoginCheck(recent=False, period_s=None)
    found = _PERIOD.fullmatch(value)
    if found is None:
        raise BadParameters(f"lastlogins: {value[:40]!r} is not of the form <N or >N and d, h or m, nor `never`")
    return LoginCheck(found[1] == "<", int(found[2]) * _PERIOD_UNITS_S[found[3]])
