"""Finding files for a policy: one walk below a root for all expressions that look there.

scribe's rules: ten levels of folders, the root being the first; links are followed to regular files only; what cannot
be read is skipped. A root that does not exist has no files, which is no error: policies ask for what a host may lack.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from investigator.errors import InvestigatorError
from investigator.modules.file.names import joined_names
from investigator.modules.file.opening import join, open_folder, path_text, reason

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from investigator.modules.file.names import NamePattern
    from investigator.modules.notes import Notes

MAX_LEVELS: Final = 10
MAX_FILES: Final = 100_000
"""That one object may find."""
MAX_FOLDERS: Final = 200_000
"""That wait to be looked into at the same time."""
_BATCH: Final = 4096
"""Entries of a folder that are looked at together: anybody may have filled a folder."""
_GONE: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ESRCH, errno.ELOOP))


class Undecided(InvestigatorError):
    """An object's values cannot be told; the tests on it are in error."""


def locate(root: bytes, patterns: Sequence[NamePattern], deadline_s: float, notes: Notes) -> list[list[bytes] | None]:
    """For each pattern the files whose base name it matches, sorted by path; None for one that matches too many.

    Raises:
        Undecided: the deadline came, or there are too many folders.
    """
    found: list[list[bytes] | None] = [[] for _ in patterns]
    pending = [(os.path.realpath(root), root, 1)]  # a root may be a link, as /etc is on some systems
    while pending:
        real, shown, level = pending.pop()
        with closing(_entries(real, notes)) as entries:
            for names, folders in entries:
                if time.monotonic() > deadline_s:
                    raise Undecided(f"out of time while looking for files in {path_text(root)}")
                _pick(names, shown, patterns, found)
                if level < MAX_LEVELS:
                    pending += [(join(real, name), join(shown, name), level + 1) for name in folders]
                if len(pending) > MAX_FOLDERS:
                    raise Undecided(f"more than {MAX_FOLDERS:,} folders in {path_text(root)}")
    return [files if files is None else sorted(files) for files in found]


def _pick(names: list[bytes], folder: bytes, patterns: Sequence[NamePattern], found: list[list[bytes] | None]) -> None:
    """Add the files whose names match; a pattern that finds too many finds none any more."""
    joined = joined_names(names)
    for place, pattern in enumerate(patterns):
        files = found[place]
        if files is not None:
            files += [join(folder, names[at]) for at in pattern.among(names, joined)]
            found[place] = files if len(files) <= MAX_FILES else None


def _entries(folder: bytes, notes: Notes) -> Generator[tuple[list[bytes], list[bytes]], None, None]:
    """The names of the regular files in a folder, links to such included, and of the folders; some at a time."""
    files: list[bytes] = []
    folders: list[bytes] = []
    descriptor = -1
    try:
        descriptor, _ = open_folder(folder)
        with os.scandir(descriptor if descriptor >= 0 else os.fsdecode(folder)) as entries:
            for item in entries:
                if item.is_file(follow_symlinks=False) or (item.is_symlink() and _is_regular(item)):
                    files.append(os.fsencode(item.name))
                elif item.is_dir(follow_symlinks=False):
                    folders.append(os.fsencode(item.name))
                if len(files) + len(folders) >= _BATCH:
                    yield files, folders
                    files, folders = [], []
    except OSError as error:
        if error.errno not in _GONE:
            notes.error(f"could not read {path_text(folder)}: {reason(error)}")
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    yield files, folders


def _is_regular(link: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISREG(link.stat().st_mode)
    except OSError:  # dangling or looping: no file
        return False
