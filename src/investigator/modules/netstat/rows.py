"""What a host's network consists of, whatever the system: sockets, neighbours, interfaces; and who tells of them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

DEFAULT: Final = "default"
"""The name of the namespace that this process is in."""


class Unreadable(Exception):
    """A part of the network cannot be read; `str()` is the reason."""


class Socket(NamedTuple):
    """A TCP or UDP socket; addresses are 4 or 16 bytes, as its own family has them."""

    protocol: str
    """`tcp` or `udp`."""
    state: str
    """As the kernel's documentation calls it (`ESTABLISHED`, `LISTEN`, …); `UNCONNECTED` for UDP without a peer."""
    local: bytes
    localport: int
    remote: bytes
    remoteport: int
    owner: int
    """What `Host.owners` is asked with, 0 where nobody owns it: the socket's inode on Linux, elsewhere a pid."""
    uid: int
    """Whose it is; -1 where that is not known."""


class Neighbour(NamedTuple):
    """An entry of the kernel's neighbour tables (ARP, NDP)."""

    address: bytes
    mac: str
    """Empty while it is not known."""
    state: str
    device: str


class Interface(NamedTuple):
    """A network interface."""

    name: str
    mac: str
    """Empty where it has none."""
    addresses: tuple[bytes, ...]


class Owner(NamedTuple):
    """A process that has a socket open."""

    pid: int
    executable: str
    """Its path, as the file module writes paths; empty where that cannot be read."""
    name: str
    """What it calls itself."""


class Network(Protocol):
    """One network namespace. Each method raises `Unreadable` for what cannot be had at all."""

    name: str

    def sockets(self, *, listening: bool) -> Iterator[Socket]:
        """All, or with `listening` those that `is_listening` holds for (at least)."""

    def neighbours(self) -> Iterator[Neighbour]:
        """All that the kernel knows, multicast groups and the like aside."""

    def interfaces(self) -> list[Interface]:
        """All of them."""


class Host(Protocol):
    """A system's own way to its networks."""

    def networks(self, *, all_namespaces: bool) -> Iterator[AbstractContextManager[Network]]:
        """This process's namespace, or all; each is open within its `with`."""

    def owners(self, wanted: Collection[int], *, deadline_s: float) -> dict[int, list[Owner]]:
        """Who has these sockets open, by `Socket.owner`, in the order of their pids."""


def is_listening(socket: Socket) -> bool:
    """A TCP socket that listens, a UDP socket without a peer."""
    return socket.state in ("LISTEN", "UNCONNECTED") and socket.localport > 0


def mac_text(address: bytes) -> str:
    """`aa:bb:cc:dd:ee:ff`; nothing for no bytes, for zeros, and for a tunnel's address, which is an IP (4 or 16 bytes)."""
    return address.hex(":") if any(address) and len(address) not in (4, 16) else ""
