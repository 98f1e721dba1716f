"""What this agent has to say and the stream has not acknowledged yet: on the disk before it is first published."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from investigator.agent.database import database_errors, transaction
from investigator.errors import DeploymentError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS {} (id TEXT PRIMARY KEY, subject TEXT NOT NULL, payload BLOB NOT NULL)"
_WHAT: Final = "the outbox"
MAX_OUTBOX_BYTES: Final = 512 << 20
"""What a host gives to results that no broker takes; beyond it new ones are refused, and that is answered."""
MAX_HELD_BYTES: Final = 8 << 20
"""Of letters in memory, while the disk takes none; small ones have `RESERVED_BYTES` more there too."""
SMALL_BYTES: Final = 16 << 10
RESERVED_BYTES: Final = 8 << 20
"""For small answers, such as that a large one did not fit."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A payload for a subject; its id is SHA-256 of its exact bytes, which nobody else can guess and use up."""

    id: str
    subject: str
    payload: bytes
    number: int = 0
    """Its place in the outbox, oldest first; 0 for one that is in memory only."""


class Outbox:
    """Letters, oldest first, until each is acknowledged."""

    def __init__(
        self,
        database: sqlite3.Connection,
        *,
        table: str = "outbox",
        max_bytes: int | None = None,
        reserved_bytes: int | None = None,
    ) -> None:
        """Open the table in the agent's database; without other limits, it is for results."""
        self._database = database
        self._table = table
        self._max_bytes = max_bytes
        self._reserved_bytes = reserved_bytes
        self._held: dict[str, Letter] = {}
        with database_errors(_WHAT):
            database.execute(_SCHEMA.format(table))

    def add(self, subject: str, payloads: Iterable[bytes]) -> None:
        """Keep payloads for this subject, all or none; on return they are on the disk.

        They are taken one at a time: a large answer is in memory once.

        Raises:
            NotStored: the disk is full.
            DeploymentError: the outbox is full.
        """
        limit = MAX_OUTBOX_BYTES if self._max_bytes is None else self._max_bytes
        reserved = RESERVED_BYTES if self._reserved_bytes is None else self._reserved_bytes
        with transaction(self._database, _WHAT):
            query = f"SELECT coalesce(sum(length(payload)), 0) FROM {self._table}"  # noqa: S608 - the table is ours
            (waiting,) = self._database.execute(query).fetchone()
            new = 0
            for payload in payloads:
                new += len(payload)
                if waiting + new > limit + (reserved if new <= SMALL_BYTES else 0):
                    raise DeploymentError(f"the outbox is full: {waiting:,} bytes wait for the broker")
                self._database.execute(
                    f"INSERT OR IGNORE INTO {self._table} VALUES (?, ?, ?)",  # noqa: S608 - the table is ours
                    (hashlib.sha256(payload).hexdigest(), subject, payload),
                )

    def hold(self, subject: str, payloads: Iterable[bytes]) -> None:
        """Keep payloads in memory, for as long as this process lives: better than nowhere, where the disk takes nothing.

        Raises:
            DeploymentError: there are too many.
        """
        new = [Letter(hashlib.sha256(payload).hexdigest(), subject, payload) for payload in payloads]
        adds = sum(len(letter.payload) for letter in new)
        waiting = sum(len(letter.payload) for letter in self._held.values())
        if waiting + adds > MAX_HELD_BYTES + (RESERVED_BYTES if adds <= SMALL_BYTES else 0):
            raise DeploymentError(f"{waiting:,} bytes wait for the broker in memory, and the disk takes nothing")
        self._held.update((letter.id, letter) for letter in new)

    @property
    def held(self) -> list[Letter]:
        """What is in memory only."""
        return list(self._held.values())

    def waiting(self) -> tuple[int, int]:
        """How many letters wait, and their bytes, in memory and on the disk.

        Raises:
            NotStored: the database cannot be read.
        """
        query = f"SELECT count(*), coalesce(sum(length(payload)), 0) FROM {self._table}"  # noqa: S608 - likewise
        with database_errors(_WHAT):
            letters, size = self._database.execute(query).fetchone()
        return letters + len(self._held), size + sum(len(letter.payload) for letter in self._held.values())

    def pending(self, *, after: int = 0, at_most: int = 64, passing_over: Collection[str] = ()) -> list[Letter]:
        """The oldest letters on the disk behind that place, without those for the subjects that are passed over.

        Raises:
            NotStored: the database cannot be read.
        """
        but = f"AND subject NOT IN ({', '.join('?' * len(passing_over))}) " if passing_over else ""
        query = f"SELECT id, subject, payload, rowid FROM {self._table} WHERE rowid > ? {but}ORDER BY rowid LIMIT ?"  # noqa: S608 - likewise
        with database_errors(_WHAT):
            return [Letter(*row) for row in self._database.execute(query, (after, *passing_over, at_most))]

    def clear(self) -> None:
        """Forget all of them.

        Raises:
            DeploymentError: this could not be written.
        """
        with database_errors(_WHAT):
            self._database.execute(f"DELETE FROM {self._table}")  # noqa: S608 - the table is ours

    def remove(self, *letters: Letter) -> None:
        """The stream has these few.

        Raises:
            NotStored: this could not be written; those on the disk are all there still.
        """
        stored = [letter.id for letter in letters if self._held.pop(letter.id, None) is None]
        if stored:  # one statement, so that the disk is waited for once
            these = ", ".join("?" * len(stored))
            with database_errors(_WHAT):
                self._database.execute(f"DELETE FROM {self._table} WHERE id IN ({these})", stored)  # noqa: S608 - likewise
