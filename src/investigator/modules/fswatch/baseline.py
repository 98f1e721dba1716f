"""What every watched path was like when it was last told: in the module's folder, so that a restart misses nothing."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING, Final

import msgspec

from investigator.modules.fswatch.seeing import Seen

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE: Final = "baseline.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS paths (path BLOB PRIMARY KEY, seen BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS roots (root BLOB PRIMARY KEY) WITHOUT ROWID;
"""


class Baseline:
    """The paths, in memory, and on the disk as of the last `note`."""

    def __init__(self, folder: Path) -> None:
        """Open the file, or make it; one that is damaged is set aside, which `damaged` tells.

        Raises:
            OSError, sqlite3.Error: the folder does not take it.
        """
        import sqlite3

        self.damaged = ""
        file = folder / FILE
        try:
            self._open(file)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            self.damaged = str(error)
            self._database.close()
            for ending in ("", "-wal", "-shm"):
                spoiled = folder / f"{FILE}{ending}"
                if spoiled.exists():
                    spoiled.replace(folder / f"{FILE}.damaged{ending}")
            self._open(file)

    def _open(self, file: Path) -> None:
        import sqlite3

        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        # the agent's questions come in another thread, and only ask for numbers
        self._database = sqlite3.connect(file, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA journal_size_limit=4194304")
        self._database.executescript(_SCHEMA)
        decoder = msgspec.msgpack.Decoder(Seen)
        rows = self._database.execute("SELECT path, seen FROM paths")
        self.seen: dict[bytes, Seen] = {bytes(path): decoder.decode(seen) for path, seen in rows}
        self.roots = {bytes(root) for (root,) in self._database.execute("SELECT root FROM roots")}
        self._names: dict[bytes, set[bytes]] = {}
        for path in self.seen:
            self._index(path)

    def names_in(self, folder: bytes) -> set[bytes]:
        """The names in a folder that are known."""
        return self._names.get(folder, set())

    def note(self, changes: Iterable[tuple[bytes, Seen | None]]) -> None:
        """Take these as told; None forgets a path. On return they are on the disk."""
        rows = []
        gone = []
        for path, seen in changes:
            if seen is None:
                if self.seen.pop(path, None) is not None:
                    folder, name = posixpath.split(path)
                    self._names[folder].discard(name)
                    if not self._names[folder]:
                        del self._names[folder]
                gone.append((path,))
            else:
                if path not in self.seen:
                    self._index(path)
                self.seen[path] = seen
                rows.append((path, msgspec.msgpack.encode(seen)))
        self._database.execute("BEGIN IMMEDIATE")
        self._database.executemany("INSERT OR REPLACE INTO paths VALUES (?, ?)", rows)
        self._database.executemany("DELETE FROM paths WHERE path = ?", gone)
        self._database.execute("COMMIT")

    def take_roots(self, roots: Iterable[bytes]) -> None:
        """From now on what appears in these is new."""
        wanted = set(roots)
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("DELETE FROM roots")
        self._database.executemany("INSERT INTO roots VALUES (?)", [(root,) for root in sorted(wanted)])
        self._database.execute("COMMIT")
        self.roots = wanted

    def _index(self, path: bytes) -> None:
        folder, name = posixpath.split(path)
        self._names.setdefault(folder, set()).add(name)
