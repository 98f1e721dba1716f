"""Which actions were admitted here, so that each runs once, whoever sends it how often.

Only admission enters the ledger: a refused copy, say with a signature cut off, leaves the real one free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from investigator.agent.database import database_errors, transaction
from investigator.protocol.admission import CLOCK_SKEW_S, Admitted

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable

    from investigator.protocol.result import State

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS admitted (
    digest TEXT PRIMARY KEY, action TEXT NOT NULL, sealto TEXT, signed_s INTEGER NOT NULL,
    expires_s REAL NOT NULL, state TEXT
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_action ON admitted (action);
CREATE TABLE IF NOT EXISTS recalled (digest TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pieces (
    digest TEXT NOT NULL, operation INTEGER NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (digest, operation)
) WITHOUT ROWID;
"""
_WHAT: Final = "the ledger"
KEEP_AFTER_EXPIRY_S: Final = 90 * 86_400
"""Long after its expiry an entry cannot be replayed; it stays for `--target-found`."""


@dataclass(frozen=True, slots=True)
class Entered:
    """An action that was admitted."""

    digest: str
    action: str
    sealto: str | None
    pieces: list[int] = field(default_factory=list)
    """How many pieces of each operation's findings were in the outbox by then."""


class Ledger:
    """A container of digests, on the disk before the run starts (`synchronous=FULL`).

    Every method raises `DeploymentError` where the database cannot be read or written; nothing may run then.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        *,
        key_is_new: bool,
        now_s: int,
        recall: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """Open; an old key with a new ledger means that the ledger was lost: then `recall` gives digests that it had."""
        self._database = database
        with database_errors(_WHAT):
            database.executescript(_SCHEMA)
        if self._about("made_s") is None:
            lost = 0 if key_is_new else now_s - CLOCK_SKEW_S
            recalled = () if key_is_new else recall()
            with transaction(database, _WHAT):
                database.executemany("INSERT OR IGNORE INTO recalled VALUES (?)", ((digest,) for digest in recalled))
                self._execute("INSERT INTO about VALUES ('made_s', ?), ('not_signed_before_s', ?)", now_s, lost)
        self.recalled = Recalled(database)
        # never by this host's clock: one that is far ahead for a day would clear the way for replays
        self._execute("DELETE FROM admitted WHERE expires_s < ?", self.newest_signature_s - KEEP_AFTER_EXPIRY_S)
        self._execute("DELETE FROM pieces WHERE digest NOT IN (SELECT digest FROM admitted WHERE state IS NULL)")

    def size(self) -> int:
        """How many actions it remembers."""
        return int(self._execute("SELECT count(*) FROM admitted")[0][0])

    def __contains__(self, digest: object) -> bool:
        """Whether an action with this digest was admitted before."""
        return bool(self._execute("SELECT 1 FROM admitted WHERE digest = ?", digest))

    @property
    def newest_signature_s(self) -> int:
        """The newest signature time among accepted actions, seconds since 1970; 0 for none."""
        return self._about("newest_signature_s") or 0

    @property
    def not_signed_before_s(self) -> int:
        """Signatures older than this are refused: 120 s before the start that found the ledger lost; else 0."""
        return self._about("not_signed_before_s") or 0

    def enter(self, admitted: Admitted) -> None:
        """Record an admission; on return it is on the disk, and the run may start.

        Raises:
            DeploymentError: it could not be written; the action must not run.
        """
        action = admitted.action
        with transaction(self._database, _WHAT):
            self._database.execute(
                "INSERT INTO admitted VALUES (?, ?, ?, ?, ?, NULL)",
                (admitted.digest, action.id, action.sealto, admitted.signed_s, action.expireafter.timestamp()),
            )
            self._database.execute(
                "INSERT INTO about VALUES ('newest_signature_s', ?) "
                "ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
                (admitted.signed_s,),
            )

    def count_piece(self, digest: str, operation: int, number: int) -> None:
        """Record that an operation, counted from 0, has handed over so many pieces; in the outbox's transaction for the last."""
        self._execute("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?)", digest, operation, number)

    def finish(self, digest: str, state: State) -> None:
        """Record how the run ended."""
        with transaction(self._database, _WHAT):
            self._execute("UPDATE admitted SET state = ? WHERE digest = ?", state, digest)
            self._execute("DELETE FROM pieces WHERE digest = ?", digest)

    def unfinished(self) -> list[Entered]:
        """What was running when the agent ended; none of it runs again."""
        rows = self._execute("SELECT digest, action, sealto FROM admitted WHERE state IS NULL")
        return [Entered(digest, action, sealto, self._pieces(digest)) for digest, action, sealto in rows]

    def entered(self, action: str) -> Entered | None:
        """What was admitted under this id, the newest of several; None where nothing was."""
        query = "SELECT digest, action, sealto FROM admitted WHERE action = ? ORDER BY signed_s DESC LIMIT 1"
        rows = self._execute(query, action)
        return Entered(*rows[0]) if rows else None

    def _pieces(self, digest: str) -> list[int]:
        counts = dict(self._execute("SELECT operation, count FROM pieces WHERE digest = ?", digest))
        return [counts.get(operation, 0) for operation in range(max(counts, default=-1) + 1)]

    def came_to(self, action: str, found: bool) -> bool:
        """Whether this action ran here and found something, or (with `found` false) ran and found nothing."""
        state = "found" if found else "notfound"
        return bool(self._execute("SELECT 1 FROM admitted WHERE action = ? AND state = ?", action, state))

    def _about(self, name: str) -> int | None:
        rows = self._execute("SELECT value FROM about WHERE name = ?", name)
        return int(rows[0][0]) if rows else None

    def _execute(self, query: str, *values: Any) -> list[Any]:
        with database_errors(_WHAT):
            return self._database.execute(query, values).fetchall()


class Recalled:
    """A container of digests: what ran before the ledger was lost, as far as was known when it was made anew."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __contains__(self, digest: object) -> bool:
        """Raises `NotStored` where it cannot be read."""
        with database_errors(_WHAT):
            return bool(self._database.execute("SELECT 1 FROM recalled WHERE digest = ?", (digest,)).fetchall())
