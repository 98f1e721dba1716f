"""Digests of executables: each file once for all processes that run it."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from typing import TYPE_CHECKING, Final

from investigator.modules.file.reading import GROWTH_BYTES
from investigator.modules.file.sources import OutOfTime as ReadOutOfTime
from investigator.modules.file.sources import PlainSource
from investigator.modules.processes.crew import OutOfTime

if TYPE_CHECKING:
    from collections.abc import Callable

_BUFFER_BYTES: Final = 256 << 10
_MAX_KNOWN: Final = 65_536


class ExecutableChanged(Exception):
    """It is not what it was; the message says how."""


class Hasher:
    """Used by several threads at once; two that need the same file at the same time may both read it."""

    def __init__(self, deadline_s: float) -> None:
        self._deadline_s = deadline_s
        self._known: dict[tuple[object, ...], str] = {}
        self._buffers = threading.local()

    def digest(self, opening: Callable[[], int], algorithm: str) -> str:
        """Of the file that `opening` gives a descriptor of, in upper-case hexadecimal digits.

        Raises:
            OSError, ReadProblem, ExecutableChanged: it cannot be read to its end; OutOfTime: not before the deadline.
        """
        descriptor = opening()
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise ExecutableChanged("is no regular file")
            key = (algorithm, *_identity(before))
            known = self._known.get(key)
            if known is None:
                known = self._read(descriptor, before.st_size, algorithm)
                if _identity(os.fstat(descriptor)) == _identity(before) and len(self._known) < _MAX_KNOWN:
                    self._known[key] = known
            return known
        finally:
            os.close(descriptor)

    def _read(self, descriptor: int, size: int, algorithm: str) -> str:
        buffer: memoryview | None = getattr(self._buffers, "view", None)
        if buffer is None:
            buffer = self._buffers.view = memoryview(bytearray(_BUFFER_BYTES))
        source = PlainSource(descriptor, deadline_s=self._deadline_s, limit_bytes=size + GROWTH_BYTES)
        hasher = hashlib.new(algorithm, usedforsecurity=False)
        try:
            while count := source.read_into(buffer):
                hasher.update(buffer[:count])
        except ReadOutOfTime:
            raise OutOfTime from None
        return hasher.hexdigest().upper()


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
