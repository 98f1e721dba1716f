"""The pkg module: installed packages by name and version, from the package managers' own databases."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.durations import duration_text
from investigator.modules.findings import Findings
from investigator.modules.interface import MASK, Context, Spec
from investigator.modules.notes import WARNING
from investigator.modules.packages import installed
from investigator.modules.pkg.parameters import Parameters, PkgFlags, make_matcher, parameters_of_flags
from investigator.modules.pkg.report import package_json, result_lines
from investigator.modules.processes.crew import end_before
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROOM_BYTES: Final = 64 << 10
"""Of a result, what is left for all but the packages."""


class PkgModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="pkg",
        summary="find installed packages by name and version",
        parameters=Parameters,
        flags=PkgFlags,
        details=(
            "Lists packages of dpkg, rpm, apk, pacman and Homebrew, and Windows' programs, whichever are there. The databases "
            "are read directly, so dpkg, apk and pacman need not work or even be there; an rpm database is read by "
            "/usr/bin/rpm.\n\n"
            "A package is listed when its files are on the disk: held packages and such as wait for their configuration "
            "or for triggers too, but not those of which only configuration is left.\n\n"
            "A name's expression is tried on the name as the manager shows it, and for dpkg's qualified names on the bare one: "
            "both '^libc6$' and '^libc6:amd64$' find libc6:amd64. A host without any package database answers with a "
            "failure, since nothing found would be no answer."
        ),
        examples=(
            ("every bash that is installed, and its version", "-name '^bash$'"),
            ("C libraries and OpenSSL", "-name '^libc6$' -name '^glibc$' -name openssl"),
            ("a package that is not at version 3", "-name '^openssl$' -version '!^3\\.'"),
        ),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:  # noqa: ARG002 - no paths here
        """Raise `BadParameters` or `BadRegex`, starting with the parameter's path."""
        make_matcher(parameters)

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """MIG's `pkgmatch` and `vermatch`."""
        return parameters_of_flags(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Read every database that there is; a failure if there is none that could be read."""
        started_ns = time.monotonic_ns()
        pick = make_matcher(parameters)
        inventory = installed(deadline_s=end_before(context.deadline_s))
        wanted, errors = pick(inventory.packages), list(inventory.errors)
        findings = Findings(context, room_bytes=_ROOM_BYTES)
        found = findings.slot("packages")
        for package in wanted:
            if not findings.add(found, package_json(package)):
                more = len(wanted) - found.found
                errors.append(f"{WARNING}{more} more packages match than a result can hold; they are not returned")
                break
        statistics = {"execruntime": duration_text(time.monotonic_ns() - started_ns)}
        if not inventory.complete and not inventory.packages:
            return Result(statistics=statistics, errors=errors)
        return Result(
            foundanything=bool(wanted),
            success=True,
            elements=findings.rest(empty=[]),
            statistics=statistics,
            errors=errors or None,
        )

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """See `report.result_lines`."""
        return result_lines(result, everything=everything)

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002 - the interface
        """The result for extra privacy mode: packages name nobody and stay, as in MIG; errors name files."""
        errors = result.get("errors")
        return {**result, "errors": errors and [MASK for _ in errors]}


MODULE = PkgModule()
