"""A port that each run of an action rings once: how often it ran is counted outside of what is tested, and a test decides when it ends."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any, Self

from investigator.modules import get_module
from investigator.protocol.action import Operation

LASTS_S = 120.0
"""An operation that nobody lets go ends by itself after that."""


class Bell:
    """A UDP port of this machine, for `ping`, which waits for an answer; a context manager."""

    def __init__(self, *, holds: bool = True) -> None:
        """With `holds` runs wait until `let_go`."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._port: int = self._socket.getsockname()[1]
        self._holds = holds
        self._rang = threading.Condition()
        self._waiting: list[Any] = []
        self._rung = 0
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.let_go()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self._port))
        self._thread.join()
        self._socket.close()

    @property
    def operation(self) -> Operation:
        """What rings it: one `ping`, which finds something when it is answered."""
        flags = {
            "destination": "127.0.0.1",
            "protocol": "udp",
            "destinationport": self._port,
            "count": 1,
            "timeout": LASTS_S,
        }
        return Operation(module="ping", parameters=get_module("ping").from_flags(flags))

    @property
    def rung(self) -> int:
        """How many runs there were."""
        with self._rang:
            return self._rung

    def until(self, runs: int, *, within_s: float = 45.0) -> None:
        """Wait until it was rung so often."""
        with self._rang:
            assert self._rang.wait_for(lambda: self._rung >= runs, within_s), f"{self._rung} runs began, not {runs}"

    def let_go(self) -> None:
        """Answer the runs that wait, and from now on all at once."""
        with self._rang:
            self._holds = False
            waiting, self._waiting = self._waiting, []
        for address in waiting:
            self._socket.sendto(b"done", address)

    def _listen(self) -> None:
        while True:
            try:
                content, address = self._socket.recvfrom(65536)
            except ConnectionError:  # who rang was killed: Windows tells of it here
                continue
            if not content:
                return
            with self._rang:
                self._rung += 1
                holds = self._holds
                if holds:
                    self._waiting.append(address)
                self._rang.notify_all()
            if not holds:
                self._socket.sendto(b"done", address)


def until(condition: Any, what: str, *, within_s: float = 45.0) -> None:
    """Wait for what has no event of its own: another process's file, the broker's stream."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s:g} s: {what}"
        time.sleep(0.02)
