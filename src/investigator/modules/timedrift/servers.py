"""Which NTP servers this host is set up to follow: ntpd, ntpsec, chrony, systemd-timesyncd; Windows' time service.

Only the `server`, `pool` and `NTP=` lines are read, from fixed places; files that these name are not followed.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import open_file, reason
from investigator.modules.timedrift.sntp import PORT

if TYPE_CHECKING:
    from investigator.modules.notes import Notes

PUBLIC: Final = (
    "time.nist.gov", "0.pool.ntp.org", "1.pool.ntp.org", "2.pool.ntp.org", "3.pool.ntp.org",
)  # fmt: skip
"""Asked when no server of the host's own answers, as MIG does."""
MAX_CONFIGURED: Final = 8
MAX_FILE_BYTES: Final = 256 << 10
_MAX_FILES: Final = 100
_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,253}")
_HOST_AND_PORT: Final = re.compile(r"(\[[^\]]*\]|[^:\[\]]*):([0-9]{1,5})")
_REFERENCE_CLOCK: Final = "127.127."


@dataclass(frozen=True, slots=True)
class Server:
    """One server."""

    host: str
    port: int = PORT

    @property
    def text(self) -> str:
        """The host, with the port where it is not NTP's."""
        if self.port == PORT:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def ntp_servers(text: str) -> Iterator[Server]:
    """Of an ntp.conf: `server` and `pool` lines (ntp.conf(5)); the host's own reference clocks are no servers."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) >= 2 and words[0].lower() in ("server", "pool"):
            host = next((word for word in words[1:] if not word.startswith("-")), "")
            if is_host(host) and not host.startswith(_REFERENCE_CLOCK):
                yield Server(host)


def chrony_servers(text: str) -> Iterator[Server]:
    """Of a chrony.conf or a .sources file: `server` and `pool` lines, with their `port` (chrony.conf(5))."""
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].lower() not in ("server", "pool") or not is_host(words[1]):
            continue
        options = [word.lower() for word in words[2:]]
        port = options[options.index("port") + 1] if "port" in options[:-1] else str(PORT)
        yield Server(words[1], int(port) if is_port(port) else PORT)


def timesyncd_servers(text: str) -> Iterator[Server]:
    """Of a timesyncd.conf: `NTP=` and `FallbackNTP=` in that order (timesyncd.conf(5))."""
    lists: dict[str, list[str]] = {"ntp": [], "fallbackntp": []}
    for line in text.splitlines():
        name, equals, values = line.partition("=")
        if equals and name.strip().lower() in lists:
            lists[name.strip().lower()] += values.split()
    for host in (*lists["ntp"], *lists["fallbackntp"]):
        if is_host(host):
            yield Server(host)


def windows_servers(text: str) -> Iterator[Server]:
    """Of the registry's value `NtpServer`: `time.windows.com,0x9 other.example.net,0x8`."""
    for word in text.split():
        host = word.partition(",")[0]
        if is_host(host):
            yield Server(host)


Reader = Callable[[str], Iterator[Server]]
PLACES: Final[tuple[tuple[str, Reader], ...]] = (
    ("/etc/ntp.conf", ntp_servers),
    ("/etc/ntpsec/ntp.conf", ntp_servers),
    ("/etc/ntpsec/ntp.d/*.conf", ntp_servers),
    ("/etc/chrony.conf", chrony_servers),
    ("/etc/chrony/chrony.conf", chrony_servers),
    ("/etc/chrony/conf.d/*.conf", chrony_servers),
    ("/etc/chrony/sources.d/*.sources", chrony_servers),
    ("/run/chrony-dhcp/*.sources", chrony_servers),
    ("/etc/systemd/timesyncd.conf", timesyncd_servers),
    ("/etc/systemd/timesyncd.conf.d/*.conf", timesyncd_servers),
    ("/run/systemd/timesyncd.conf.d/*.conf", timesyncd_servers),
    ("/usr/lib/systemd/timesyncd.conf.d/*.conf", timesyncd_servers),
)


def configured_servers(notes: Notes, places: tuple[tuple[str, Reader], ...] = PLACES) -> list[Server]:
    """All of them, in the order of the places, each once; what is there and cannot be read is noted."""
    found: dict[Server, None] = {}
    for place, read in places:
        for path in _files(place):
            try:
                found.update(dict.fromkeys(read(_text(path))))
            except FileNotFoundError:
                continue
            except OSError as error:
                notes.error(f"could not read {path}: {reason(error)}")
    found.update(dict.fromkeys(windows_servers(_registry_value())))
    servers = list(found)
    if len(servers) > MAX_CONFIGURED:
        notes.note(f"{len(servers)} NTP servers are configured; the first {MAX_CONFIGURED} were asked")
    return servers[:MAX_CONFIGURED]


def parse_server(text: str) -> Server | None:
    """`HOST`, `HOST:PORT`, an IPv6 address, or one in brackets with a port; None for what is none of these."""
    if is_host(text):
        return Server(text)
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None or not is_port(found[2]):
        return None
    host = found[1].removeprefix("[").removesuffix("]")
    return Server(host, int(found[2])) if is_host(host) and (":" in host) == found[1].startswith("[") else None


def is_host(text: str) -> bool:
    """Whether it is an address, or can be a host's name."""
    if ":" not in text:
        return _HOST.fullmatch(text) is not None
    try:
        socket.inet_pton(socket.AF_INET6, text)
    except (OSError, ValueError):
        return False
    return True


def is_port(text: str) -> bool:
    """Whether it is a port's number."""
    return text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) <= 65_535


def _files(place: str) -> list[str]:
    folder, _, name = place.rpartition("/")
    if "*" not in name:
        return [place]
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MAX_FILES), strict=False)]
    except OSError:
        return []
    return sorted(str(Path(folder, each)) for each in names if each.endswith(name.removeprefix("*")))


def _text(path: str) -> str:
    """The beginning of a regular file."""
    descriptor = open_file(os.fsencode(path), follow=True)
    with open(descriptor, "rb") as file:
        return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")


def _registry_value() -> str:
    """Windows' list of servers."""
    if sys.platform == "win32":
        import winreg

        place = r"SYSTEM\CurrentControlSet\Services\W32Time\Parameters"
        with contextlib.suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            return str(winreg.QueryValueEx(key, "NtpServer")[0])[:MAX_FILE_BYTES]
    return ""
