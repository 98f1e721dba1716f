"""What a package is, and what reads one manager's database of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from investigator.modules.notes import Notes

MAX_PACKAGES: Final = 200_000
"""Of one manager; ten times what the largest distribution has."""
MAX_NAME_BYTES: Final = 1024
"""Of a name, a version, an architecture: what is longer is none."""


class Package(NamedTuple):
    """An installed package, as MIG reports it: its fields in MIG's order."""

    name: str
    """As the manager shows it: `libc6:amd64` where dpkg qualifies it."""
    version: str
    type: str
    """Whose it is: dpkg, rpm, apk, pacman, brew, cask, windows."""
    arch: str

    @property
    def bare_name(self) -> str:
        """Without dpkg's qualifier."""
        return self.name.partition(":")[0] if self.type == "dpkg" else self.name


class Manager(Protocol):
    """Reads one kind of database below a folder that stands for the root."""

    kind: str

    def present(self, root: bytes) -> bool:
        """Whether there is such a database."""

    def packages(self, root: bytes, deadline_s: float, notes: Notes) -> list[Package]:
        """What is installed; raises OSError or ValueError where the database cannot be read at all."""


def printable(raw: bytes) -> str:
    r"""Text of a database, which may hold anything: bytes that are no UTF-8 as `\xNN`."""
    return raw.decode("utf-8", "backslashreplace")
