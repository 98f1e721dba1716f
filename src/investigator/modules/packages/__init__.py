"""The packages that are installed, whichever manager installed them: one file per manager, behind `interface.Manager`.

Databases are read, not managers run, wherever the format is plain text; rpm alone is asked. All that is read counts as
written by an attacker: capped, its type checked on the descriptor, and never executed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from investigator.modules.notes import Notes
from investigator.modules.packages.apk import Apk
from investigator.modules.packages.dpkg import Dpkg
from investigator.modules.packages.homebrew import Homebrew
from investigator.modules.packages.interface import Manager, Package
from investigator.modules.packages.pacman import Pacman
from investigator.modules.packages.reading import reason_of
from investigator.modules.packages.rpm import Rpm
from investigator.modules.packages.windows import WindowsPrograms

if TYPE_CHECKING:
    from collections.abc import Sequence

MANAGERS: Final[tuple[Manager, ...]] = (Dpkg(), Rpm(), Apk(), Pacman(), Homebrew(), WindowsPrograms())
NO_DATABASE: Final = "no package database was found: looked for those of dpkg, rpm, apk, pacman, Homebrew and Windows"


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is installed on this host."""

    packages: list[Package]
    errors: list[str]
    """What could not be read; what is missing for that is not among the packages."""
    complete: bool
    """Whether a manager's database was found, and everything in each that was found was read."""


def installed(
    *, deadline_s: float = float("inf"), root: bytes = b"/", managers: Sequence[Manager] = MANAGERS
) -> Inventory:
    """The packages of every manager that has a database here, sorted by name and version."""
    packages: list[Package] = []
    notes = Notes()
    found = False
    for manager in managers:
        if not manager.present(root):
            continue
        found = True
        try:
            packages += manager.packages(root, deadline_s, notes)
        except (OSError, ValueError) as error:
            notes.error(f"could not read the packages of {manager.kind}: {reason_of(error)}")
    if not found:
        notes.error(NO_DATABASE)
    packages.sort()
    errors = notes.texts() or []
    return Inventory(packages, errors, complete=not errors)


__all__ = ["MANAGERS", "NO_DATABASE", "Inventory", "Package", "installed"]
