"""Linux's processes through /proc, each held by its folder.

An open folder /proc/PID stands for that one process: when it has ended, all that is read through the folder fails with
ESRCH, whoever was given its pid since. Nothing is found by following a path that a process can choose, but for its
executable and its open files, and these only through the links that the kernel makes for them.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat as modes
from functools import cached_property
from typing import TYPE_CHECKING, Final

from investigator.modules.processes.parsing import (
    Identity,
    Region,
    Stat,
    lines_of,
    parse_identity,
    parse_region,
    parse_stat,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

PROC: Final = "/proc"
MAX_COMMAND_LINE_BYTES: Final = 1 << 20
MAX_DESCRIPTORS: Final = 65_536
"""How many open files of one process are looked at."""
MAX_PATHS_BYTES: Final = 8 << 20
"""Of their paths together, each once."""
_MAX_STAT_BYTES: Final = 4096
_MAX_STATUS_BYTES: Final = 64 << 10
_PIECE_BYTES: Final = 64 << 10
_OPEN: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
_FOLDER: Final = _OPEN | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", 0)
_LISTED: Final = _OPEN | getattr(os, "O_DIRECTORY", 0)
_FILE: Final = _OPEN | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)


class Ended(Exception):
    """The process ended while it was looked at."""


class Process:
    """One process; close it, or use it in a `with`.

    Every method raises `Ended` when it is gone, PermissionError where this user may not look, and other `OSError`s.
    """

    def __init__(self, pid: int) -> None:
        """Raises Ended: there is none with that pid."""
        self.pid = pid
        try:
            self._folder = os.open(f"{PROC}/{pid}", _FOLDER)
        except (FileNotFoundError, ProcessLookupError):
            raise Ended from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def stat(self) -> Stat:
        """Its `stat`, read now."""
        found = parse_stat(self._read("stat", _MAX_STAT_BYTES))
        if found is None:
            raise OSError(errno.EINVAL, "its stat cannot be understood")
        return found

    def identity(self) -> Identity:
        """Whose it is, now."""
        found = parse_identity(self._read("status", _MAX_STATUS_BYTES))
        if found is None:
            raise OSError(errno.EINVAL, "its status cannot be understood")
        return found

    def executable(self) -> bytes:
        """Where its executable is, as the kernel shows it, ` (deleted)` included; nothing for a kernel thread."""
        try:
            return os.readlink(b"exe", dir_fd=self._folder)
        except FileNotFoundError:  # a kernel thread, a zombie
            return b""
        except ProcessLookupError:
            raise Ended from None

    def executable_status(self) -> os.stat_result:
        """Of the executable itself, wherever its path leads by now."""
        return self._status("exe")

    def open_executable(self) -> int:
        """A descriptor of the executable itself, deleted or not; the caller closes it."""
        return self._open("exe", _FILE)

    def command_line(self) -> tuple[list[bytes], bool]:
        """Its arguments as they stand now (a process can write over them), and whether there are more than are read."""
        text = self._read("cmdline", MAX_COMMAND_LINE_BYTES + 1)
        whole = len(text) <= MAX_COMMAND_LINE_BYTES
        arguments = text[:MAX_COMMAND_LINE_BYTES].split(b"\0")
        if arguments and not arguments[-1]:
            arguments.pop()
        return arguments, whole

    def open_files(self) -> tuple[list[bytes], bool]:
        """What its descriptors and its current folder lead to, and whether that is all of it.

        Paths, or such as `socket:[7]`; each as the kernel shows it.
        """
        found: dict[bytes, None] = {}
        room = MAX_PATHS_BYTES
        listed = self._open("fd", _LISTED)
        try:
            with os.scandir(listed) as entries:
                for count, name in enumerate(itertools.chain(("../cwd",), (entry.name for entry in entries))):
                    path = self._link(name, listed)
                    if path is None or path in found:
                        continue
                    room -= len(path)
                    if room < 0 or count > MAX_DESCRIPTORS:
                        return list(found), False
                    found[path] = None
        except ProcessLookupError:
            raise Ended from None
        finally:
            os.close(listed)
        return list(found), True

    def _link(self, name: str, folder: int) -> bytes | None:
        try:
            return os.fsencode(os.readlink(name, dir_fd=folder))
        except FileNotFoundError:  # closed meanwhile
            return None

    def regions(self) -> Iterator[Region]:
        """What is mapped, by address. A map may change under the reader: each line is true of some moment."""
        descriptor = self._open("maps", _OPEN)
        try:
            for line in lines_of(_pieces(descriptor)):
                region = parse_region(line)
                if region is not None:
                    yield region
        except ProcessLookupError:
            raise Ended from None
        finally:
            os.close(descriptor)

    def open_memory(self) -> int:
        """A descriptor of its memory, for reading alone; it holds the memory that the process has now, an exec's not."""
        return self._open("mem", _OPEN)

    def open_pagemap(self) -> int:
        """A descriptor of the table of its pages (eight bytes each)."""
        return self._open("pagemap", _OPEN)

    def mapped_status(self, region: Region) -> os.stat_result:
        """Of the file that a region maps, wherever its path leads by now; that takes CAP_SYS_ADMIN or the like."""
        return self._status(_map_name(region))

    def open_mapped(self, region: Region) -> int:
        """A descriptor of the regular file that a region maps; the caller closes it."""
        if not modes.S_ISREG(self.mapped_status(region).st_mode):
            raise OSError(errno.EINVAL, "is no regular file")
        return self._open(_map_name(region), _FILE)

    def _status(self, name: str) -> os.stat_result:
        try:
            return os.stat(name, dir_fd=self._folder)
        except ProcessLookupError:
            raise Ended from None

    def _open(self, name: str, flags: int) -> int:
        try:
            return os.open(name, flags, dir_fd=self._folder)
        except ProcessLookupError:
            raise Ended from None

    def _read(self, name: str, limit: int) -> bytes:
        """As much of a text as there is, up to a limit."""
        try:
            descriptor = os.open(name, _OPEN, dir_fd=self._folder)
        except (ProcessLookupError, FileNotFoundError):
            raise Ended from None
        try:
            text = os.read(descriptor, limit)
            while 0 < len(text) < limit and (more := os.read(descriptor, limit - len(text))):
                text += more
        except ProcessLookupError:
            raise Ended from None
        finally:
            os.close(descriptor)
        return text


class Clock:
    """When processes started, on the host's clock."""

    @cached_property
    def booted_s(self) -> int:
        """When the host started, seconds since 1970; it moves when the clock is set."""
        with open(f"{PROC}/stat", "rb") as file:
            for line in file:
                if line.startswith(b"btime "):
                    return int(line.split()[1])
        return 0

    @cached_property
    def _ticks_per_s(self) -> int:
        return os.sysconf("SC_CLK_TCK")

    def started_ns(self, ticks: int) -> int:
        """Nanoseconds since 1970, exact to a hundredth of a second or so."""
        return self.booted_s * 1_000_000_000 + ticks * 1_000_000_000 // self._ticks_per_s


def pids() -> list[int]:
    """All processes that this one can see, by number; raises OSError where there is no /proc."""
    return sorted(int(name) for name in os.listdir(PROC) if name.isdigit())


def _map_name(region: Region) -> str:
    return f"map_files/{region.start:x}-{region.end:x}"


def _pieces(descriptor: int) -> Iterator[bytes]:
    while piece := os.read(descriptor, _PIECE_BYTES):
        yield piece
