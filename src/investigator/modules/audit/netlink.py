"""The kernel's audit, over netlink (linux/audit.h, audit.c): its multicast group of records, its status, and no rules.

Listeners of the group take nobody's place: auditd keeps the records that it has. What is lost on the way (the kernel's
backlog, this socket's buffer) is counted where the kernel tells it.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from dataclasses import dataclass
from typing import Final, Self

NETLINK_AUDIT: Final = 9
READLOG_GROUP: Final = 1
"""AUDIT_NLGRP_READLOG, as the bit that bind(2) takes: needs CAP_AUDIT_READ in the host's own user namespace."""
MAX_RECORD_BYTES: Final = 16 << 10
"""The kernel's own limit is 8,970 (MAX_AUDIT_MESSAGE_LENGTH)."""
BUFFER_BYTES: Final = 4 << 20
STATUS_WITHIN_S: Final = 2.0
_HEAD: Final = struct.Struct("=IHHII")
_NLMSG_ERROR: Final = 2
_NLM_F_REQUEST: Final = 1
_NLM_F_ACK: Final = 4
_AUDIT_GET: Final = 1000
_AUDIT_SET: Final = 1001
_STATUS_ENABLED: Final = 1
_SO_RCVBUFFORCE: Final = 33


class NotPermitted(Exception):
    """The kernel does not let this process, or has no audit; why, in one line."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it came: its type's number, and its text."""

    type: int
    text: bytes


class Listener:
    """A member of the group; a context manager."""

    def __init__(self) -> None:
        """Join it.

        Raises:
            NotPermitted: this host does not let it.
        """
        try:
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT)
        except OSError as error:
            raise NotPermitted(f"this kernel has no audit: {error.strerror}") from None
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
        try:
            self._socket.bind((0, READLOG_GROUP))
        except OSError as error:
            self._socket.close()
            raise NotPermitted(f"the kernel's audit cannot be listened to: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def receive(self, timeout_s: float) -> Record | None:
        """The next record; None if none came. What others than the kernel sent is no record.

        Raises:
            Overrun: some were lost here since they were not taken fast enough.
        """
        self._socket.settimeout(timeout_s)
        try:
            data, (sender, _) = self._socket.recvfrom(MAX_RECORD_BYTES)
        except TimeoutError:
            return None
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise Overrun from None
            raise
        return parse(data) if sender == 0 else None


class Overrun(Exception):
    """The socket's buffer was full."""


def parse(data: bytes) -> Record | None:
    """A message of the group; None if it is none. Its own length is not trusted: kernels have counted it differently."""
    if len(data) < _HEAD.size:
        return None
    _, kind, _, _, _ = _HEAD.unpack_from(data)
    return Record(kind, data[_HEAD.size :].rstrip(b"\0\n"))


def enabled() -> bool | None:
    """Whether the kernel audits at all; None where that may not be asked."""
    answer = _ask(_AUDIT_GET, b"")
    return None if answer is None or len(answer) < 8 else struct.unpack_from("=I", answer, 4)[0] != 0


def enable() -> None:
    """Have the kernel audit; rules stay as they are.

    Raises:
        NotPermitted: it does not.
    """
    # struct audit_status: which fields count, then enabled, and eight more that do not
    _ask(_AUDIT_SET, struct.pack("=10I", _STATUS_ENABLED, 1, *[0] * 8))
    if not enabled():
        raise NotPermitted("kernel auditing cannot be turned on")


def _ask(kind: int, body: bytes) -> bytes | None:
    """The kernel's answer of the same kind; None for a refusal, or none."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT) as asking:
        asking.settimeout(STATUS_WITHIN_S)
        try:
            asking.bind((0, 0))
            asking.send(_HEAD.pack(_HEAD.size + len(body), kind, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0) + body)
            while True:
                answer = asking.recv(MAX_RECORD_BYTES)
                _, said, _, _, _ = _HEAD.unpack_from(answer)
                if said == kind:
                    return answer[_HEAD.size :]
                if said == _NLMSG_ERROR and (kind != _AUDIT_GET or struct.unpack_from("=i", answer, _HEAD.size)[0]):
                    return None
        except (OSError, struct.error):
            return None
