"""Arch Linux's packages, from pacman's own database: a folder per package whose `desc` has `%NAME%`, `%VERSION%`, `%ARCH%`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import join, path_text
from investigator.modules.packages.interface import MAX_NAME_BYTES, MAX_PACKAGES, Package, printable
from investigator.modules.packages.reading import below, could_not_read, out_of_time, read_file, subfolders

if TYPE_CHECKING:
    from investigator.modules.notes import Notes

_LOCAL: Final = "/var/lib/pacman/local"
_MAX_DESC_BYTES: Final = 1 << 20


class Pacman:
    """See the file's docstring."""

    kind = "pacman"

    def present(self, root: bytes) -> bool:
        """Whether there is a database; the program alone, as Debian has it, comes without."""
        return os.path.lexists(join(below(root, _LOCAL), b"ALPM_DB_VERSION"))

    def packages(self, root: bytes, deadline_s: float, notes: Notes) -> list[Package]:
        """What is installed; raises OSError or ValueError if the database's folder cannot be read."""
        local = below(root, _LOCAL)
        found: list[Package] = []
        for name in subfolders(local)[:MAX_PACKAGES]:
            if out_of_time(deadline_s, local, notes):
                break
            path = join(join(local, name), b"desc")
            try:
                package = parse_desc(read_file(path, max_bytes=_MAX_DESC_BYTES))
            except (OSError, ValueError) as error:
                notes.error(could_not_read(path, error))
                continue
            if package is None:
                notes.error(f"{path_text(path)} names no package and version")
            else:
                found.append(package)
        return found


def parse_desc(text: bytes) -> Package | None:
    """The package that a `desc` describes; None: it describes none."""
    name, version, arch = (_value(b"\n" + text, key) for key in (b"\n%NAME%\n", b"\n%VERSION%\n", b"\n%ARCH%\n"))
    if not (name and version) or max(len(name), len(version), len(arch)) > MAX_NAME_BYTES:
        return None
    return Package(printable(name), printable(version), "pacman", printable(arch))


def _value(text: bytes, head: bytes) -> bytes:
    at = text.find(head)
    if at < 0:
        return b""
    start = at + len(head)
    end = text.find(b"\n", start)
    return text[start : end if end >= 0 else len(text)].strip()
