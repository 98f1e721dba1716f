"""The console store's file: its tables by version, what becomes of an older, a newer and a damaged one."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import aiosqlite

from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_FIRST: Final = (
    """CREATE TABLE IF NOT EXISTS actions (
        id TEXT PRIMARY KEY, name TEXT, envelope BLOB NOT NULL, published_s REAL NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS answers (
        id TEXT PRIMARY KEY, action TEXT NOT NULL, agent TEXT NOT NULL, payload BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS outcomes (
        action TEXT NOT NULL, agent TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (action, agent)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS newest_heads (
        agent TEXT PRIMARY KEY, count INTEGER NOT NULL, head TEXT NOT NULL, told_s INTEGER NOT NULL,
        seen_s REAL NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS heads (
        place INTEGER PRIMARY KEY, agent TEXT NOT NULL, count INTEGER NOT NULL, head TEXT NOT NULL,
        told_s INTEGER NOT NULL, seen_s REAL NOT NULL)""",
    "CREATE TABLE IF NOT EXISTS acknowledged (id TEXT PRIMARY KEY, when_s REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS answers_of_action ON answers (action, agent)",
)
_RECORDS: Final = (
    # whom an action was sent to, before anybody answers: the state is empty until the investigation ends
    "ALTER TABLE outcomes ADD COLUMN name TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE outcomes ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0",
    """CREATE TABLE records (
        id TEXT PRIMARY KEY, kind TEXT NOT NULL, action TEXT NOT NULL, payload BLOB NOT NULL, stored_s REAL NOT NULL)""",
    "CREATE INDEX records_of_action ON records (action)",
    """CREATE TABLE beats (
        agent TEXT PRIMARY KEY, told_s INTEGER NOT NULL, seen_s REAL NOT NULL,
        stopped INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE read_up_to (stream TEXT PRIMARY KEY, made TEXT NOT NULL, sequence INTEGER NOT NULL) WITHOUT ROWID",
)
_ENROLMENT: Final = (
    """CREATE TABLE pins (
        name TEXT PRIMARY KEY, agent TEXT NOT NULL, machine TEXT NOT NULL, token TEXT NOT NULL,
        since_s REAL NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE vouched (agent TEXT PRIMARY KEY, token TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE statements (
        mark TEXT PRIMARY KEY, envelope BLOB NOT NULL, rules TEXT NOT NULL, problem TEXT NOT NULL) WITHOUT ROWID""",
)
_INVENTORY: Final = (
    # what each agent signed, verified: `inventory_cache`
    """CREATE TABLE facts (
        agent TEXT PRIMARY KEY, sequence INTEGER NOT NULL, seen_s REAL NOT NULL, content BLOB NOT NULL,
        problem TEXT NOT NULL)""",
    """CREATE TABLE heartbeats (
        agent TEXT PRIMARY KEY, sequence INTEGER NOT NULL, seen_s REAL NOT NULL, content BLOB NOT NULL,
        problem TEXT NOT NULL)""",
)
VERSIONS: Final[Sequence[Sequence[str]]] = (_FIRST, _RECORDS, _ENROLMENT, _INVENTORY)
"""The statements that lead from each version of the schema to the next; a released one is never changed."""
BUSY_S: Final = 10.0
"""How long a console waits for another one that writes."""
_DAMAGED: Final = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_log = logging.getLogger(__name__)


async def open_database(path: Path, *, thorough: bool = False) -> tuple[aiosqlite.Connection, Path | None]:
    """The open database, and where a damaged one was moved that stood in its place; both are said in the log.

    Args:
        path: made if it is not there, mode 0600.
        thorough: read every page, which takes seconds for a large file; else damage is noticed where it is met.

    Raises:
        DeploymentError: the disk does not take it, or a newer version of this program wrote it.
    """
    try:
        _prepare(path)
        return await _open_or_move_aside(path, thorough=thorough)
    except (OSError, sqlite3.Error) as error:
        raise DeploymentError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


async def _open_or_move_aside(path: Path, *, thorough: bool) -> tuple[aiosqlite.Connection, Path | None]:
    try:
        return await _open_in_turn(path, thorough=thorough), None
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        aside = _move_aside(path)
        _log.warning("%s is damaged (%s), and was moved to %s; a new one takes its place", path, error, aside.name)
    return await _open_in_turn(path, thorough=False), aside


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is no database, or not whole; an extended code has the plain one in its lowest byte."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _DAMAGED


async def _open_in_turn(path: Path, *, thorough: bool) -> aiosqlite.Connection:
    """SQLite's own waiting does not cover several who make the same file at once."""
    ends = time.monotonic() + BUSY_S
    while True:
        try:
            return await _open(path, thorough=thorough)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
        await asyncio.sleep(0.05)


async def _open(path: Path, *, thorough: bool) -> aiosqlite.Connection:
    database = await aiosqlite.connect(path, timeout=BUSY_S)
    try:
        version = await _number(database, "PRAGMA user_version")
        _refuse_newer(path, version)
        await database.execute("PRAGMA journal_mode=WAL")
        if version < len(VERSIONS):
            await _migrate(database)
        if thorough:
            await _check(database)
    except BaseException:
        with suppress(sqlite3.Error):
            await database.close()
        raise
    return database


def _prepare(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)


def _refuse_newer(path: Path, version: int) -> None:
    if version > len(VERSIONS):
        raise DeploymentError(
            f"{path}: written by a newer investigator (schema {version}; this one knows {len(VERSIONS)})",
            hint="It was not touched. Use that version, or another --home.",
        )


async def _migrate(database: aiosqlite.Connection) -> None:
    """All or nothing, once, however many consoles start at a time."""
    await database.execute("BEGIN IMMEDIATE")
    for statements in VERSIONS[await _number(database, "PRAGMA user_version") :]:
        for statement in statements:
            await database.execute(statement)
    await database.execute(f"PRAGMA user_version = {len(VERSIONS)}")
    await database.commit()


async def _check(database: aiosqlite.Connection) -> None:
    cursor = await database.execute("PRAGMA quick_check(1)")
    rows = [str(row[0]) for row in await cursor.fetchall()]
    if rows != ["ok"]:
        damage = sqlite3.DatabaseError(rows[0] if rows else "no answer")
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage


async def _number(database: aiosqlite.Connection, question: str) -> int:
    cursor = await database.execute(question)
    rows = list(await cursor.fetchall())
    return int(rows[0][0])


def _move_aside(path: Path) -> Path:
    """With what SQLite keeps beside it, which must not meet the new one."""
    name = f"{path.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    aside = path.with_name(name)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(path.with_name(name + suffix))
    path.rename(aside)
    return aside
