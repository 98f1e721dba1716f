"""The agent's database, opened one way for disk and memory: autocommit, and explicit transactions."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION: Final = 1
"""Of the tables. It grows when an older program would misread them."""
BUSY_S: Final = 5.0
KEPT_DAMAGED: Final = 2
"""Damaged files, each of up to half a gigabyte; a failing disk must not be filled with them."""
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_log = logging.getLogger(__name__)


class NotStored(DeploymentError):
    """The database could not be read or written: a full disk, above all."""


class _Damaged(NotStored):
    """What the file holds is no whole database; an agent that meets it at its start makes a new one."""


def open_database(path: Path | None) -> sqlite3.Connection:
    """The database in this file, mode 0600, or in memory; what was committed is on the disk.

    A damaged one is moved aside and said, and a new one is made: an agent whose disk lost some bytes still guards its host.

    Raises:
        DeploymentError: it cannot be opened, or a newer program made it.
    """
    try:
        return _open(path)
    except _Damaged as error:
        assert path is not None
        aside = _move_aside(path)
        _log.error("%s; it is now %s, and what was signed before this start is refused", error, aside)
    return _open(path)


def _open(path: Path | None) -> sqlite3.Connection:
    try:
        if path is not None:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    with ExitStack() as opened, database_errors(str(path)):
        database = sqlite3.connect(path or ":memory:", timeout=BUSY_S, isolation_level=None)
        opened.callback(database.close)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        _check(database, str(path))
        opened.pop_all()
    return database


def _check(database: sqlite3.Connection, what: str) -> None:
    """That it is whole (0.2 s for a full outbox of 512 MiB in the page cache), and of no version that is not known here."""
    ((found,),) = database.execute("PRAGMA quick_check(1)")
    if found != "ok":
        raise _Damaged(f"{what}: {found}")
    ((version,),) = database.execute("PRAGMA user_version")
    if version > VERSION:
        raise DeploymentError(
            f"{what}: a newer version of investigator made it (its tables are version {version}, known here is {VERSION})",
            hint="Run that version again, or give the agent another --state.",
        )
    if version < VERSION:
        database.execute(f"PRAGMA user_version={VERSION}")


def _move_aside(path: Path) -> Path:
    """The file and its journals, under a name that says when."""
    aside = path.with_name(f"{path.stem}-damaged-{time.time_ns()}{path.suffix}")
    try:
        for ending in ("-wal", "-shm", ""):  # itself last: while it has its name, the next start tries again
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    except OSError as error:
        raise DeploymentError(f"{path}: damaged, and it cannot be moved aside: {error.strerror}") from None
    for old in sorted(path.parent.glob(f"{path.stem}-damaged-*{path.suffix}"))[:-KEPT_DAMAGED]:
        for ending in ("", "-wal", "-shm"):
            old.with_name(old.name + ending).unlink(missing_ok=True)
    return aside


@contextmanager
def database_errors(what: str) -> Iterator[None]:
    """Say of sqlite's errors whose they are: a damaged file, a full disk.

    Raises:
        NotStored: for any of them.
    """
    try:
        yield
    except sqlite3.Error as error:
        # sqlite3's own errors have no code
        damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED
        if damaged:
            raise _Damaged(f"{what}: {error}", hint="Started again, the agent moves it aside.") from None
        raise NotStored(f"{what}: {error}") from None


@contextmanager
def transaction(database: sqlite3.Connection, what: str) -> Iterator[None]:
    """All of it or nothing, on the disk when this is left; within another one, when that is left.

    Raises:
        NotStored: it could not be written.
    """
    with database_errors(what):
        joins = database.in_transaction
        if joins:
            yield
            return
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:  # a full disk may have ended it already
                database.execute("ROLLBACK")
            raise
