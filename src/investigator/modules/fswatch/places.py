"""Which folders are looked at, and for what: the settings' paths on the host as it is now."""

from __future__ import annotations

import os
import posixpath
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from investigator.modules.fswatch.settings import Root

MAX_FOLDERS: Final = 50_000
"""Of one root."""


class Places:
    """`folders` maps each folder to the names in it that count; None: all of them."""

    def __init__(self, roots: Sequence[Root]) -> None:
        """Nothing is looked at yet: `find` does."""
        self.roots = list(roots)
        self.folders: dict[bytes, set[bytes] | None] = {}
        self.awaited: list[bytes] = []
        """The roots that are not there."""
        self.cut: list[bytes] = []
        """Those that have more folders than are watched."""
        self._because: dict[bytes, list[tuple[bytes | None, Root]]] = {}
        self._inodes: dict[bytes, tuple[int, int] | None] = {}

    def find(self) -> None:
        """Look where the roots lead now. A root that is a link to a folder is watched, and so is the folder."""
        self.folders, self.awaited, self.cut, self._because, self._inodes = {}, [], [], {}, {}
        for root in self.roots:
            parent, name = posixpath.split(root.path)
            if name and posixpath.isdir(parent):
                self._add(posixpath.realpath(parent), name, root)
            if not posixpath.lexists(root.path):
                self.awaited.append(root.path)
            elif posixpath.isdir(root.path):
                for count, folder in enumerate(_folders(posixpath.realpath(root.path), recursive=root.recursive)):
                    if count == MAX_FOLDERS:
                        self.cut.append(root.path)
                        break
                    self._add(folder, None, root)

    def _add(self, folder: bytes, name: bytes | None, root: Root) -> None:
        self._inodes.setdefault(folder, _inode(folder))
        present = self.folders.get(folder, set())
        self.folders[folder] = None if name is None or present is None else present | {name}
        self._because.setdefault(folder, []).append((name, root))

    def changed(self, dirty: Collection[bytes]) -> bool:
        """Whether these changes may have brought a folder, taken one away, or put another in its place."""
        for folder in dirty:
            if folder not in self.folders:
                if self._would_be_watched(folder):
                    return True
            elif _inode(folder) != self._inodes[folder]:  # the system watches the folder that was, not its name
                return True
        return False

    def came(self) -> bool:
        """Whether a root that was awaited is there."""
        return any(posixpath.lexists(path) for path in self.awaited)

    def is_fresh(self, path: bytes, taken: Collection[bytes]) -> bool:
        """Whether all roots that this path is looked at for are new in the settings: then it is no news."""
        folder, name = posixpath.split(path)
        roots = [root for only, root in self._because.get(folder, ()) if only in (None, name)]
        return bool(roots) and all(root.key not in taken for root in roots)

    def _would_be_watched(self, folder: bytes) -> bool:
        if not posixpath.isdir(folder) or posixpath.islink(folder):
            return False
        if folder in (root.path for root in self.roots):
            return True
        return any(name is None and root.recursive for name, root in self._because.get(posixpath.dirname(folder), ()))


def _folders(top: bytes, *, recursive: bool) -> Iterator[bytes]:
    """The folder, and with `recursive` those below it; links are not followed."""
    pending = [top]
    while pending:
        folder = pending.pop()
        yield folder
        if not recursive:
            return
        try:
            with os.scandir(folder) as entries:
                pending += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue


def _inode(folder: bytes) -> tuple[int, int] | None:
    """Which folder it is; None if it is none."""
    try:
        status = os.lstat(folder)
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISDIR(status.st_mode) else None
