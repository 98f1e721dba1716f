"""The tables of /proc/net (proc_net(5)), read as if someone hostile had written them: what does not parse is left out.

They are what is left where the kernel has no sock_diag, or where another namespace may be looked at but not entered.
A table is streamed: it may have millions of lines.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from typing import TYPE_CHECKING, Final

from investigator.modules.netstat.rows import Neighbour, Socket, Unreadable, mac_text

if TYPE_CHECKING:
    from collections.abc import Iterator

STATES: Final = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK",
    "LISTEN", "CLOSING", "NEW_SYN_RECV", "BOUND_INACTIVE",
)  # fmt: skip
"""TCP's, by the kernel's numbers (net/tcp_states.h)."""
TABLES: Final = ("tcp", "tcp6", "udp", "udp6")
_CLOSE: Final = 7
_PIECE_BYTES: Final = 64 << 10
_MAX_LINE_BYTES: Final = 4096
_LINE: Final = re.compile(
    rb" *\d+: ((?:[0-9A-F]{8}){1,4}):([0-9A-F]{4}) ((?:[0-9A-F]{8}){1,4}):([0-9A-F]{4}) ([0-9A-F]{2})"
    rb" \S+ \S+ \S+ +(\d{1,10}) +\d+ +(\d{1,20})(?: .*)?"
)
_ARP: Final = re.compile(
    rb"(\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}) +0x[0-9a-f]+ +0x([0-9a-f]+) +((?:[0-9A-Fa-f]{2}:){0,31}[0-9A-Fa-f]{2}) +\S+ +(\S{1,64}) *"
)
_ARP_COMPLETE: Final = 0x02
_ARP_PERMANENT: Final = 0x04


def state_name(protocol: str, number: int) -> str:
    """A socket's state in words; the kernel uses CLOSE for UDP without a peer."""
    if protocol == "udp":
        return "UNCONNECTED" if number == _CLOSE else "ESTABLISHED"
    return STATES[number] if 0 < number < len(STATES) else f"STATE_{number}"


def socket_tables(folder: int | str, tables: tuple[str, ...] = TABLES) -> Iterator[Socket]:
    """The sockets of some tables of a `net` folder (a path, or a descriptor); IPv6's may be missing.

    Raises:
        Unreadable: TCP's or UDP's is.
    """
    for table in tables:
        try:
            for line in _lines(folder, table):
                found = parse_socket(line, table.rstrip("6"))
                if found is not None:
                    yield found
        except FileNotFoundError:
            if not table.endswith("6"):
                raise Unreadable(f"{table}: no such file or directory") from None
        except OSError as error:
            raise Unreadable(f"{table}: {error.strerror}") from None


def arp_table(folder: int | str) -> Iterator[Neighbour]:
    """IPv4's neighbours.

    Raises:
        Unreadable: there is no table.
    """
    try:
        for line in _lines(folder, "arp"):
            found = parse_arp(line)
            if found is not None:
                yield found
    except OSError as error:
        raise Unreadable(f"arp: {error.strerror}") from None


def parse_socket(line: bytes, protocol: str) -> Socket | None:
    """One line of tcp, tcp6, udp or udp6."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    local, remote = _address(found[1]), _address(found[3])
    if local is None or remote is None or len(local) != len(remote):
        return None
    state = state_name(protocol, int(found[5], 16))
    return Socket(
        protocol, state, local, int(found[2], 16), remote, int(found[4], 16), int(found[7]), int(found[6])
    )  # fmt: skip


def parse_arp(line: bytes) -> Neighbour | None:
    """One line of arp."""
    found = _ARP.fullmatch(line)
    if found is None:
        return None
    try:
        address = bytes(int(part) for part in found[1].split(b"."))
        mac = bytes.fromhex(found[3].replace(b":", b"").decode())
    except ValueError:
        return None
    flags = int(found[2], 16)
    state = "PERMANENT" if flags & _ARP_PERMANENT else "REACHABLE" if flags & _ARP_COMPLETE else "INCOMPLETE"
    return Neighbour(address, mac_text(mac), state, found[4].decode("utf-8", "replace"))


def _address(text: bytes) -> bytes | None:
    """Words of 32 bits as this machine has them in memory, in network order within."""
    words = len(text) // 8
    if words not in (1, 4):
        return None
    if sys.byteorder == "big":
        return bytes.fromhex(text.decode())
    return struct.pack(f"<{words}I", *struct.unpack(f">{words}I", bytes.fromhex(text.decode())))


def _lines(folder: int | str, table: str) -> Iterator[bytes]:
    """A table's lines but the first, its heading; none is longer than the longest that the kernel writes."""
    flags = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0)
    if isinstance(folder, int):
        descriptor = os.open(table, flags, dir_fd=folder)
    else:
        descriptor = os.open(f"{folder}/{table}", flags)
    heading = True
    rest = b""
    try:
        while piece := os.read(descriptor, _PIECE_BYTES):
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines[1:] if heading else lines
            heading = heading and not lines
            rest = rest[:_MAX_LINE_BYTES]
        if rest and not heading:
            yield rest
    finally:
        os.close(descriptor)
