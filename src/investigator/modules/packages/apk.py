"""Alpine's packages, from apk's own database: stanzas of `P:` name, `V:` version, `A:` architecture and more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import path_text
from investigator.modules.packages.interface import MAX_NAME_BYTES, MAX_PACKAGES, Package, printable
from investigator.modules.packages.reading import existing, read_file

if TYPE_CHECKING:
    from investigator.modules.notes import Notes

_PATHS: Final = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")


class Apk:
    """See the file's docstring."""

    kind = "apk"

    def present(self, root: bytes) -> bool:
        """Whether there is a database."""
        return bool(existing(root, _PATHS))

    def packages(self, root: bytes, deadline_s: float, notes: Notes) -> list[Package]:  # noqa: ARG002 - one file
        """What is installed; raises OSError or ValueError if the database cannot be read."""
        path = existing(root, _PATHS)[0]
        found, unreadable = parse_database(read_file(path))
        if unreadable:
            notes.error(f"{path_text(path)}: {unreadable} entries are none that can be read")
        return found


def parse_database(text: bytes) -> tuple[list[Package], int]:
    """The packages, and how many entries lack a name or a version."""
    found: list[Package] = []
    unreadable = 0
    for stanza in text.split(b"\n\n"):
        if not stanza.strip():
            continue
        name, version, arch = (_field(stanza, key) for key in (b"P:", b"V:", b"A:"))
        usable = name and version and max(len(name), len(version), len(arch)) <= MAX_NAME_BYTES
        if usable and len(found) < MAX_PACKAGES:
            found.append(Package(printable(name), printable(version), "apk", printable(arch)))
        else:
            unreadable += 1
    return found, unreadable


def _field(stanza: bytes, key: bytes) -> bytes:
    start = 0 if stanza.startswith(key) else stanza.find(b"\n" + key) + 1
    if start == 0 and not stanza.startswith(key):
        return b""
    end = stanza.find(b"\n", start)
    return stanza[start + len(key) : end if end >= 0 else len(stanza)].strip()
