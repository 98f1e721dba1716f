"""Processes on Linux, through /proc."""

from __future__ import annotations

import os
import pwd
from functools import cache
from typing import TYPE_CHECKING

from investigator.modules.process.looking import Basics, Executable, Owner
from investigator.modules.processes.family import all_stats, own_family
from investigator.modules.processes.parsing import DELETED
from investigator.modules.processes.procfs import Clock, Process, pids

if TYPE_CHECKING:
    from investigator.modules.process.looking import Subject


class LinuxHost:
    """See `Host`."""

    def __init__(self) -> None:
        self._clock = Clock()

    def pids(self) -> list[int]:
        """See `Host`."""
        return pids()

    def open(self, pid: int) -> Subject:
        """See `Host`."""
        return _Subject(pid, self._clock)

    def family(self) -> frozenset[int]:
        """See `Host`."""
        return own_family(all_stats())


class _Subject:
    """See `Subject`."""

    def __init__(self, pid: int, clock: Clock) -> None:
        self.pid = pid
        self._clock = clock
        self._process = Process(pid)
        self.close = self._process.close
        self.open_executable = self._process.open_executable

    def basics(self) -> Basics:
        stat = self._process.stat()
        return Basics(stat.name, stat.parent, self._clock.started_ns(stat.started_ticks), stat.is_kernel_thread)

    def owner(self) -> Owner:
        identity = self._process.identity()
        numbers = tuple(dict.fromkeys((identity.effective, identity.real)))
        return Owner(numbers, tuple(_user_name(number) for number in numbers))

    def executable(self) -> Executable | None:
        path = self._process.executable()
        if not path:
            return None
        if not path.endswith(DELETED):
            return Executable(path, deleted=False)
        deleted = not self._is_called(path)
        return Executable(path.removesuffix(DELETED) if deleted else path, deleted=deleted)

    def _is_called(self, path: bytes) -> bool:
        """Whether the executable bears this name, so that ` (deleted)` is a part of it and not the kernel's words."""
        found = self._process.executable_status()
        try:
            named = os.lstat(path)
        except OSError:
            return False
        return found.st_nlink > 0 and (named.st_dev, named.st_ino) == (found.st_dev, found.st_ino)

    def arguments(self) -> tuple[bytes, bool]:
        arguments, whole = self._process.command_line()
        return b" ".join(arguments), whole

    def open_files(self) -> tuple[list[bytes], bool]:
        return self._process.open_files()


@cache
def _user_name(number: int) -> bytes:
    try:
        return pwd.getpwuid(number).pw_name.encode("utf-8", "surrogateescape")
    except (KeyError, OverflowError):
        return str(number).encode()
