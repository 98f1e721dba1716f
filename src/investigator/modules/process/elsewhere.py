"""Processes where there is no /proc (macOS, Windows), through psutil. Not run by the tests there, only on recorded answers.

psutil's executable is a path, so a deleted one cannot be told from one that was never readable: its hash is an error.
"""

from __future__ import annotations

import errno
import os
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.file.opening import open_file
from investigator.modules.process.looking import Basics, Executable, Owner
from investigator.modules.processes.procfs import Ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.modules.process.looking import Subject

_NS_PER_S: Final = 1_000_000_000


class PsutilHost:
    """See `Host`."""

    def __init__(self, library: Any = None) -> None:
        self._library = library

    @cached_property
    def _psutil(self) -> Any:
        if self._library is None:
            import psutil

            return psutil
        return self._library

    def pids(self) -> list[int]:
        """See `Host`."""
        return sorted(self._psutil.pids())

    def open(self, pid: int) -> Subject:
        """See `Host`."""
        return _Subject(pid, self._psutil)

    def family(self) -> frozenset[int]:
        """See `Host`."""
        me = self._psutil.Process()
        try:
            related = [*me.parents(), *me.children(recursive=True)]
        except self._psutil.Error:
            related = []
        return frozenset((me.pid, *(process.pid for process in related)))


class _Subject:
    """See `Subject`. psutil refuses to act for a successor under the same pid where that matters, by the start time."""

    def __init__(self, pid: int, psutil: Any) -> None:
        self.pid = pid
        self._psutil = psutil
        self._process = self._asked(lambda: psutil.Process(pid))

    def basics(self) -> Basics:
        with self._process.oneshot():
            name = self._asked(self._process.name)
            parent = self._asked(self._process.ppid)
            started_s = self._asked(self._process.create_time)
        return Basics(os.fsencode(name), parent, int(started_s * _NS_PER_S))

    def owner(self) -> Owner:
        name = os.fsencode(self._asked(self._process.username))
        if not hasattr(self._process, "uids"):
            return Owner((), (name,))
        uids = self._asked(self._process.uids)
        return Owner(tuple(dict.fromkeys((uids.effective, uids.real))), (name,))

    def executable(self) -> Executable | None:
        path = os.fsencode(self._asked(self._process.exe) or "")
        return Executable(path, deleted=False) if path else None

    def open_executable(self) -> int:
        return open_file(os.fsencode(self._asked(self._process.exe)), follow=True)

    def arguments(self) -> tuple[bytes, bool]:
        return b" ".join(map(os.fsencode, self._asked(self._process.cmdline))), True

    def open_files(self) -> tuple[list[bytes], bool]:
        files = [os.fsencode(file.path) for file in self._asked(self._process.open_files)]
        return [*files, os.fsencode(self._asked(self._process.cwd))], True

    def close(self) -> None:
        """Nothing is held."""

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """The answer, with psutil's errors as those of the system."""
        try:
            return ask()
        except self._psutil.AccessDenied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None
        except self._psutil.NoSuchProcess:  # a zombie too, which has nothing left to tell
            raise Ended from None
