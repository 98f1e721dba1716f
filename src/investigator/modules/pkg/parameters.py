"""What may be asked about packages: MIG's JSON names and flags, and their validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from investigator.errors import BadParameters, BadRegex
from investigator.modules.file.names import NamePattern, joined_names
from investigator.modules.interface import flag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from investigator.modules.packages import Package

MAX_NAMES: Final = 1000

Matcher = Callable[["Sequence[Package]"], "list[Package]"]


class PkgMatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which names."""

    matches: list[str] = []


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Packages that match one of the names, and the version if there is one."""

    pkgmatch: PkgMatch
    vermatch: str = ""


class PkgFlags(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The same as the command line writes it."""

    name: Annotated[list[str], flag("name", "regex on the package's name; any of them", value="REGEX")] = []
    version: Annotated[str, flag("version", "regex on the version; a leading ! inverts", value="REGEX")] = ""


def parameters_of_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The operation's parameters from the JSON of a `PkgFlags`."""
    parameters: dict[str, Any] = {"pkgmatch": {"matches": list(values.get("name", ()))}}
    if "version" in values:
        parameters["vermatch"] = values["version"]
    return parameters


def make_matcher(parameters: Parameters) -> Matcher:
    """What picks the packages that were asked for, in the order in which they are given.

    Raises:
        BadParameters: no name, too many, or an empty one; BadRegex: one does not compile.
    """
    patterns = list(dict.fromkeys(parameters.pkgmatch.matches))
    if not patterns:
        raise BadParameters("pkgmatch.matches: a search needs at least one name", hint="-name REGEX says which.")
    if len(patterns) > MAX_NAMES:
        raise BadParameters(f"pkgmatch.matches: {len(patterns):,} names; {MAX_NAMES:,} at most")
    names = [_compiled(pattern, f"pkgmatch.matches[{place}]") for place, pattern in enumerate(patterns)]
    version = parameters.vermatch
    wanted = not (version.startswith("!") and len(version) > 1)
    judge = _compiled(version if wanted else version[1:], "vermatch") if version else None

    def pick(packages: Sequence[Package]) -> list[Package]:
        found = [packages[place] for place in _named(packages, names)]
        return [one for one in found if judge is None or judge.matches(one.version.encode()) is wanted]

    return pick


def _named(packages: Sequence[Package], patterns: list[NamePattern]) -> list[int]:
    """The places of the packages whose shown or bare name one of the patterns matches; all names are searched at once."""
    owners = list(range(len(packages)))
    names = [one.name.encode() for one in packages]
    for place, package in enumerate(packages):
        if ":" in package.name and package.bare_name != package.name:
            owners.append(place)
            names.append(package.bare_name.encode())
    joined = joined_names(names)
    return sorted({owners[at] for pattern in patterns for at in pattern.among(names, joined)})


def _compiled(pattern: str, where: str) -> NamePattern:
    if not pattern:
        raise BadParameters(f"{where}: is empty")
    try:
        return NamePattern(pattern)
    except BadRegex as error:
        raise error.at(where) from None
