"""What the enrolment service remembers: agents, the broker users that they have, and what investigators signed. One SQLite file."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

FILE: Final = "enrolment.sqlite"
State = Literal["enrolled", "pending", "denied", "revoked"]
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS agents (
    agent TEXT PRIMARY KEY, key TEXT NOT NULL, name TEXT NOT NULL, machine TEXT NOT NULL, state TEXT NOT NULL,
    reason TEXT NOT NULL, first_s REAL NOT NULL, last_s REAL NOT NULL, expires_s REAL NOT NULL, token TEXT NOT NULL,
    bytes INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (
    user TEXT PRIMARY KEY, agent TEXT NOT NULL, expires_s REAL NOT NULL, shut_out INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS statements (mark TEXT PRIMARY KEY, envelope BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notices (
    agent TEXT NOT NULL, notice TEXT NOT NULL, since_s REAL NOT NULL, PRIMARY KEY (agent, notice)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS agents_by_state ON agents (state, last_s);
CREATE INDEX IF NOT EXISTS agents_by_token ON agents (token);
CREATE INDEX IF NOT EXISTS agents_by_name ON agents (name);
CREATE INDEX IF NOT EXISTS users_of_agent ON users (agent);
"""
_COLUMNS: Final = "agent, key, name, machine, state, reason, first_s, last_s, expires_s, token, bytes"
MAX_STATEMENTS: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An agent as the service knows it; for the fields see `protocol.enrolment.Known`."""

    agent: str
    key: str
    name: str
    machine: str
    state: State
    reason: str = ""
    first_s: float
    last_s: float
    expires_s: float = 0.0
    token: str = ""
    bytes: int = 0


class Book:
    """The service's own database; a context manager. Every method raises `DeploymentError` where the disk does not take it."""

    def __init__(self, folder: Path) -> None:
        """The file is opened, or made, when this is entered."""
        self._path = folder / FILE
        self._database: sqlite3.Connection

    def __enter__(self) -> Self:
        """Open; one service at a time."""
        try:
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise DeploymentError(f"{self._path}: {error.strerror}") from None
        with self._errors():
            self._database = sqlite3.connect(self._path, timeout=1.0, isolation_level=None)
        try:
            with self._errors():
                self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.executescript(_SCHEMA)
        except DeploymentError:
            self._database.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; what was written is on the disk."""
        self._database.close()

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All that is written within is on the disk when this is left, by one write; or none of it, on any error."""
        with self._errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # a full disk may have ended it already
                    self._database.execute("ROLLBACK")
                raise

    def find(self, agent: str) -> Entry | None:
        """What is known of an agent."""
        rows = self._run(f"SELECT {_COLUMNS} FROM agents WHERE agent = ?", agent)  # noqa: S608 - the columns are ours
        return _entry(rows[0]) if rows else None

    def put(self, entry: Entry, *, at_most: int) -> bool:
        """Write what is known of an agent; False if so many wait already. Of those that were denied the oldest are forgotten."""
        known = self.find(entry.agent)
        if known is None or known.state != entry.state:
            ((others,),) = self._run("SELECT count(*) FROM agents WHERE state = ?", entry.state)
            if entry.state == "pending" and others >= at_most:
                return False
            if entry.state == "denied" and others >= at_most:
                self._run(
                    "DELETE FROM agents WHERE agent IN "
                    "(SELECT agent FROM agents WHERE state = 'denied' ORDER BY last_s LIMIT ?)",
                    others - at_most + 1,
                )
        if known is not None:
            entry = replace(entry, first_s=known.first_s, bytes=known.bytes)
        row = [getattr(entry, column) for column in _COLUMNS.split(", ")]
        self._run(f"INSERT OR REPLACE INTO agents VALUES ({', '.join('?' * len(row))})", *row)  # noqa: S608 - placeholders
        return True

    def page(self, state: str, *, after: str, at_most: int) -> list[Entry]:
        """Agents in the order of their ids, behind one; of one state, or with "" of all."""
        query = f"SELECT {_COLUMNS} FROM agents WHERE agent > ? AND ? IN ('', state) ORDER BY agent LIMIT ?"  # noqa: S608 - likewise
        return [_entry(row) for row in self._run(query, after, state, at_most)]

    def enrolled_by(self, token: str) -> int:
        """How many agents a token let in, whatever became of them."""
        ((number,),) = self._run(
            "SELECT count(*) FROM agents WHERE token = ? AND state IN ('enrolled', 'revoked')", token
        )
        return int(number)

    def named(self, name: str, *, but: str) -> list[str]:
        """The ids of other enrolled agents of this name, a hundred at most."""
        query = "SELECT agent FROM agents WHERE name = ? AND agent <> ? AND state = 'enrolled' ORDER BY agent LIMIT 100"
        return [str(row[0]) for row in self._run(query, name, but)]

    def add_user(self, user: str, agent: str, *, expires_s: float, now_s: float, at_most: int) -> bool:
        """Note a broker user of an agent; False if it has so many others whose credentials still last, or if it is another's."""
        self._run("DELETE FROM users WHERE expires_s < ?", now_s)
        rows = self._run("SELECT agent, shut_out FROM users WHERE user = ?", user)
        if rows and rows[0][0] != agent:
            return False
        if not rows:
            ((others,),) = self._run("SELECT count(*) FROM users WHERE agent = ?", agent)
            if others >= at_most:
                return False
        self._run("INSERT OR REPLACE INTO users VALUES (?, ?, ?, 0)", user, agent, expires_s)
        return True

    def users(self, agent: str) -> list[str]:
        """The broker users of an agent that are not shut out, and whose credentials may last."""
        return [str(row[0]) for row in self._run("SELECT user FROM users WHERE agent = ? AND NOT shut_out", agent)]

    def note_shut_out(self, user: str) -> None:
        """This user is shut out."""
        self._run("UPDATE users SET shut_out = 1 WHERE user = ?", user)

    def statements(self) -> list[bytes]:
        """The envelopes of what investigators signed, as they came."""
        return [bytes(row[0]) for row in self._run("SELECT envelope FROM statements")]

    def keep_statement(self, envelope: bytes) -> bool:
        """Keep one more, up to 50,000; whether it was not kept before."""
        ((number,),) = self._run("SELECT count(*) FROM statements")
        mark = hashlib.sha256(envelope).hexdigest()
        if number >= MAX_STATEMENTS or self._run("SELECT 1 FROM statements WHERE mark = ?", mark):
            return False
        self._run("INSERT INTO statements VALUES (?, ?)", mark, envelope)
        return True

    def add_notice(self, agent: str, notice: str, *, now_s: float) -> None:
        """Keep what is to be looked at."""
        self._run("INSERT OR IGNORE INTO notices VALUES (?, ?, ?)", agent, notice, now_s)

    def notices(self, *, since_s: float) -> dict[str, list[str]]:
        """By agent, what was noticed since then, the oldest first; what is older is forgotten."""
        self._run("DELETE FROM notices WHERE since_s < ?", since_s)
        found: dict[str, list[str]] = {}
        for agent, notice in self._run("SELECT agent, notice FROM notices ORDER BY since_s, notice"):
            found.setdefault(agent, []).append(notice)
        return found

    def forget_notices(self, agent: str) -> None:
        """Somebody has looked."""
        self._run("DELETE FROM notices WHERE agent = ?", agent)

    def count_bytes(self, heard: Mapping[str, int]) -> None:
        """Add what was heard of agents; those that are not known are passed over."""
        rows = [(number, agent) for agent, number in heard.items()]
        with self.at_once():
            self._database.executemany("UPDATE agents SET bytes = bytes + ? WHERE agent = ?", rows)

    def _run(self, query: str, *values: Any) -> list[Any]:
        with self._errors():
            return self._database.execute(query, values).fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise DeploymentError(f"{self._path}: another enrolment service runs here") from None
            raise DeploymentError(f"{self._path}: {error}") from None


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry(**dict(zip(_COLUMNS.split(", "), row, strict=True)))
