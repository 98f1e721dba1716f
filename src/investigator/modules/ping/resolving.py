"""From a destination to the one address that is pinged, and reported; asked of the host's own resolver."""

from __future__ import annotations

import queue
import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,253}")
_SCOPE: Final = re.compile(r"[A-Za-z0-9._-]{1,32}")


class Unresolved(Exception):
    """There is no address to ping; `str()` is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where pings go."""

    family: socket.AddressFamily
    sockaddr: Any
    """As the `socket` module takes it."""

    @property
    def text(self) -> str:
        """The address alone."""
        ip: str = self.sockaddr[0]
        return ip


def is_destination(text: str) -> bool:
    """Whether it is an address, or can be a host's name."""
    bare, percent, scope = text.partition("%")
    if ":" in bare:
        return is_ipv6(bare) and (not percent or _SCOPE.fullmatch(scope) is not None)
    return _NAME.fullmatch(text) is not None


def is_ipv6(text: str) -> bool:
    """Whether it is an IPv6 address, with or without a scope."""
    try:
        socket.inet_pton(socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return False
    return True


def resolve(destination: str, port: int, *, kind: socket.SocketKind, deadline_s: float) -> Address:
    """The first address in the order of RFC 6724, as connecting programs take it.

    A resolver may take its time: it is asked in a thread that is left behind at the deadline.

    Raises:
        Unresolved: there is none, or none in time.
    """
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            # as bytes: for text, Python would load its tables of international names
            found = socket.getaddrinfo(destination.encode("ascii"), port, type=kind)
            answers.put(Address(family=found[0][0], sockaddr=found[0][4]))
        except (OSError, UnicodeError, IndexError) as error:
            answers.put(error)

    threading.Thread(target=ask, name="resolver", daemon=True).start()
    left_s = deadline_s - time.monotonic()
    try:
        answer = answers.get(timeout=None if left_s == float("inf") else max(left_s, 0.0))
    except queue.Empty:
        raise Unresolved("the resolver did not answer in time") from None
    if isinstance(answer, Address):
        return answer
    raise Unresolved(getattr(answer, "strerror", None) or "no address")
