"""Linux's networks: sockets through sock_diag, neighbours and interfaces through rtnetlink, in any namespace.

Measured with 800 sockets, sock_diag takes a seventh of the time that reading /proc/net takes. The tables of /proc/net
are read where netlink does not serve.
"""

from __future__ import annotations

import socket
import struct
import time
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import path_text
from investigator.modules.netstat.namespaces import Namespace, enter, find_namespaces
from investigator.modules.netstat.netlink import ROUTE, SOCK_DIAG, Netlink, attributes
from investigator.modules.netstat.procnet import arp_table, socket_tables, state_name
from investigator.modules.netstat.rows import DEFAULT, Interface, Neighbour, Owner, Socket, Unreadable, mac_text
from investigator.modules.processes.procfs import Ended, Process, pids

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from investigator.modules.notes import Notes

_SOCK_DIAG_BY_FAMILY: Final = 20
_GET_LINK: Final = 18
_GET_ADDRESS: Final = 22
_GET_NEIGHBOUR: Final = 30
_DIAG_REQUEST: Final = struct.Struct("=BBBxI48x")
_DIAG_SOCKET: Final = struct.Struct(">BBxxHH16s16s")
_DIAG_OWNER: Final = struct.Struct("=II")
_DIAG_OWNER_OFFSET: Final = 64
_DIAG_BYTES: Final = 72
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")
_LINK: Final = struct.Struct("=BxHiII")
_ADDRESS: Final = struct.Struct("=BBBBI")
_NDA_DST, _NDA_LLADDR = 1, 2
_IFLA_ADDRESS, _IFLA_IFNAME = 1, 3
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_PROTOCOLS: Final = (("tcp", socket.IPPROTO_TCP, 1 << 10), ("udp", socket.IPPROTO_UDP, 1 << 7))
"""Name, number, and the states of those that listen, as bits."""
_ALL_STATES: Final = 0xFFFF_FFFF
_STATES: Final = {name: [state_name(name, number) for number in range(256)] for name, _, _ in _PROTOCOLS}
_FAMILIES: Final = ((socket.AF_INET, 4), (socket.AF_INET6, 16))
_NEIGHBOUR_STATES: Final = {
    0x01: "INCOMPLETE", 0x02: "REACHABLE", 0x04: "STALE", 0x08: "DELAY", 0x10: "PROBE", 0x20: "FAILED", 0x80: "PERMANENT",
}  # fmt: skip
"""NUD_NOARP (0x40) is left out: groups, the loopback's own; nobody was asked for them."""
_ATTEMPTS: Final = 3
MAX_OWNERS: Final = 8
"""Of one socket: servers that fork share theirs with all that they forked."""
_SOCKET_LINK: Final = b"socket:["


class LinuxHost:
    """See `rows.Host`."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def networks(self, *, all_namespaces: bool) -> Iterator[AbstractContextManager[LinuxNetwork]]:
        """This process's namespace, called `default`, or all, called as the kernel calls them."""
        if not all_namespaces:
            yield _opened(DEFAULT, "/proc/self/net", Netlink, self._notes)
            return
        for namespace in find_namespaces(self._notes):
            yield _entered(namespace, self._notes)

    def owners(self, wanted: Collection[int], *, deadline_s: float) -> dict[int, list[Owner]]:
        """By the descriptors of every process; who may not be looked at, and how many sockets are left so, is noted."""
        found: dict[int, list[Owner]] = {}
        closed = 0
        wanted = frozenset(wanted) - {0}
        for pid in pids() if wanted else ():
            if time.monotonic() >= deadline_s:
                self._notes.note("the time was up before all owners of sockets were found")
                return found
            try:
                with Process(pid) as process:
                    _look_at(process, wanted, found)
            except Ended:
                continue
            except OSError:
                closed += 1
        if closed and len(found) < len(wanted):
            self._notes.note(
                f"sockets whose owner is not known: {len(wanted) - len(found)}; processes that may not be looked at: {closed}"
            )
        return found


