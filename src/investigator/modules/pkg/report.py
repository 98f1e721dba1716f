"""Packages as MIG's JSON and as MIG prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.protocol.codec import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.modules.packages import Package

_WARNING: Final = "warning: "
_MAX_CHARACTERS: Final = 5000


def package_json(package: Package) -> tuple[dict[str, str], int]:
    """A package as a result has it, and how many bytes that takes."""
    shown = {"name": package.name, "version": package.version, "type": package.type, "arch": package.arch}
    return shown, len(orjson.dumps(shown)) + 1


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """Packages and warnings; with `everything` also errors and statistics."""
    for one in (result.get("elements") or {}).get("packages") or ():
        text = f"pkgmatch name={one['name']} version={one['version']} type={one['type']} arch={one['arch']}"
        yield one_line(text, at_most=_MAX_CHARACTERS)
    for text in result.get("errors") or ():
        if everything or text.startswith(_WARNING):
            yield text
    statistics = result.get("statistics")
    if everything and statistics:
        yield f"Statistics: runtime {statistics['execruntime']}"
