"""What this agent has to say and the stream has not acknowledged yet: on the disk before it is first published."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from investigator.agent.database import database_errors, transaction
from investigator.errors import DeploymentError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS outbox (id TEXT PRIMARY KEY, subject TEXT NOT NULL, payload BLOB NOT NULL);
"""
_WHAT: Final = "the outbox"
MAX_OUTBOX_BYTES: Final = 512 << 20
"""What a host gives to results that no broker takes; beyond it new ones are refused, and that is answered."""
SMALL_BYTES: Final = 16 << 10
RESERVED_BYTES: Final = 8 << 20
"""For small answers, such as that a large one did not fit."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A payload for a subject; its id is SHA-256 of its exact bytes, which nobody else can guess and use up."""

    id: str
    subject: str
    payload: bytes


class Outbox:
    """Letters, oldest first, until each is acknowledged."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Open the table in the agent's database."""
        self._database = database
        with database_errors(_WHAT):
            database.executescript(_SCHEMA)

    def add(self, subject: str, payloads: Iterable[bytes]) -> None:
        """Keep payloads for this subject, all or none; on return they are on the disk.

        They are taken one at a time: a large answer is in memory once.

        Raises:
            DeploymentError: the disk, or the outbox, is full.
        """
        with transaction(self._database, _WHAT):
            (waiting,) = self._database.execute("SELECT coalesce(sum(length(payload)), 0) FROM outbox").fetchone()
            new = 0
            for payload in payloads:
                new += len(payload)
                if waiting + new > MAX_OUTBOX_BYTES + (RESERVED_BYTES if new <= SMALL_BYTES else 0):
                    raise DeploymentError(f"the outbox is full: {waiting:,} bytes wait for the broker")
                self._database.execute(
                    "INSERT OR IGNORE INTO outbox VALUES (?, ?, ?)",
                    (hashlib.sha256(payload).hexdigest(), subject, payload),
                )

    def pending(self, *, at_most: int = 64) -> list[Letter]:
        """The oldest letters.

        Raises:
            DeploymentError: the database cannot be read.
        """
        query = "SELECT id, subject, payload FROM outbox ORDER BY rowid LIMIT ?"
        with database_errors(_WHAT):
            return [Letter(*row) for row in self._database.execute(query, (at_most,))]

    def remove(self, letter: Letter) -> None:
        """The stream has it.

        Raises:
            DeploymentError: this could not be written.
        """
        with database_errors(_WHAT):
            self._database.execute("DELETE FROM outbox WHERE id = ?", (letter.id,))
