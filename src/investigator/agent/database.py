"""The agent's database, opened one way for disk and memory: autocommit, and explicit transactions."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAMAGED: Final = "If it is damaged, move it away: what was signed before the next start is then refused."
BUSY_S: Final = 5.0


def open_database(path: Path | None) -> sqlite3.Connection:
    """The database in this file, mode 0600, or in memory; what was committed is on the disk.

    Raises:
        DeploymentError: the file is no database, or cannot be opened.
    """
    try:
        if path is not None:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(path or ":memory:", timeout=BUSY_S, isolation_level=None)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise DeploymentError(f"{path}: {error}", hint=DAMAGED) from None
    try:
        with database_errors(str(path)):
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
    except DeploymentError:
        database.close()
        raise
    return database


@contextmanager
def database_errors(what: str) -> Iterator[None]:
    """Say of sqlite's errors whose they are: a damaged file, a full disk.

    Raises:
        DeploymentError: for any of them.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise DeploymentError(f"{what}: {error}", hint=DAMAGED) from None


@contextmanager
def transaction(database: sqlite3.Connection, what: str) -> Iterator[None]:
    """All of it or nothing, on the disk when this is left.

    Raises:
        DeploymentError: it could not be written.
    """
    with database_errors(what):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:  # a full disk may have ended it already
                database.execute("ROLLBACK")
            raise
