"""One ping by each protocol: milliseconds, or one of MIG's numbers for what went wrong."""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from investigator.modules.ping.resolving import Address

REFUSED: Final = -1
TIMED_OUT: Final = 9_999_999
FAILED: Final = 0
SHORTEST_MS: Final = 0.001
"""What a reply took is never shown as less: 0 means a failure."""
_PAYLOAD: Final = b"ping"
_ECHO: Final = struct.Struct(">BBHHH")
_TOKEN_BYTES: Final = 32
_BUFFER_BYTES: Final = 2048
_REQUEST: Final = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY: Final = {socket.AF_INET: 0, socket.AF_INET6: 129}
_PROTOCOL: Final = {socket.AF_INET: 1, socket.AF_INET6: 58}
_LINUX: Final = sys.platform.startswith("linux")
_REPORT_ERRORS: Final = {socket.AF_INET: (0, 11), socket.AF_INET6: (41, 25)}
"""IP_RECVERR and IPV6_RECVERR: a host that is out of reach is then said, not waited for (ip(7), ipv6(7))."""


class ProbeFailed(Exception):
    """It failed in another way than refused or too late; `str()` is the reason."""


class NotPermitted(Exception):
    """ICMP is not for this user."""


def tcp_ping(address: Address, timeout_s: float) -> float:
    """How long a connection takes.

    Raises:
        ProbeFailed: see there.
    """

    def connect(probe: socket.socket) -> None:
        probe.connect(address.sockaddr)
        if probe.getsockname() == probe.getpeername():  # on this host a port can, rarely, connect to itself
            raise ConnectionRefusedError

    return _timed(address, socket.SOCK_STREAM, timeout_s, connect)


def udp_ping(address: Address, timeout_s: float) -> float:
    """How long until something comes back from that port.

    Raises:
        ProbeFailed: see there.
    """

    def ask(probe: socket.socket) -> None:
        probe.connect(address.sockaddr)
        probe.send(_PAYLOAD)
        probe.recv(1)

    return _timed(address, socket.SOCK_DGRAM, timeout_s, ask)


def _timed(address: Address, kind: socket.SocketKind, timeout_s: float, do: Callable[[socket.socket], None]) -> float:
    try:
        with socket.socket(address.family, kind) as probe:
            probe.settimeout(timeout_s)
            started_ns = time.perf_counter_ns()
            do(probe)
            return _milliseconds(started_ns)
    except OSError as error:
        if _is_message_too_long(error):  # Windows: more came back than was asked for
            return _milliseconds(started_ns)
        return number_for(error)


class IcmpPinger:
    """Echo requests (RFC 792, RFC 4443): by a datagram socket where this user may, else by a raw one.

    A reply counts if it comes from the destination, with the identifier, sequence number and random token of its request.
    """

    def __init__(self, address: Address) -> None:
        """Raises NotPermitted: neither is for this user; ProbeFailed: there is no way to the address."""
        self._address = address
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self._sequence = 0
        self._socket = self._open()
        try:
            self._socket.connect(address.sockaddr)
            if self._socket.type == socket.SOCK_DGRAM and _LINUX:
                self._identifier = self._socket.getsockname()[1]  # the kernel's choice, icmp(7)
        except OSError as error:
            self.close()
            raise ProbeFailed(reason(error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def ping(self, timeout_s: float) -> float:
        """How long an echo takes.

        Raises:
            ProbeFailed: see there.
        """
        self._sequence = (self._sequence + 1) & 0xFFFF
        token = os.urandom(_TOKEN_BYTES)
        request = echo_request(self._address.family, self._identifier, self._sequence, token)
        started_ns = time.perf_counter_ns()
        deadline_s = time.monotonic() + timeout_s
        try:
            self._socket.send(request)
            while (left_s := deadline_s - time.monotonic()) > 0:
                self._socket.settimeout(left_s)
                packet = self._socket.recv(_BUFFER_BYTES)
                if is_reply(packet, self._address.family, self._identifier, self._sequence, token):
                    return _milliseconds(started_ns)
        except OSError as error:
            return number_for(error)
        return TIMED_OUT

    def _open(self) -> socket.socket:
        family = self._address.family
        refusal: OSError | None = None
        for kind in (socket.SOCK_DGRAM, socket.SOCK_RAW):
            try:
                opened = socket.socket(family, kind, _PROTOCOL[family])
            except OSError as error:
                refusal = error
                continue
            if _LINUX:
                opened.setsockopt(*_REPORT_ERRORS[family], 1)
                if kind == socket.SOCK_DGRAM:
                    opened.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", 0))
            return opened
        if isinstance(refusal, PermissionError):
            raise NotPermitted
        raise ProbeFailed(reason(refusal) if refusal else "no socket for ICMP")


def echo_request(family: int, identifier: int, sequence: int, token: bytes) -> bytes:
    """The packet; IPv6's checksum is the kernel's work, for it covers addresses."""
    kind = _REQUEST[socket.AddressFamily(family)]
    bare = _ECHO.pack(kind, 0, 0, identifier, sequence) + token
    checksum = 0 if family == socket.AF_INET6 else internet_checksum(bare)
    return _ECHO.pack(kind, 0, checksum, identifier, sequence) + token


def is_reply(packet: bytes, family: int, identifier: int, sequence: int, token: bytes) -> bool:
    """Whether it is the reply to that request; IPv4 packets come with their IP header from some sockets."""
    if family == socket.AF_INET and packet[:1] and packet[0] >> 4 == 4:
        packet = packet[(packet[0] & 0x0F) * 4 :]
    if len(packet) < _ECHO.size:
        return False
    kind, code, _, its_identifier, its_sequence = _ECHO.unpack_from(packet)
    known = (_REPLY[socket.AddressFamily(family)], 0, identifier, sequence)
    return (kind, code, its_identifier, its_sequence) == known and packet[_ECHO.size :] == token


def internet_checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def number_for(error: OSError) -> float:
    """MIG's number for an error.

    Raises:
        ProbeFailed: it has none but 0, and its words are to be kept.
    """
    if isinstance(error, ConnectionRefusedError):
        return REFUSED
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    raise ProbeFailed(reason(error)) from None


def reason(error: OSError) -> str:
    """The system's words, beginning in lower case."""
    text = error.strerror or (os.strerror(error.errno) if error.errno else type(error).__name__)
    return text[:1].lower() + text[1:]


def _milliseconds(started_ns: int) -> float:
    return max(round((time.perf_counter_ns() - started_ns) / 1e6, 3), SHORTEST_MS)


def _is_message_too_long(error: OSError) -> bool:
    return getattr(error, "winerror", None) == 10_040
