"""The host's own log, where there is one: the journal's native socket, else syslog's. It never holds the agent up.

Protocols: systemd's "Native Journal Protocol", and RFC 3164 as /dev/log takes it (priority, tag, text).
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Final

JOURNAL: Final = "/run/systemd/journal/socket"
SYSLOGS: Final = ("/dev/log", "/var/run/syslog")
_NAME: Final = b"investigator"
_AUTHPRIV: Final = 10
_WARNING: Final = 4
_INFO: Final = 6


class HostLog:
    """Says lines to the journal or to syslog, whichever is there now; what neither takes at once is dropped."""

    def __init__(self, *, journal: str = JOURNAL, syslogs: tuple[str, ...] = SYSLOGS) -> None:
        self._journal = journal
        self._syslogs = syslogs
        self._socket: socket.socket | None = None

    def say(self, line: bytes, *, warning: bool) -> None:
        """One line without line feeds, as facility authpriv."""
        level = _WARNING if warning else _INFO
        native = b"MESSAGE=%b\nPRIORITY=%d\nSYSLOG_FACILITY=%d\nSYSLOG_IDENTIFIER=%b\n" % (
            line,
            level,
            _AUTHPRIV,
            _NAME,
        )
        if self._send(native, self._journal):
            return
        plain = b"<%d>%b[%d]: %b" % (_AUTHPRIV * 8 + level, _NAME, os.getpid(), line)
        for path in self._syslogs:
            if self._send(plain, path):
                return

    def close(self) -> None:
        """Say no more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, datagram: bytes, path: str) -> bool:
        """Whether somebody listens there; if it cannot take more at the moment, this one is lost to it."""
        with contextlib.suppress(OSError):
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                self._socket.sendto(datagram, path)
            return True
        return False
