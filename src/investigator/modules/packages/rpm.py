"""rpm's packages, through `rpm -qa`: its database has had four formats, and only rpm reads them all.

Signatures are not checked: that is not what is asked, and it is most of the time and of the parsers involved.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import join
from investigator.modules.packages.interface import MAX_NAME_BYTES, MAX_PACKAGES, Package, printable
from investigator.modules.packages.program import ProgramFailed, find_program, output_of
from investigator.modules.packages.reading import MAX_DATABASE_BYTES, below

if TYPE_CHECKING:
    from investigator.modules.notes import Notes

_PROGRAMS: Final = ("/usr/bin/rpm", "/bin/rpm")
_FOLDERS: Final = ("/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm")
_FILES: Final = (b"rpmdb.sqlite", b"Packages.db", b"Packages")
_FORMAT: Final = "%{NAME}\\t%{EVR}\\t%{ARCH}\\n"
_TIMEOUT_S: Final = 120.0
_MARGIN_S: Final = 1.0


class Rpm:
    """See the file's docstring."""

    kind = "rpm"

    def present(self, root: bytes) -> bool:
        """Whether there is a database: on Debian the program may well be there without one."""
        return _database(root) is not None

    def packages(self, root: bytes, deadline_s: float, notes: Notes) -> list[Package]:
        """What is installed.

        Raises:
            ProgramFailed: rpm is missing, fails, or takes longer than the deadline permits.
        """
        program, folder = find_program(_PROGRAMS), _database(root)
        if program is None or folder is None:
            raise ProgramFailed(f"there is a database of rpm, but no {_PROGRAMS[0]} to read it")
        # the database that was seen: rpm's own choice may be another, which it then creates
        database = ["--dbpath", os.fsdecode(folder)]
        command = [program, *database, "-qa", "--nodigest", "--nosignature", "--queryformat", _FORMAT]
        timeout_s = min(_TIMEOUT_S, deadline_s - time.monotonic() - _MARGIN_S)
        return parse_rows(output_of(command, timeout_s=timeout_s, max_bytes=MAX_DATABASE_BYTES), notes)


def parse_rows(text: bytes, notes: Notes) -> list[Package]:
    """The packages of `rpm -qa` in our format: name, [epoch:]version-release and architecture between tabs."""
    found: list[Package] = []
    unreadable = 0
    for row in text.split(b"\n"):
        fields = row.split(b"\t")
        if len(fields) == 3 and all(fields) and max(map(len, fields)) <= MAX_NAME_BYTES and len(found) < MAX_PACKAGES:
            name, version, arch = map(printable, fields)
            found.append(Package(name, version, "rpm", arch))
        elif row:
            unreadable += 1
    if unreadable:
        notes.error(f"rpm -qa: {unreadable} rows are none that can be read")
    return found


def _database(root: bytes) -> bytes | None:
    """The folder of the database."""
    for path in _FOLDERS:
        folder = below(root, path)
        if any(os.path.lexists(join(folder, name)) for name in _FILES):
            return folder
    return None
