"""The last login of each account, from every record that a host keeps: utmp, wtmp, lastlog, systemd's lastlog2 and wtmpdb."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.file.opening import open_file, reason
from investigator.modules.user.utmp import Login, last_login, layout_of, logins_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from investigator.modules.notes import Notes
    from investigator.modules.user.accounts import Account

UTMP: Final = "/var/run/utmp"
WTMPS: Final = ("/var/log/wtmp", "/var/log/wtmp.1")
LASTLOG: Final = "/var/log/lastlog"
LASTLOG2: Final = "/var/lib/lastlog/lastlog2.db"
WTMPDB: Final = "/var/lib/wtmpdb/wtmp.db"
MAX_WTMP_BYTES: Final = 64 << 20
"""Of each, from its end: 170,000 records."""
_BLOCK_RECORDS: Final = 2048
_MAX_DATABASE_BYTES: Final = 1 << 30
_MAX_ROWS: Final = 1_000_000
_TICK_OPERATIONS: Final = 10_000
_QUERY_S: Final = 10.0
_QUERY_BYTES: Final = 64 << 20
MAX_TIME_S: Final = 2**40
_US_PER_S: Final = 1_000_000
_LASTLOG2_QUERY: Final = "SELECT Name, Time, TTY, RemoteHost FROM Lastlog2 WHERE Time > 0 LIMIT ?"
_WTMPDB_QUERY: Final = (
    "SELECT User, max(Login), TTY, RemoteHost FROM wtmp WHERE Type = 3 AND Login > 0 GROUP BY User LIMIT ?"
)


class Logins:
    """The newest login of each name; by uid only where the record is by uid."""

    def __init__(self, root: str, notes: Notes, *, deadline_s: float) -> None:
        """`root` is the folder that the host's files are below; `deadline_s` is on `time.monotonic()`'s scale."""
        self._root = root.rstrip("/")
        self._notes = notes
        self._deadline_s = deadline_s
        self._newest: dict[bytes, Login] = {}
        self._layout = layout_of(platform.machine())
        self.sources: list[str] = []
        """The records that the host has."""

    def of(self, accounts: list[Account]) -> list[Login | None]:
        """Each account's, in their order."""
        names = {account.name for account in accounts}
        for path in (UTMP, *WTMPS):
            for name, login in self._records(path):
                if name in names:
                    self._take(name, login)
        self._database(LASTLOG2, "lastlog2", _LASTLOG2_QUERY, per_s=1)
        self._database(WTMPDB, "wtmpdb", _WTMPDB_QUERY, per_s=_US_PER_S)
        by_uid = self._lastlog({account.uid for account in accounts})
        return [_newer(self._newest.get(account.name), by_uid.get(account.uid)) for account in accounts]

    def _take(self, name: bytes, login: Login) -> None:
        known = self._newest.get(name)
        if known is None or login.time_s > known.time_s:
            self._newest[name] = login

    @contextlib.contextmanager
    def _opened(self, path: str) -> Iterator[int | None]:
        """A descriptor; None where the host has no such file, or it cannot be read, which is said."""
        try:
            descriptor = open_file(os.fsencode(self._root + path), follow=True)
        except FileNotFoundError:
            yield None
            return
        except OSError as error:
            self._notes.error(f"could not read {path}: {reason(error)}")
            yield None
            return
        self.sources.append(path)
        try:
            yield descriptor
        except OSError as error:
            self._notes.error(f"could not read {path}: {reason(error)}")
        finally:
            os.close(descriptor)

    def _records(self, path: str) -> Iterator[tuple[bytes, Login]]:
        """From the newest block to the oldest, as far as time and the cap allow."""
        size = self._layout.record.size
        with self._opened(path) as descriptor:
            if descriptor is None:
                return
            end = os.fstat(descriptor).st_size
            end -= end % size
            stop = max(end - MAX_WTMP_BYTES // size * size, 0)
            while end > stop:
                if time.monotonic() > self._deadline_s:
                    self._notes.note(f"out of time: the older logins in {path} were not read")
                    return
                start = max(end - _BLOCK_RECORDS * size, stop)
                yield from logins_in(os.pread(descriptor, end - start, start), self._layout, path.rpartition("/")[2])
                end = start
            if stop:
                self._notes.note(f"{path}: only its last {MAX_WTMP_BYTES >> 20} MiB were read")

    def _lastlog(self, uids: Iterable[int]) -> dict[int, Login]:
        """A sparse file, however large it looks: only the records of these users are read."""
        size = self._layout.last.size
        found = {}
        with self._opened(LASTLOG) as descriptor:
            for uid in uids if descriptor is not None else ():
                login = last_login(os.pread(descriptor or 0, size, uid * size), self._layout)
                if login is not None:
                    found[uid] = login
        return found

    def _database(self, path: str, source: str, query: str, *, per_s: int) -> None:
        """Rows of (name, time, line, host) of an SQLite file that may hold anything.

        It is opened through a descriptor that was checked, as immutable, so that nothing is written or locked; what a
        service has in its write-ahead log at that moment is not seen.
        """
        with self._opened(path) as descriptor:
            if descriptor is None:
                return
            size = os.fstat(descriptor).st_size
            if size > _MAX_DATABASE_BYTES:
                self._notes.error(f"could not read {path}: {size:,} bytes are more than is read")
                return
            import sqlite3

            until_s = min(self._deadline_s, time.monotonic() + _QUERY_S)
            try:
                with contextlib.closing(
                    sqlite3.connect(f"file:/proc/self/fd/{descriptor}?mode=ro&immutable=1", uri=True)
                ) as database:
                    database.text_factory = bytes
                    database.execute("PRAGMA trusted_schema = OFF")
                    database.execute("PRAGMA cell_size_check = ON")
                    database.execute(f"PRAGMA hard_heap_limit = {_QUERY_BYTES}")
                    database.set_progress_handler(lambda: time.monotonic() > until_s, _TICK_OPERATIONS)
                    for row in database.execute(query, (_MAX_ROWS,)):
                        self._take_row(row, source, per_s)
            except (sqlite3.Error, OverflowError) as error:
                self._notes.error(f"could not read {path}: {error}")

    def _take_row(self, row: tuple[Any, ...], source: str, per_s: int) -> None:
        name, moment, line, host = row
        if isinstance(name, bytes) and isinstance(moment, int) and 0 < moment // per_s < MAX_TIME_S:
            line, host = (value if isinstance(value, bytes) else b"" for value in (line, host))
            self._take(name, Login(moment // per_s, line, host, source))


def _newer(one: Login | None, other: Login | None) -> Login | None:
    if one is None or other is None:
        return one or other
    return other if other.time_s > one.time_s else one
