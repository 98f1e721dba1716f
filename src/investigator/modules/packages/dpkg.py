"""Debian's packages, from dpkg's own database: no program is run, so the answer is the file's and costs a few milliseconds.

The database is `status` (deb822 stanzas, deb-control(5)), overridden by the stanzas in `updates/` that an interrupted
dpkg left, and `status.d/` in images that were built without dpkg (stanzas without a Status). Listed is what has its files
on the disk, whatever is wanted of it: held, half-configured and awaiting triggers too, not what only left configuration.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import join
from investigator.modules.packages.interface import MAX_NAME_BYTES, MAX_PACKAGES, Package, printable
from investigator.modules.packages.reading import below, could_not_read, folder_names, out_of_time, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from investigator.modules.notes import Notes

ADMIN_FOLDER: Final = "/var/lib/dpkg"
_UNPACKED: Final = frozenset((b"installed", b"unpacked", b"half-configured", b"triggers-awaited", b"triggers-pending"))
_MAX_STANZA_BYTES: Final = 1 << 20
_HEADS: Final = (b"\nPackage:", b"\nStatus:", b"\nArchitecture:", b"\nVersion:")

Entry = tuple[bytes, bytes, bytes, bytes, bool]
"""Name, version, architecture, state (empty without Status), whether several architectures can be installed."""


class Dpkg:
    """See the file's docstring."""

    kind = "dpkg"

    def present(self, root: bytes) -> bool:
        """Whether there is a database."""
        admin = below(root, ADMIN_FOLDER)
        return any(os.path.lexists(join(admin, name)) for name in (b"status", b"status.d"))

    def packages(self, root: bytes, deadline_s: float, notes: Notes) -> list[Package]:
        """What is installed; raises OSError or ValueError if there is a `status` and it cannot be read."""
        admin = below(root, ADMIN_FOLDER)
        entries: dict[tuple[bytes, bytes], Entry] = {}
        status = join(admin, b"status")
        if os.path.lexists(status):
            unreadable = 0
            for entry in read_stanzas(read_file(status)):
                if entry is None or not entry[3]:
                    unreadable += 1
                else:
                    entries[entry[0], entry[2]] = entry
            if unreadable:
                notes.error(f"{printable(status)}: {unreadable} entries are none that can be read")
        for folder, stated in ((join(admin, b"updates"), True), (join(admin, b"status.d"), False)):
            for entry in _small_files(folder, deadline_s, notes):
                if bool(entry[3]) or not stated:
                    entries[entry[0], entry[2]] = entry
        return _listed(entries, _native(admin, entries))


def read_stanzas(text: bytes) -> Iterator[Entry | None]:
    """The stanzas of a status file; None for one that lacks what every package has.

    Raises:
        ValueError: there are more than any system has.
    """
    text = b"\n" + text
    start = count = 0
    size = len(text)
    while start < size:
        end = text.find(b"\n\n", start + 1)
        end = size if end < 0 else end
        if end > start + 1 and not text[start : start + 64].isspace():
            count += 1
            if count > MAX_PACKAGES:
                raise ValueError(f"more than {MAX_PACKAGES:,} entries")
            yield _entry(text, start, end)
        start = end + 1


def _entry(text: bytes, start: int, end: int) -> Entry | None:
    """The stanza of `text[start:end]`, which begins with the newline before it."""
    if end - start > _MAX_STANZA_BYTES:
        return None
    values: list[bytes] = []
    for head in _HEADS:
        at = text.find(head, start, end)
        if at < 0:
            values.append(_other_spelling(text[start:end], head))
            continue
        at += len(head)
        stop = text.find(b"\n", at, end)
        values.append(text[at : end if stop < 0 else stop].strip())
    name, status, arch, version = values
    words = status.split()
    state = words[2] if len(words) == 3 else b""
    if status and not state:
        return None
    if state and state not in _UNPACKED:
        return name, version, arch, state, False
    if not (name and version) or max(len(name), len(version), len(arch)) > MAX_NAME_BYTES:
        return None
    return name, version, arch, state, text.find(b"\nMulti-Arch: same", start, end) >= 0


def _other_spelling(stanza: bytes, head: bytes) -> bytes:
    """The field in other letters than dpkg writes, for names of fields are compared without case; else nothing."""
    at = stanza.lower().find(head.lower())
    if at < 0:
        return b""
    at += len(head)
    stop = stanza.find(b"\n", at)
    return stanza[at : len(stanza) if stop < 0 else stop].strip()


def _small_files(folder: bytes, deadline_s: float, notes: Notes) -> Iterator[Entry]:
    """The stanzas of a folder's files, in the order of their names; checksums beside them are none."""
    if not os.path.lexists(folder):
        return
    try:
        names = folder_names(folder)
    except (OSError, ValueError) as error:
        notes.error(could_not_read(folder, error))
        return
    for name, is_folder in names:
        if is_folder or name.startswith(b".") or name.endswith((b".md5sums", b".preinst", b".postinst")):
            continue
        if out_of_time(deadline_s, folder, notes):
            return
        try:
            entries = list(read_stanzas(read_file(join(folder, name), max_bytes=_MAX_STANZA_BYTES)))
        except (OSError, ValueError) as error:
            notes.error(could_not_read(join(folder, name), error))
            continue
        if None in entries:
            notes.error(f"{printable(join(folder, name))}: holds an entry that is none")
        yield from (entry for entry in entries if entry is not None)


def _native(admin: bytes, entries: dict[tuple[bytes, bytes], Entry]) -> bytes:
    """The system's own architecture: the first in dpkg's list, else dpkg's own package's."""
    path = join(admin, b"arch")
    if os.path.lexists(path):
        try:
            words = read_file(path, max_bytes=_MAX_STANZA_BYTES).split()
        except (OSError, ValueError):
            words = []
        if words:
            return words[0]
    return next((arch for name, arch in entries if name == b"dpkg"), b"")


def _listed(entries: dict[tuple[bytes, bytes], Entry], native: bytes) -> list[Package]:
    found: list[Package] = []
    for name, version, arch, state, several in entries.values():
        if state and state not in _UNPACKED:
            continue
        shown = name + b":" + arch if arch and (several or (native and arch not in (native, b"all"))) else name
        found.append(Package(printable(shown), printable(version), "dpkg", printable(arch)))
    return found
