"""The texts of /proc/PID (proc_pid_stat(5), proc_pid_status(5), proc_pid_maps(5)), read as if their owner had written them.

A process chooses its own name and the names of what it maps, and the kernel writes both nearly as they are. What does
not parse is None or left out; nothing raises.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_LINE_BYTES: Final = 64 << 10
"""Of a line of `maps`: a path has at most 4,096 bytes, a newline in it takes four."""
DELETED: Final = b" (deleted)"
_PF_KTHREAD: Final = 0x0020_0000
_MAX_NUMBER: Final = 2**64 - 1
_MAPS_LINE: Final = re.compile(
    rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-][w-][x-][ps]) ([0-9a-f]{1,16}) ([0-9a-f]+:[0-9a-f]+) ([0-9]{1,20})(?: +(.*))?",
    re.DOTALL,
)


class Stat(NamedTuple):
    """What /proc/PID/stat says."""

    pid: int
    name: bytes
    """The process's name for itself, at most 15 bytes; a kernel thread's may be longer."""
    state: str
    """One letter: R running, S sleeping, D waiting for a disk, Z ended (zombie), T stopped, ..."""
    parent: int
    session: int
    is_kernel_thread: bool
    started_ticks: int
    """Clock ticks after the host's start."""


class Identity(NamedTuple):
    """Whose a process is, by /proc/PID/status: user ids."""

    real: int
    effective: int


class Region(NamedTuple):
    """One line of /proc/PID/maps."""

    start: int
    end: int
    permissions: bytes
    """Such as `r-xp`."""
    offset: int
    device: bytes
    """Of the file system that the mapped file lives on; `00:00` without one."""
    inode: int
    path: bytes
    """The mapped file's, or a name such as `[heap]`, or nothing; with ` (deleted)` behind it as the kernel writes it."""

    @property
    def is_file(self) -> bool:
        """Whether a file is mapped, which is what the inode says: a name can be made to look like a path."""
        return self.inode != 0


def parse_stat(text: bytes) -> Stat | None:
    """One line of `stat`. A name may hold blanks and brackets: it ends at the last bracket."""
    opening, closing = text.find(b" ("), text.rfind(b") ")
    if opening < 0 or closing < opening:
        return None
    fields = text[closing + 2 :].split()
    if len(fields) < 20:
        return None
    numbers = [_number(field) for field in (text[:opening], fields[1], fields[3], fields[6], fields[19])]
    pid, parent, session, flags, started = numbers
    if pid is None or parent is None or session is None or flags is None or started is None:
        return None
    state = fields[0].decode("latin-1")
    return Stat(pid, text[opening + 2 : closing], state, parent, session, bool(flags & _PF_KTHREAD), started)


def parse_identity(text: bytes) -> Identity | None:
    """The user ids from `status`; the name in its first line has its newlines escaped."""
    place = text.find(b"\nUid:")
    fields = text[place + 5 : text.find(b"\n", place + 5)].split() if place >= 0 else []
    numbers = [_number(field) for field in fields[:2]]
    if len(numbers) < 2 or numbers[0] is None or numbers[1] is None:
        return None
    return Identity(numbers[0], numbers[1])


def parse_region(line: bytes) -> Region | None:
    r"""A line of `maps` without its newline; in a path the kernel writes a newline as `\012`, and nothing else so."""
    found = _MAPS_LINE.fullmatch(line)
    if found is None:
        return None
    start, end, inode = int(found[1], 16), int(found[2], 16), int(found[6])
    if not start < end:
        return None
    path = (found[7] or b"").replace(b"\\012", b"\n")
    return Region(start, end, found[3], int(found[4], 16), found[5], inode, path)


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a text that comes in pieces; what is longer than any line should be is left out."""
    rest, too_long = b"", False
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            if not too_long and len(line) <= MAX_LINE_BYTES:
                yield line
            too_long = False
        if len(rest) > MAX_LINE_BYTES:
            rest, too_long = b"", True
    if rest and not too_long:
        yield rest


def forms(path: bytes) -> tuple[bytes, ...]:
    """A path as the kernel shows it, and without the ` (deleted)` that it may have put behind it."""
    return (path, path.removesuffix(DELETED)) if path.endswith(DELETED) else (path,)


def _number(field: bytes) -> int | None:
    if not field.isdigit() or len(field) > 20:
        return None
    number = int(field)
    return number if number <= _MAX_NUMBER else None