class LinuxNetwork:
    """One namespace, through netlink sockets that belong to it; `folder` is its `/proc/PID/net`, if it has one."""

    def __init__(
        self, name: str, folder: int | str | None, diag: Netlink | None, route: Netlink | None, notes: Notes
    ) -> None:
        self.name = name
        self._folder = folder
        self._diag = diag
        self._route = route
        self._notes = notes

    def sockets(self, *, listening: bool) -> Iterator[Socket]:
        """By sock_diag; a protocol that it does not serve, from /proc."""
        for protocol, number, listening_states in _PROTOCOLS:
            try:
                yield from self._diagnosed(protocol, number, listening_states if listening else _ALL_STATES)
            except Unreadable as refused:
                if self._folder is None:
                    raise Unreadable(f"{protocol}: {refused}") from None
                yield from socket_tables(self._folder, (protocol, f"{protocol}6"))
        if self._diag is not None and self._diag.interrupted:
            self._notes.note("sockets came and went while they were listed; one may be missing")

    def _diagnosed(self, protocol: str, number: int, states: int) -> Iterator[Socket]:
        if self._diag is None:
            raise Unreadable("netlink does not serve")
        for family, size in _FAMILIES:
            for data, start, end in self._diag.dump(
                _SOCK_DIAG_BY_FAMILY, _DIAG_REQUEST.pack(family, number, 0, states)
            ):
                if end - start >= _DIAG_BYTES:
                    yield _socket(data, start, protocol, size)

    def neighbours(self) -> Iterator[Neighbour]:
        """By rtnetlink; without it IPv4's alone, from /proc."""
        if self._route is None:
            if self._folder is None:
                raise Unreadable("netlink does not serve")
            self._notes.error("could not read IPv6's neighbours: netlink does not serve")
            yield from arp_table(self._folder)
            return
        devices = {index: name for index, (name, _) in self._links(self._route).items()}
        for family, size in _FAMILIES:
            body = _NEIGHBOUR.pack(family, 0, 0, 0, 0)
            for data, start, end in self._whole(self._route, _GET_NEIGHBOUR, body):
                found = parse_neighbour(data, start, end, size, devices)
                if found is not None:
                    yield found

    def interfaces(self) -> list[Interface]:
        """By rtnetlink."""
        if self._route is None:
            raise Unreadable("netlink does not serve")
        addresses: dict[int, list[bytes]] = {}
        for data, start, end in self._whole(self._route, _GET_ADDRESS, _ADDRESS.pack(0, 0, 0, 0, 0)):
            parsed = parse_address(data, start, end)
            if parsed is not None:
                addresses.setdefault(parsed[0], []).append(parsed[1])
        return [
            Interface(name, mac, tuple(addresses.get(index, ())))
            for index, (name, mac) in sorted(self._links(self._route).items())
        ]

    def _links(self, route: Netlink) -> dict[int, tuple[str, str]]:
        """Name and hardware address of each interface, by its number."""
        found = {}
        for data, start, end in self._whole(route, _GET_LINK, _LINK.pack(0, 0, 0, 0, 0)):
            parsed = parse_link(data, start, end)
            if parsed is not None:
                found[parsed[0]] = parsed[1:]
        return found

    def _whole(self, route: Netlink, kind: int, body: bytes) -> list[tuple[bytes, int, int]]:
        """A table that did not change while it was read, if that can be had in a few attempts."""
        for _ in range(_ATTEMPTS):
            route.interrupted = False
            table = list(route.dump(kind, body))
            if not route.interrupted:
                return table
        self._notes.note("neighbours or interfaces came and went while they were listed; one may be missing")
        return table


