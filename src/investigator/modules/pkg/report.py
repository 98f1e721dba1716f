"""Packages as MIG's JSON and as MIG prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from investigator.modules.notes import note_lines
from investigator.protocol.codec import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.modules.packages import Package

_MAX_CHARACTERS: Final = 5000


def package_json(package: Package) -> dict[str, str]:
    """A package as a result has it."""
    return {"name": package.name, "version": package.version, "type": package.type, "arch": package.arch}


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """Packages and warnings; with `everything` also errors and statistics."""
    for one in (result.get("elements") or {}).get("packages") or ():
        text = f"pkgmatch name={one['name']} version={one['version']} type={one['type']} arch={one['arch']}"
        yield one_line(text, at_most=_MAX_CHARACTERS)
    yield from note_lines(result, everything=everything)
    statistics = result.get("statistics")
    if everything and statistics:
        yield f"Statistics: runtime {statistics['execruntime']}"
