"""The audit's files in the agent's state folder: append, rotate, and notice at once what somebody else did to them.

`audit.jsonl` is written; `audit-<number of its first line>.jsonl` are full; `audit.head` is the newest line's number and hash, so
that lines which are gone from the end are missed; `audit-torn-*` is what stood behind the last whole line after a crash.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final

import orjson

from investigator.errors import DeploymentError
from investigator.protocol.audit import MAX_COUNT, MAX_LINE_BYTES, NOTHING, Entry, Head, line_digest, read_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CURRENT: Final = "audit.jsonl"
FULL: Final = "audit-[0-9]*.jsonl"
TORN: Final = "audit-torn-*"
HEAD: Final = "audit.head"
MAX_FILE_BYTES: Final = 8 << 20
KEPT_FILES: Final = 7
"""Full files; beyond it the oldest goes. With the one that is written: 64 MiB, some 150,000 decisions."""
KEPT_TORN: Final = 8
_HEAD_BYTES: Final = 128


class NotRecorded(DeploymentError):
    """A decision could not be written down; what was decided must not be done."""

    code = "audit"


class AuditFile:
    """The files of one agent; `last` is the head. What is found wrong is in `found`, for the next lines to say."""

    def __init__(self, folder: Path, *, key_is_new: bool) -> None:
        """Open, or make at the first start.

        Raises:
            NotRecorded: the files cannot be read, or a torn end cannot be put aside.
        """
        self.folder = folder
        self.last = Head(0, NOTHING)
        self.found: list[Entry] = []
        self._path = folder / CURRENT
        self._descriptor: int | None = None
        self._first = 1
        self._size = 0
        with _errors(self._path):
            self._open(read_head(folder) or (self.last if key_is_new else None))

    def check(self) -> None:
        """See whether the file is as it was left; if not, take stock anew, and say so in `found`.

        Raises:
            NotRecorded: it cannot be opened or read.
        """
        with _errors(self._path):
            if not self._is_ours():
                was_open = self._descriptor is not None
                self.close()
                self._open(self.last, running=was_open)

    def append(self, raw: bytes) -> None:
        """Write the line that follows `last`; on return it is on the disk.

        Raises:
            NotRecorded: the disk does not take it; nothing of it is left.
        """
        with _errors(self._path):
            if self._size and self._size + len(raw) + 1 > MAX_FILE_BYTES:
                self._rotate()
            if self._descriptor is None:
                self._make()
            self._write(raw + b"\n")
        self.last = Head(self.last.count + 1, line_digest(raw))
        self._keep_head()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_ours(self) -> bool:
        if self._descriptor is None:
            return False
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        ours = os.fstat(self._descriptor)
        return (there.st_ino, there.st_dev, there.st_size) == (ours.st_ino, ours.st_dev, self._size)

    def _open(self, told: Head | None, *, running: bool = False) -> None:
        """Take stock. `told`: what is known to be the last line, or that there was none; None: nothing is known."""
        torn: list[str] = []
        on_disk: Head | None = None
        for path in reversed([*full_files(self.folder), self._path]):
            on_disk = self._last_of(path, torn)
            if on_disk is not None:
                break
        self.found = self.found or list(_findings(on_disk, told, torn, running=running))
        # lines that are gone leave a gap in the numbers: what they were is still known to whoever heard their head
        if told is not None and (on_disk is None or told.count >= on_disk.count):
            self.last = told
        else:
            self.last = on_disk or Head(0, NOTHING)
        if self._path.exists():
            self._take_up()

    def _last_of(self, path: Path, torn: list[str]) -> Head | None:
        """The last whole line of a file; what stands behind it is moved into a file of its own."""
        aside = self.folder / f"audit-torn-{time.time_ns()}"
        try:
            with path.open("r+b") as file:
                content = file.read(2 * MAX_FILE_BYTES + 1)
                offset, head = _end_of(content)
                rest = len(content) - offset
                if not rest:
                    return head
                if head is None or len(content) > 2 * MAX_FILE_BYTES:  # it is none of ours, or none any more
                    path.rename(aside)
                    head = None
                else:
                    _write_new(aside, content[offset:])
                    file.truncate(offset)
                    os.fsync(file.fileno())
        except FileNotFoundError:
            return None
        torn.append(f"{rest:,} bytes behind the last whole line of {path.name} are now in {aside.name}")
        for old in sorted(self.folder.glob(TORN))[:-KEPT_TORN]:
            old.unlink(missing_ok=True)
        return head

    def _take_up(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        os.fchmod(self._descriptor, 0o600)
        self._size = os.fstat(self._descriptor).st_size
        with self._path.open("rb") as file:
            first = read_line(file.readline(MAX_LINE_BYTES + 1).rstrip(b"\n"))
        self._first = first.n if first is not None else self.last.count + 1

    def _make(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size, self._first = 0, self.last.count + 1
        _sync_folder(self.folder)

    def _rotate(self) -> None:
        """One rename, so that a crash at any point leaves a chain that goes on."""
        name = f"audit-{self._first:016d}"
        target = self.folder / f"{name}.jsonl"
        if target.exists():  # lines were lost and their numbers came again: neither file replaces the other
            target = self.folder / f"{name}-{time.time_ns()}.jsonl"
        self._path.rename(target)
        self.close()
        for old in full_files(self.folder)[:-KEPT_FILES]:
            old.unlink(missing_ok=True)
        self._make()

    def _write(self, line: bytes) -> None:
        descriptor = self._descriptor
        assert descriptor is not None
        try:
            left = memoryview(line)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, self._size)  # half a line would spoil the next one
            raise
        self._size += len(line)

    def _keep_head(self) -> None:
        """After the line, in place, unsynced: it is never ahead of the lines, and where it lags it only knows less."""
        content = orjson.dumps({"n": self.last.count, "head": self.last.digest}).ljust(_HEAD_BYTES - 1) + b"\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError):
            descriptor = os.open(self.folder / HEAD, flags, 0o600)
            try:
                os.pwrite(descriptor, content, 0)
            finally:
                os.close(descriptor)


def full_files(folder: Path) -> list[Path]:
    """The full files, oldest first."""
    return sorted(folder.glob(FULL))


def read_head(folder: Path) -> Head | None:
    """What `audit.head` says; None if there is none, or it says nothing."""
    try:
        with (folder / HEAD).open("rb") as file:
            document = orjson.loads(file.read(4 * _HEAD_BYTES))
        count, digest = document["n"], document["head"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    good = isinstance(count, int) and 0 < count < MAX_COUNT and isinstance(digest, str) and len(digest) == len(NOTHING)
    return Head(count, digest, HEAD) if good and not digest.strip("0123456789abcdef") else None


def _findings(on_disk: Head | None, told: Head | None, torn: list[str], *, running: bool) -> Iterator[Entry]:
    """What to say of how the files were found; nothing if they are as they were left."""

    def found(code: str, reason: str) -> Entry:
        return Entry(kind="chain", code=code, reason="; ".join([reason, *torn]))

    if on_disk is None and told is None:
        yield found("lost", "the agent's key is older than its audit: what was decided before is lost")
    elif on_disk is None and told is not None:
        gone = f"lines 1 to {told.count} are gone, all files of the audit"
        yield found("lost", gone) if told.count else found("first", "this is the agent's first start")
    elif on_disk is not None and told is not None and told.count > on_disk.count:
        yield found("cut", f"lines {on_disk.count + 1} to {told.count} are gone from the end of the audit")
    elif on_disk is not None and told is not None and told.count == on_disk.count and told.digest != on_disk.digest:
        yield found("altered", f"line {told.count} is not as it was written")
    elif running and on_disk is not None and told is not None and told.count < on_disk.count:
        yield found("added", f"lines {told.count + 1} to {on_disk.count} were written by somebody else")
    elif torn:
        yield found("torn", "the file did not end with a whole line, after a crash or by somebody's hand")
    elif running:
        yield found("replaced", "somebody put another file in the audit's place")


def _end_of(content: bytes) -> tuple[int, Head | None]:
    """Where the last line of an audit ends, its line feed included, and its head; 0 and None if there is none."""
    end = content.rfind(b"\n") + 1
    while end:
        begin = content.rfind(b"\n", 0, end - 1) + 1
        raw = content[begin : end - 1]
        line = read_line(raw)
        if line is not None:
            return end, Head(line.n, line_digest(raw))
        end = begin
    return 0, None


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotRecorded(f"{path}: {error.strerror or error}", hint="Nothing runs that cannot be recorded.") from None
