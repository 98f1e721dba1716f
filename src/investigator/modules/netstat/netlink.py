"""Asking Linux's kernel for its tables through netlink (RFC 3549; netlink(7), rtnetlink(7), sock_diag(7)).

A dump is one request and many messages, streamed: however long a table is, one buffer of it is held at a time.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import TYPE_CHECKING, Final

from investigator.modules.netstat.rows import Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType
    from typing import Self

ROUTE: Final = 0
SOCK_DIAG: Final = 4
_AF_NETLINK: Final = getattr(socket, "AF_NETLINK", 16)
_HEAD: Final = struct.Struct("=IHHII")
_ATTRIBUTE: Final = struct.Struct("=HH")
_ERRNO: Final = struct.Struct("=i")
_NOOP: Final = 1
_ERROR: Final = 2
_DONE: Final = 3
_REQUEST_DUMP: Final = 0x301
_INTERRUPTED: Final = 0x10
_KIND_MASK: Final = 0x3FFF
_BUFFER_BYTES: Final = 64 << 10
_PATIENCE_S: Final = 5.0


class Netlink:
    """A netlink socket; it belongs to the network namespace of the thread that makes it, for good."""

    def __init__(self, protocol: int) -> None:
        """Raises Unreadable: there is none."""
        self._number = 0
        self.interrupted = False
        """Whether a table changed while it was dumped, so that an entry may be missing."""
        try:
            self._socket = socket.socket(_AF_NETLINK, socket.SOCK_RAW | getattr(socket, "SOCK_CLOEXEC", 0), protocol)
        except OSError as error:
            raise Unreadable(f"netlink: {error.strerror}") from None
        self._socket.settimeout(_PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def dump(self, kind: int, body: bytes) -> Iterator[tuple[bytes, int, int]]:
        """Ask for a table; each of its entries is in the buffer given, from the first offset up to the second.

        Raises:
            Unreadable: the kernel refuses, or does not answer.
        """
        self._number += 1
        try:
            self._socket.sendto(_HEAD.pack(_HEAD.size + len(body), kind, _REQUEST_DUMP, self._number, 0) + body, (0, 0))
            while True:
                data, _, _, (sender, _) = self._socket.recvmsg(_BUFFER_BYTES)
                if sender != 0:  # only process 0 is the kernel; any process may send to a netlink socket
                    continue
                for what, number, start, end in messages(data):
                    if number != self._number:
                        continue
                    if what & _INTERRUPTED << 16:
                        self.interrupted = True
                    if what & 0xFFFF == _DONE:
                        return
                    yield data, start, end
        except OSError as error:
            raise Unreadable(f"netlink: {error.strerror or error}") from None


def messages(data: bytes) -> list[tuple[int, int, int, int]]:
    """The messages of a buffer: type and flags (above 16 bits), sequence number, where the content starts and ends.

    Raises:
        OSError: one of them reports an error, or it is no netlink.
    """
    found = []
    offset, size = 0, len(data)
    while offset + _HEAD.size <= size:
        length, kind, flags, number, _ = _HEAD.unpack_from(data, offset)
        end = offset + length
        if length < _HEAD.size or end > size:
            raise OSError(errno.EBADMSG, "a message that was cut")
        start = offset + _HEAD.size
        if kind == _ERROR:
            code = -_ERRNO.unpack_from(data, start)[0] if length >= _HEAD.size + _ERRNO.size else errno.EBADMSG
            if code:
                raise OSError(code, os.strerror(code) if 0 < code < 4096 else f"error {code}")
        elif kind != _NOOP:
            found.append((kind | flags << 16, number, start, end))
        offset += (length + 3) & ~3
    return found


def attributes(data: bytes, start: int, end: int) -> dict[int, bytes]:
    """The attributes (type, value) between two offsets; what is cut off is left out, of the same type the last counts."""
    found: dict[int, bytes] = {}
    end = min(end, len(data))
    while start + _ATTRIBUTE.size <= end:
        length, kind = _ATTRIBUTE.unpack_from(data, start)
        if length < _ATTRIBUTE.size or start + length > end:
            break
        found[kind & _KIND_MASK] = data[start + _ATTRIBUTE.size : start + length]
        start += (length + 3) & ~3
    return found
