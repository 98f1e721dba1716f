"""The files of sudoers: from /etc/sudoers on, what each includes, once; capped in number, bytes and depth."""

from __future__ import annotations

import os
import platform
import stat
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import open_file, open_folder, path_text, reason
from investigator.modules.user.sudoers import Include, Sudoers

if TYPE_CHECKING:
    from investigator.modules.notes import Notes

MAIN: Final = ("/etc/sudoers", "/usr/local/etc/sudoers")
"""The latter on systems that install sudo there."""
MAX_FILES: Final = 512
MAX_DEPTH: Final = 32
MAX_BYTES: Final = 8 << 20
MAX_RULES: Final = 20_000


def read_sudoers(root: str, notes: Notes) -> Sudoers:
    """All rules below `root`, in the order in which sudo reads them; a host without sudo has none.

    Files that sudo would not take, for their owner or mode, are read all the same and named.
    """
    reader = _Reader(root.rstrip("/"), notes)
    for path in MAIN:
        if os.path.lexists(reader.root + path):
            reader.read(path, depth=0)
            break
    return reader.found


class _Reader:
    def __init__(self, root: str, notes: Notes) -> None:
        self.root = root
        self.found = Sudoers()
        self._notes = notes
        self._seen: set[tuple[int, int]] = set()
        self._left = MAX_BYTES

    def read(self, path: str, *, depth: int) -> None:
        """One file, and what it includes where it does."""
        text = self._text(path, depth)
        for told in self.found.take(text, path) if text is not None else ():
            if isinstance(told, int):
                self._notes.error(f"could not understand {path}, line {told}")
            elif len(self.found.rules) > MAX_RULES:
                self._notes.note(f"sudoers: more than {MAX_RULES:,} rules; the rest is unknown")
                return
            elif told.is_folder:
                self._read_folder(self._absolute(told, path), depth + 1)
            else:
                self.read(self._absolute(told, path), depth=depth + 1)

    def _absolute(self, include: Include, path: str) -> str:
        """As sudo does, it expands `%h` and takes a relative path from the including file's folder."""
        target = include.path.replace("%h", platform.node().partition(".")[0])
        return target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"

    def _read_folder(self, path: str, depth: int) -> None:
        """Names in their order, without those that sudo passes over: with a dot, or ending in `~`."""
        try:
            descriptor, _ = open_folder(os.fsencode(self.root + path))
        except FileNotFoundError:
            return  # as for sudo
        except OSError as error:
            self._notes.error(f"could not read {_shown(path)}: {reason(error)}")
            return
        try:
            names = sorted(os.listdir(descriptor))
        finally:
            os.close(descriptor)
        for name in names:
            if "." not in name and not name.endswith("~"):
                self.read(f"{path.rstrip('/')}/{name}", depth=depth)

    def _text(self, path: str, depth: int) -> str | None:
        if depth > MAX_DEPTH or len(self._seen) >= MAX_FILES:
            self._notes.note(f"{_shown(path)} was not read: too many files of sudoers, or too deep")
            return None
        try:
            descriptor = open_file(os.fsencode(self.root + path), follow=True)
        except OSError as error:
            self._notes.error(f"could not read {_shown(path)}: {reason(error)}")
            return None
        try:
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino) in self._seen:
                return None  # it is known, or includes itself
            self._seen.add((found.st_dev, found.st_ino))
            content = os.pread(descriptor, min(found.st_size, self._left) or self._left, 0)
        except OSError as error:
            self._notes.error(f"could not read {_shown(path)}: {reason(error)}")
            return None
        finally:
            os.close(descriptor)
        self._left -= len(content)
        if found.st_size > len(content):
            self._notes.note(f"{_shown(path)} was cut: more than {MAX_BYTES >> 20} MiB of sudoers")
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & stat.S_IWOTH:
            self._notes.note(f"{_shown(path)}: others than root can write it, and sudo may refuse it")
        return content.decode("utf-8", "surrogateescape")


def _shown(path: str) -> str:
    return path_text(os.fsencode(path))
