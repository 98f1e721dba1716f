"""The console's own copy of what it asked and of every answer, as received: SQLite, one file."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiosqlite

from investigator.errors import DeploymentError
from investigator.protocol.envelope import Envelope

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS actions (id TEXT PRIMARY KEY, name TEXT, envelope BLOB NOT NULL, published_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    id TEXT PRIMARY KEY, action TEXT NOT NULL, agent TEXT NOT NULL, payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS outcomes (
    action TEXT NOT NULL, agent TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (action, agent)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_of_action ON answers (action, agent);
"""


class Store:
    """Envelopes and payloads, byte for byte; an async context manager.

    What is sealed stays sealed in it. Every method raises `DeploymentError` where the disk does not take it.
    """

    def __init__(self, path: Path) -> None:
        """The file is made when the store is entered."""
        self.path = path
        self._database: aiosqlite.Connection

    async def __aenter__(self) -> Self:
        """Open, or make."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            self._database = await aiosqlite.connect(self.path, timeout=10)
            await self._database.execute("PRAGMA journal_mode=WAL")
            await self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise DeploymentError(f"{self.path}: {getattr(error, 'strerror', None) or error}") from None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; what was kept is on the disk."""
        with contextlib.suppress(sqlite3.Error):
            await self._database.close()

    async def keep_action(self, action_id: str, name: str, envelope: Envelope, *, published_s: float) -> None:
        """Keep what was asked, before it is published."""
        await self._write(
            "INSERT OR IGNORE INTO actions VALUES (?, ?, ?, ?)", [(action_id, name, envelope.encode(), published_s)]
        )

    async def keep_answers(self, action_id: str, answers: Sequence[tuple[str, bytes]]) -> None:
        """Keep (agent id, payload) pairs; the same one twice is kept once."""
        await self._write(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
            [(hashlib.sha256(payload).hexdigest(), action_id, agent, payload) for agent, payload in answers],
        )

    async def keep_states(self, action_id: str, states: Mapping[str, str]) -> None:
        """Keep what each agent (by id) came to; later ones replace earlier ones."""
        await self._write(
            "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?)",
            [(action_id, agent, state) for agent, state in states.items()],
        )

    async def who_came_to(self) -> set[tuple[str, str, str]]:
        """(action id, agent id, state) of all that found something or nothing: for `--target-found`."""
        try:
            cursor = await self._database.execute("SELECT * FROM outcomes WHERE state IN ('found', 'notfound')")
            return {(str(row[0]), str(row[1]), str(row[2])) for row in await cursor.fetchall()}
        except sqlite3.Error as error:
            raise DeploymentError(f"{self.path}: {error}") from None

    async def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            await self._database.executemany(statement, rows)
            await self._database.commit()
        except sqlite3.Error as error:
            raise DeploymentError(f"{self.path}: {error}") from None
