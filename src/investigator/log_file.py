"""A log file that is turned when it is large, by whichever of the processes that share it comes first.

Each line is one write to the end of the file, so lines of several processes do not mix. Turned by somebody else (another
process, logrotate), it is opened anew. A disk that takes nothing loses lines, never the program.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:  # Windows: where processes share a file, each of them may turn it
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from pathlib import Path


class LogFile(logging.Handler):
    """Appends formatted records; made and read by its owner alone."""

    def __init__(self, path: Path, *, max_bytes: int, keep: int) -> None:
        """Open it, or make it.

        Raises:
            OSError: that is not possible, or it is no regular file.
        """
        self.lost = 0
        """Lines that the disk did not take, or not whole."""
        self._torn = False
        self._path, self._max_bytes, self._keep = path, max_bytes, keep
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = self._open()
        super().__init__()  # from here on it is closed at exit, so not before there is something to close

    def emit(self, record: logging.LogRecord) -> None:
        """One line, or one lost."""
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            if not self._is_ours():
                os.close(self._file)
                self._file = self._open()
            if 0 < os.fstat(self._file).st_size > self._max_bytes - len(line):
                self._turn()
            line = b"\n" + line if self._torn else line
            self._torn = os.write(self._file, line) < len(line)
            self.lost += self._torn
        except OSError:
            self.lost += 1
        except Exception:  # noqa: BLE001 - a line that cannot be formatted must not end who logs it
            self.handleError(record)

    def close(self) -> None:
        """Say no more."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        super().close()

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        flags |= getattr(os, "O_NONBLOCK", 0)  # a pipe that stands there must not hold us
        file = os.open(self._path, flags, 0o600)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise OSError(22, "no regular file", str(self._path))
        return file

    def _is_ours(self) -> bool:
        try:
            there = self._path.stat(follow_symlinks=False)
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def _turn(self) -> None:
        """`file` becomes `file.1`, and so on; whoever shares it and waited finds it turned. What fails leaves it as it is."""
        with contextlib.suppress(OSError):
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX)
            if self._is_ours():
                for number in range(self._keep, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        self._numbered(number - 1).replace(self._numbered(number))
                if not self._keep:
                    self._path.unlink()
            turned = self._open()
            os.close(self._file)
            self._file = turned

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
