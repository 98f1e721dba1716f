"""What this host is: the agent's own row of the agents table."""

from __future__ import annotations

import os
import platform
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Any, Final

from investigator import __version__
from investigator.modules.netstat.netlink import ROUTE, Netlink, attributes
from investigator.modules.netstat.rows import Unreadable

_OS: Final = {"Linux": "linux", "Darwin": "darwin", "Windows": "windows"}
_ARCH: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "i386": "386", "i686": "386"}
NAME_LOOKUP_S: Final = 2.0
_LINUX: Final = sys.platform == "linux"
_GET_ADDRESSES: Final = 22
_OF_INTERFACE: Final = struct.Struct("=BBBBi")
_ADDRESS, _LOCAL = 1, 2
"""RTM_GETADDR, ifaddrmsg, IFA_ADDRESS and IFA_LOCAL: rtnetlink(7)."""


def host_name() -> str:
    """This host's name, fully qualified if known within two seconds (a resolver that is away must not stop the agent)."""
    short = socket.gethostname()
    answer: list[str] = []
    lookup = threading.Thread(target=lambda: answer.append(socket.getfqdn(short)), daemon=True)
    lookup.start()
    lookup.join(NAME_LOOKUP_S)
    return answer[0] if answer and answer[0] not in ("", "localhost", "localhost.localdomain") else short


def gather_row(*, agent: str, name: str, tags: dict[str, str], started: str) -> dict[str, Any]:
    """The row: columns as targets know them; times are RFC 3339. `status` and `heartbeattime` are the console's to say."""
    system = _OS.get(platform.system(), platform.system().lower())
    arch = _ARCH.get(platform.machine().lower(), platform.machine().lower())
    ident = _ident(system)
    found = addresses()
    return {
        "id": agent,
        "name": name,
        "queueloc": f"{system}.{agent}",
        "os": system,
        "arch": arch,
        "ident": ident,
        "mode": "daemon",
        "version": __version__,
        "pid": os.getpid(),
        "publicip": "",
        "addresses": found,
        "environment": {
            "init": _init(),
            "ident": ident,
            "os": system,
            "arch": arch,
            "isproxied": False,
            "addresses": found,
            "publicip": "",
            "modules": _modules(),
        },
        "tags": tags,
        "starttime": started,
    }


def addresses() -> list[str]:
    """Addresses of the interfaces, without loopback, as `172.21.0.3/20`, sorted."""
    found = _told_by_the_kernel() if _LINUX else _told_by_psutil()
    return sorted(
        {address + prefix for address, prefix in found if not (address.startswith("127.") or address == "::1")}
    )


def _told_by_the_kernel() -> Iterator[tuple[str, str]]:
    """By netlink; psutil, which says the same, would be 0.9 MB on every host."""
    try:
        with Netlink(ROUTE) as kernel:
            for data, start, end in kernel.dump(_GET_ADDRESSES, _OF_INTERFACE.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
                family, prefix, *_ = _OF_INTERFACE.unpack_from(data, start)
                told = attributes(data, start + _OF_INTERFACE.size, end)
                address = told.get(_LOCAL) or told.get(_ADDRESS)  # of a tunnel the latter is the other end
                if address and family in (socket.AF_INET, socket.AF_INET6):
                    yield socket.inet_ntop(family, address), f"/{prefix}"
    except Unreadable:
        return


def _told_by_psutil() -> Iterator[tuple[str, str]]:
    import psutil

    for items in psutil.net_if_addrs().values():
        for item in items:
            if item.family in (socket.AF_INET, socket.AF_INET6):
                yield item.address.partition("%")[0], _prefix(item.netmask)


def _prefix(netmask: str | None) -> str:
    if not netmask:
        return ""
    family = socket.AF_INET6 if ":" in netmask else socket.AF_INET
    try:
        return f"/{sum(byte.bit_count() for byte in socket.inet_pton(family, netmask))}"
    except OSError:
        return ""


def _ident(system: str) -> str:
    """Such as `Debian 12 bookworm`."""
    if system != "linux":
        return f"{platform.system()} {platform.release()}"
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return f"Linux {platform.release()}"
    words = (
        release.get("NAME", "Linux").removesuffix(" GNU/Linux"),
        release.get("VERSION_ID"),
        release.get("VERSION_CODENAME"),
    )
    return " ".join(word for word in words if word)


def _init() -> str:
    """What the first process is."""
    if _LINUX:
        try:
            with open("/proc/1/comm") as file:
                return file.read().strip()
        except OSError:
            return ""
    import psutil

    try:
        return psutil.Process(1).name()
    except psutil.Error:
        return ""


def _modules() -> list[str]:
    from investigator.modules import MODULES

    return sorted(MODULES)
