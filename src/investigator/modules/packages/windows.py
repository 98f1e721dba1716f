"""Windows' programs, from the registry's Uninstall keys: the machine's, 64 and 32 bit, and those of the users that are loaded."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.packages.interface import MAX_NAME_BYTES, MAX_PACKAGES, Package

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from investigator.modules.notes import Notes

_UNINSTALL: Final = r"Software\Microsoft\Windows\CurrentVersion\Uninstall"
_VALUES: Final = ("DisplayName", "DisplayVersion")

Entry = tuple[str, "Mapping[str, object]"]
"""The architecture of the view that a key was found in, and the key's values."""


class WindowsPrograms:
    """See the file's docstring."""

    kind = "windows"

    def present(self, root: bytes) -> bool:  # noqa: ARG002 - there is one registry
        """Whether this is Windows."""
        return sys.platform == "win32"

    def packages(self, root: bytes, deadline_s: float, notes: Notes) -> list[Package]:  # noqa: ARG002 - as above
        """What is installed; raises OSError or ValueError if the registry cannot be read."""
        return programs_of(_entries())


def programs_of(entries: Iterable[Entry]) -> list[Package]:
    """The programs among Uninstall keys: those that have a name; one that both views show counts once.

    Raises:
        ValueError: there are more than any system has.
    """
    found: dict[Package, None] = {}
    for arch, values in entries:
        name, version = (values.get(key) for key in _VALUES)
        if not isinstance(name, str) or not name.strip():
            continue
        if len(found) >= MAX_PACKAGES:
            raise ValueError(f"more than {MAX_PACKAGES:,} programs")
        shown = version.strip() if isinstance(version, str) else ""
        if max(len(name), len(shown)) <= MAX_NAME_BYTES:
            found[Package(_clean(name), _clean(shown), "windows", arch)] = None
    return list(found)


def _clean(text: str) -> str:
    """The registry may hold lone surrogates, which no JSON can."""
    return text.strip().encode("utf-8", "backslashreplace").decode()


def _entries() -> Iterator[Entry]:
    """Every Uninstall key's values, through `winreg`."""
    import winreg as found  # exists on Windows alone

    winreg: Any = found
    views = (("amd64", winreg.KEY_WOW64_64KEY), ("386", winreg.KEY_WOW64_32KEY))
    for arch, view in views:
        yield from _below(winreg, winreg.HKEY_LOCAL_MACHINE, _UNINSTALL, arch, view)
    for user in _names(winreg, winreg.HKEY_USERS, "", winreg.KEY_WOW64_64KEY):
        yield from _below(winreg, winreg.HKEY_USERS, f"{user}\\{_UNINSTALL}", "", winreg.KEY_WOW64_64KEY)


def _below(winreg: Any, hive: Any, path: str, arch: str, view: int) -> Iterator[Entry]:
    for name in _names(winreg, hive, path, view):
        values: dict[str, object] = {}
        with contextlib.suppress(OSError), winreg.OpenKey(hive, f"{path}\\{name}", 0, winreg.KEY_READ | view) as key:
            for value in _VALUES:
                with contextlib.suppress(OSError):
                    values[value] = winreg.QueryValueEx(key, value)[0]
        yield arch, values


def _names(winreg: Any, hive: Any, path: str, view: int) -> list[str]:
    """The names of the keys below a key; none where it does not exist."""
    names: list[str] = []
    with contextlib.suppress(OSError), winreg.OpenKey(hive, path, 0, winreg.KEY_READ | view) as key:
        while len(names) < MAX_PACKAGES:
            names.append(winreg.EnumKey(key, len(names)))  # raises OSError at the end
    return names
