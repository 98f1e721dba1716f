"""Where a file's bytes come from: the file as it is, or gunzipped; never more than there is room for, never for ever."""

from __future__ import annotations

import os
import time
import zlib
from typing import Final, Protocol

_READ_BYTES: Final = 4 << 20
WORD_BYTES: Final = 8
_INFLATE_INPUT_BYTES: Final = 64 << 10
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_HEADER_BYTES: Final = 10


class OutOfTime(Exception):
    """The deadline came while a file was read."""


class ReadProblem(Exception):
    """A file that cannot be read to its end; the message says why."""


class Source(Protocol):
    """Where a file's bytes come from."""

    def read_into(self, room: memoryview) -> int:
        """As much as there is, up to `room`; 0 at the end. Raises OSError, ReadProblem, OutOfTime."""


class PlainSource:
    """The file as it is."""

    __slots__ = ("_deadline_s", "_descriptor", "_left", "_left_at_end")

    def __init__(self, descriptor: int, *, deadline_s: float, limit_bytes: int, size: int = 0) -> None:
        """`size`: what the system says that it has, where that is true; spares asking for more behind its end."""
        self._descriptor = descriptor
        self._deadline_s = deadline_s
        self._left = limit_bytes
        self._left_at_end = limit_bytes - size if size else -1

    def read_into(self, room: memoryview) -> int:
        """See `Source`."""
        if self._left == self._left_at_end:
            return 0
        if time.monotonic() > self._deadline_s:
            raise OutOfTime
        size = min(len(room), _READ_BYTES)
        room = room[: size & -WORD_BYTES or size]  # /proc's pagemap gives whole words only
        count = os.readv(self._descriptor, [room]) if _READV else self._read(room)
        self._left -= count
        if self._left < 0:
            raise ReadProblem("yields far more than its size: not read further")
        if count == len(room):  # it may have grown
            self._left_at_end = -1 if self._left == self._left_at_end else self._left_at_end
        return count

    def _read(self, room: memoryview) -> int:
        data = os.read(self._descriptor, len(room))
        room[: len(data)] = data
        return len(data)


_READV: Final = hasattr(os, "readv")


class GzipSource:
    """The file gunzipped: all members one after another (RFC 1952, section 2.2), a block at a time."""

    def __init__(self, raw: Source) -> None:
        self._raw = raw
        self._input = memoryview(bytearray(_INFLATE_INPUT_BYTES))
        self._pending = b""
        self._member: zlib._Decompress | None = None
        self._ended = False

    def read_into(self, room: memoryview) -> int:
        """See `Source`. A bomb costs time only: never more is inflated than there is room for."""
        while True:
            if not self._pending and not self._ended:
                count = self._raw.read_into(self._input)
                self._ended = count == 0
                self._pending = bytes(self._input[:count])
            if self._member is None:
                self._pending = self._pending.lstrip(b"\0")  # padding between members and at the end
                if not self._pending:
                    if self._ended:
                        return 0
                    continue
                self._member = zlib.decompressobj(wbits=31)
            data = self._inflate(self._member, len(room))
            if data:
                room[: len(data)] = data
                return len(data)

    def _inflate(self, member: zlib._Decompress, most: int) -> bytes:
        try:
            data = member.decompress(self._pending, most)
        except zlib.error as error:
            raise ReadProblem(f"gzip: {str(error).rpartition(': ')[2]}") from None
        self._pending = member.unconsumed_tail
        if member.eof:
            self._pending = member.unused_data
            self._member = None
        elif not data and not self._pending and self._ended:
            raise ReadProblem("unexpected EOF")
        return data


def gzip_head(descriptor: int) -> bytes:
    """The start of a file that begins as a gzip file does, else nothing."""
    try:
        head = os.read(descriptor, _INFLATE_INPUT_BYTES)
    except OSError:  # the same will be met, and said, when it is read as it is
        return b""
    return head if head.startswith(_GZIP_MAGIC) else b""


def can_inflate(head: bytes) -> bool:
    """Whether what begins as a gzip file has a whole, valid header (RFC 1952, section 2.3)."""
    try:
        zlib.decompressobj(wbits=31).decompress(head, 1)
    except zlib.error:
        return False
    return len(head) >= _GZIP_HEADER_BYTES
