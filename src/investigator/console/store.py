"""The console's own copy of what it asked and of every answer, as received: SQLite, one file."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiosqlite

from investigator.console.heads import ChainHead
from investigator.console.standing import Pinned
from investigator.console.statements import Kept
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
CREATE TABLE IF NOT EXISTS newest_heads (
    agent TEXT PRIMARY KEY, count INTEGER NOT NULL, head TEXT NOT NULL, told_s INTEGER NOT NULL, seen_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads (
    place INTEGER PRIMARY KEY,
    agent TEXT NOT NULL, count INTEGER NOT NULL, head TEXT NOT NULL, told_s INTEGER NOT NULL, seen_s REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS acknowledged (id TEXT PRIMARY KEY, when_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pins (
    name TEXT PRIMARY KEY, agent TEXT NOT NULL, machine TEXT NOT NULL, token TEXT NOT NULL, since_s REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vouched (agent TEXT PRIMARY KEY, token TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS statements (
    mark TEXT PRIMARY KEY, envelope BLOB NOT NULL, rules TEXT NOT NULL, problem TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answers_of_action ON answers (action, agent);
"""
ALERTS_KEPT_S: Final = 400 * 86_400.0
MAX_HEADS: Final = 64
"""Per agent, on average. Beyond it every second one of each agent's older half goes: the first stay, as evidence of what was."""
_THIN_OUT: Final = f"""
DELETE FROM heads WHERE place IN (
    SELECT place FROM (
        SELECT place, count(*) OVER mine AS all_of_them,
            row_number() OVER (mine ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS number
        FROM heads WINDOW mine AS (PARTITION BY agent)
    ) WHERE all_of_them > {MAX_HEADS // 2} AND number <= all_of_them / 2 AND number % 2 = 0
)
"""  # noqa: S608 - its only value is ours


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

    async def action(self, action_id: str) -> bytes | None:
        """The envelope of an action that was asked from here."""
        rows = await self._read("SELECT envelope FROM actions WHERE id = ?", (action_id,))
        return bytes(rows[0][0]) if rows else None

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

    async def heads(self, agent: str | None = None) -> list[ChainHead]:
        """Every head of an audit that is kept, or those of one agent, in the order in which they were heard."""
        where, words = ("WHERE agent = ? ", (agent,)) if agent is not None else ("", ())
        query = f"SELECT agent, count, head, told_s, seen_s FROM heads {where}ORDER BY place"  # noqa: S608 - no value in it
        return [ChainHead(*row) for row in await self._read(query, words)]

    async def newest_heads(self) -> dict[str, ChainHead]:
        """The head with the highest count, per agent."""
        rows = await self._read("SELECT agent, count, head, told_s, seen_s FROM newest_heads")
        return {str(row[0]): ChainHead(*row) for row in rows}

    async def keep_heads(self, heads: Sequence[ChainHead]) -> None:
        """Keep heads of chains that grew. Of an honest chain there is nothing else: what is shorter is not evidence of more."""
        newest = await self.newest_heads()
        grown = [head for head in heads if head.agent not in newest or head.count > newest[head.agent].count]
        if not grown:
            return
        rows = [(head.agent, head.count, head.head, head.told_s, head.seen_s) for head in grown]
        await self._write("INSERT INTO heads (agent, count, head, told_s, seen_s) VALUES (?, ?, ?, ?, ?)", rows)
        await self._write("INSERT OR REPLACE INTO newest_heads VALUES (?, ?, ?, ?, ?)", rows)
        ((kept, agents),) = await self._read("SELECT (SELECT count(*) FROM heads), (SELECT count(*) FROM newest_heads)")
        if kept > MAX_HEADS * agents:
            await self._write(_THIN_OUT, [()])

    async def forget_heads(self, agent: str) -> int:
        """Forget those of one agent, whose chain began anew for a known reason; returns how many there were."""
        known = len(await self.heads(agent))
        await self._write("DELETE FROM heads WHERE agent = ?", [(agent,)])
        await self._write("DELETE FROM newest_heads WHERE agent = ?", [(agent,)])
        return known

    async def acknowledge(self, alert: str) -> None:
        """Note that this letter of alerts is acknowledged from here; forget those that no stream can hold any more."""
        now_s = time.time()
        await self._write("INSERT OR IGNORE INTO acknowledged VALUES (?, ?)", [(alert, now_s)])
        await self._write("DELETE FROM acknowledged WHERE when_s < ?", [(now_s - ALERTS_KEPT_S,)])

    async def acknowledged(self) -> set[str]:
        """The ids of the letters that were acknowledged from here."""
        return {str(row[0]) for row in await self._read("SELECT id FROM acknowledged")}

    async def pins(self) -> list[Pinned]:
        """Who had each name first."""
        return [Pinned(*row) for row in await self._read("SELECT name, agent, machine, token, since_s FROM pins")]

    async def vouched(self) -> dict[str, list[str]]:
        """The agents that each token (by its key) let in."""
        used: dict[str, list[str]] = {}
        for agent, token in await self._read("SELECT agent, token FROM vouched"):
            used.setdefault(str(token), []).append(str(agent))
        return used

    async def keep_pins(self, pins: Sequence[Pinned]) -> None:
        """Keep who had a name first; a pin that was let go (`Register`) is replaced."""
        rows = [(pin.name, pin.agent, pin.machine, pin.token, pin.since_s) for pin in pins]
        await self._write("INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?)", rows)
        await self._write("INSERT OR REPLACE INTO vouched VALUES (?, ?)", [(pin.agent, pin.token) for pin in pins])

    async def statements(self) -> list[Kept]:
        """Every statement that was ever heard, whatever the broker still has."""
        rows = await self._read("SELECT mark, envelope, rules, problem FROM statements")
        return [Kept(str(row[0]), bytes(row[1]), str(row[2]), str(row[3])) for row in rows]

    async def keep_statements(self, statements: Sequence[Kept]) -> None:
        """Keep statements, with what was found of them under which rules."""
        rows = [(one.mark, one.envelope, one.rules, one.problem) for one in statements]
        await self._write("INSERT OR REPLACE INTO statements VALUES (?, ?, ?, ?)", rows)

    async def _read(self, query: str, words: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            cursor = await self._database.execute(query, tuple(words))
            return [tuple(row) for row in await cursor.fetchall()]
        except sqlite3.Error as error:
            raise DeploymentError(f"{self.path}: {error}") from None

    async def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        try:
            await self._database.executemany(statement, rows)
            await self._database.commit()
        except sqlite3.Error as error:
            raise DeploymentError(f"{self.path}: {error}") from None
