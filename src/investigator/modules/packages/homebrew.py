"""Homebrew's packages, from its folders: `Cellar/NAME/VERSION` for formulae, `Caskroom/NAME/VERSION` for casks.

brew itself is a program of the user who installed it, and is not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.modules.file.opening import join, path_text
from investigator.modules.packages.interface import MAX_NAME_BYTES, MAX_PACKAGES, Package, printable
from investigator.modules.packages.reading import could_not_read, existing, out_of_time, read_file, subfolders

if TYPE_CHECKING:
    from investigator.modules.notes import Notes

_PREFIXES: Final = ("/opt/homebrew", "/usr/local", "/usr/local/Homebrew", "/home/linuxbrew/.linuxbrew")
_SHELVES: Final = (("brew", "Cellar"), ("cask", "Caskroom"))
_MAX_RECEIPT_BYTES: Final = 1 << 20


class Homebrew:
    """See the file's docstring."""

    kind = "brew"

    def present(self, root: bytes) -> bool:
        """Whether there is a Cellar or a Caskroom."""
        return any(existing(root, tuple(f"{prefix}/{shelf}" for prefix in _PREFIXES)) for _, shelf in _SHELVES)

    def packages(self, root: bytes, deadline_s: float, notes: Notes) -> list[Package]:
        """What is installed."""
        found: list[Package] = []
        for kind, shelf in _SHELVES:
            for path in existing(root, tuple(f"{prefix}/{shelf}" for prefix in _PREFIXES)):
                for name in _readable(path, notes):
                    if out_of_time(deadline_s, path, notes):
                        return found
                    if len(found) >= MAX_PACKAGES:
                        notes.note(
                            f"Homebrew has more than {MAX_PACKAGES:,} packages: those after {path_text(path)} are left out"
                        )
                        return found
                    found += _versions(join(path, name), name, kind, notes)
        return found


def _versions(folder: bytes, name: bytes, kind: str, notes: Notes) -> list[Package]:
    """One package for each version of a formula or cask; hidden folders are Homebrew's own."""
    return [
        Package(
            printable(name), printable(version), kind, _architecture(join(folder, version)) if kind == "brew" else ""
        )
        for version in _readable(folder, notes)
        if not version.startswith(b".") and len(version) <= MAX_NAME_BYTES
    ]


def _readable(path: bytes, notes: Notes) -> list[bytes]:
    try:
        return subfolders(path)
    except (OSError, ValueError) as error:
        notes.error(could_not_read(path, error))
        return []


def _architecture(keg: bytes) -> str:
    """What the keg's receipt says it was built for; empty where it says nothing."""
    try:
        receipt: Any = orjson.loads(read_file(join(keg, b"INSTALL_RECEIPT.json"), max_bytes=_MAX_RECEIPT_BYTES))
    except (OSError, ValueError):
        return ""
    arch = receipt.get("arch") if isinstance(receipt, dict) else None
    return arch if isinstance(arch, str) and len(arch) <= MAX_NAME_BYTES else ""
