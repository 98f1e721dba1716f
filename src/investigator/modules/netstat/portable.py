"""Systems without netlink: sockets, interfaces and owners as psutil tells them. Neighbours it does not know."""

from __future__ import annotations

import socket
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.netstat.rows import DEFAULT, Interface, Neighbour, Owner, Socket, Unreadable, mac_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from investigator.modules.notes import Notes

_STATES: Final = {
    "ESTABLISHED": "ESTABLISHED", "SYN_SENT": "SYN_SENT", "SYN_RECV": "SYN_RECV", "FIN_WAIT1": "FIN_WAIT1",
    "FIN_WAIT2": "FIN_WAIT2", "TIME_WAIT": "TIME_WAIT", "CLOSE": "CLOSE", "CLOSE_WAIT": "CLOSE_WAIT",
    "LAST_ACK": "LAST_ACK", "LISTEN": "LISTEN", "CLOSING": "CLOSING",
}  # fmt: skip
_SIZES: Final = {socket.AF_INET: 4, socket.AF_INET6: 16}


class PortableHost:
    """See `rows.Host`."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def networks(self, *, all_namespaces: bool) -> Iterator[AbstractContextManager[PortableNetwork]]:
        """The one that there is."""
        if all_namespaces:
            self._notes.note("network namespaces are Linux's; the whole of this host was looked at")
        yield nullcontext(PortableNetwork())

    def owners(self, wanted: Collection[int], *, deadline_s: float) -> dict[int, list[Owner]]:
        """What these processes are."""
        import psutil

        found = {}
        for pid in sorted(set(wanted) - {0}):
            if time.monotonic() >= deadline_s:
                self._notes.note("the time was up before all owners of sockets were found")
                break
            try:
                process = psutil.Process(pid)
                name = process.name()
            except psutil.Error:
                continue
            try:
                executable = process.exe()
            except (psutil.Error, OSError):
                executable = ""
            found[pid] = [Owner(pid, executable, name)]
        return found


class PortableNetwork:
    """See `rows.Network`."""

    name = DEFAULT

    def sockets(self, *, listening: bool) -> Iterator[Socket]:  # noqa: ARG002 - psutil lists all or nothing
        """All of them; macOS tells only root."""
        import psutil

        try:
            rows = psutil.net_connections(kind="inet")
        except (psutil.Error, OSError) as error:
            raise Unreadable(f"the system does not list its sockets to this user ({type(error).__name__})") from None
        return sockets_of(rows)

    def neighbours(self) -> Iterator[Neighbour]:
        """None."""
        raise Unreadable("neighbours are not available on this system")

    def interfaces(self) -> list[Interface]:
        """All of them."""
        import psutil

        try:
            known = psutil.net_if_addrs()
        except (psutil.Error, OSError) as error:
            raise Unreadable(f"the system does not list its interfaces ({type(error).__name__})") from None
        return interfaces_of(known, link=psutil.AF_LINK)


def sockets_of(rows: Iterable[Any]) -> Iterator[Socket]:
    """Sockets from psutil's connections; the owner is the pid."""
    for row in rows:
        size = _SIZES.get(row.family)
        if size is None:
            continue
        local, localport = _end(row.laddr, row.family, size)
        remote, remoteport = _end(row.raddr, row.family, size)
        if row.type == socket.SOCK_STREAM:
            protocol, state = "tcp", _STATES.get(row.status, "CLOSE")
        else:
            protocol, state = "udp", "ESTABLISHED" if row.raddr else "UNCONNECTED"
        yield Socket(protocol, state, local, localport, remote, remoteport, row.pid or 0, -1)


def interfaces_of(known: dict[str, list[Any]], *, link: int) -> list[Interface]:
    """Interfaces from psutil's addresses; Windows separates the bytes of a hardware address by dashes."""
    found = []
    for name, addresses in sorted(known.items()):
        macs = [_mac(each.address) for each in addresses if each.family == link]
        packed = [
            socket.inet_pton(each.family, each.address.partition("%")[0]) for each in addresses if each.family in _SIZES
        ]
        found.append(Interface(name, next((mac for mac in macs if mac), ""), tuple(packed)))
    return found


def _end(end: Any, family: int, size: int) -> tuple[bytes, int]:
    """Address and port of one end; zeros where there is none, as Linux has them."""
    if not end:
        return bytes(size), 0
    return socket.inet_pton(family, end.ip.partition("%")[0]), end.port


def _mac(text: str) -> str:
    try:
        return mac_text(bytes.fromhex(text.replace("-", "").replace(":", "")))
    except ValueError:
        return ""