def parse_neighbour(data: bytes, start: int, end: int, size: int, devices: dict[int, str]) -> Neighbour | None:
    """One entry of a neighbour table; None for what is no neighbour, or none of this family's addresses (`size` bytes)."""
    if end - start < _NEIGHBOUR.size:
        return None
    _, index, state, _, _ = _NEIGHBOUR.unpack_from(data, start)
    known = attributes(data, start + _NEIGHBOUR.size, end)
    address = known.get(_NDA_DST, b"")
    name = next((text for bit, text in _NEIGHBOUR_STATES.items() if state & bit), None)
    if name is None or len(address) != size:
        return None
    return Neighbour(address, mac_text(known.get(_NDA_LLADDR, b"")), name, devices.get(index, f"#{index}"))


def parse_link(data: bytes, start: int, end: int) -> tuple[int, str, str] | None:
    """An interface's number, name and hardware address."""
    if end - start < _LINK.size:
        return None
    index = _LINK.unpack_from(data, start)[2]
    known = attributes(data, start + _LINK.size, end)
    name = known.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode("utf-8", "replace")
    return index, name or f"#{index}", mac_text(known.get(_IFLA_ADDRESS, b""))


def parse_address(data: bytes, start: int, end: int) -> tuple[int, bytes] | None:
    """An interface's number, and an address that it has: its own, where it also tells its peer's."""
    if end - start < _ADDRESS.size:
        return None
    index = _ADDRESS.unpack_from(data, start)[4]
    known = attributes(data, start + _ADDRESS.size, end)
    address = known.get(_IFA_LOCAL) or known.get(_IFA_ADDRESS) or b""
    return (index, address) if len(address) in (4, 16) else None


def _socket(data: bytes, start: int, protocol: str, size: int) -> Socket:
    _, state, localport, remoteport, local, remote = _DIAG_SOCKET.unpack_from(data, start)
    uid, inode = _DIAG_OWNER.unpack_from(data, start + _DIAG_OWNER_OFFSET)
    return Socket(
        protocol, _STATES[protocol][state], local[:size], localport, remote[:size], remoteport, inode, uid
    )  # fmt: skip


def _look_at(process: Process, wanted: frozenset[int], found: dict[int, list[Owner]]) -> None:
    """Which of the wanted sockets a process has open; each counts once for it."""
    owner: Owner | None = None
    for target in process.open_files()[0]:
        if not target.startswith(_SOCKET_LINK):
            continue
        number = target[len(_SOCKET_LINK) : -1]
        inode = int(number) if number.isdigit() and len(number) <= 20 else 0
        if inode not in wanted:
            continue
        owner = owner or _owner(process)
        owners = found.setdefault(inode, [])
        if owner not in owners and len(owners) < MAX_OWNERS:
            owners.append(owner)


def _owner(process: Process) -> Owner:
    try:
        executable = path_text(process.executable())
    except OSError:
        executable = ""
    return Owner(process.pid, executable, path_text(process.stat().name))


@contextmanager
def _opened(
    name: str, folder: int | str | None, make: Callable[[int], Netlink], notes: Notes
) -> Iterator[LinuxNetwork]:
    """A namespace with the netlink sockets that `make` gives; what it does not give is done without."""
    with ExitStack() as stack:
        made: dict[int, Netlink | None] = {}
        for protocol in (SOCK_DIAG, ROUTE):
            try:
                made[protocol] = stack.enter_context(make(protocol))
            except Unreadable:
                made[protocol] = None
        yield LinuxNetwork(name, folder, made[SOCK_DIAG], made[ROUTE], notes)


@contextmanager
def _entered(namespace: Namespace, notes: Notes) -> Iterator[LinuxNetwork]:
    """A namespace that this process need not be in.

    Raises:
        Unreadable: it is gone, or neither may be entered nor looked at.
    """
    with ExitStack() as stack:
        descriptor, folder = stack.enter_context(namespace.opened())

        def make(protocol: int) -> Netlink:
            return Netlink(protocol) if descriptor is None else enter(descriptor, lambda: Netlink(protocol))

        yield stack.enter_context(_opened(namespace.name, folder, make, notes))
