"""Which parts of a process's address space are read, and how, so that reading them does not make it grow.

Reading a page that a process never touched would have the kernel give it one: page tables, and of a mapped file the page
itself. So the table of pages (`pagemap`) says what is there. Anonymous pages that were never touched are zeros. Those of
mapped files are read from the file, as far as they are in the host's memory. What is swapped out is left there, unless
it is asked for. Mapped devices are never read: that may do things to the hardware.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from array import array
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from investigator.modules.processes.parsing import Region
    from investigator.modules.processes.procfs import Process

Kind = Literal["memory", "zeros", "file", "swapped"]
PAGE: Final = os.sysconf("SC_PAGESIZE") if hasattr(os, "sysconf") else 4096
_ENTRY_BYTES: Final = 8
_PIECE_ENTRIES: Final = 64 << 10
_HIGHEST: Final = 2**63 - 1
"""Above, there is only what belongs to the kernel."""
_DEV_ZERO: Final = os.makedev(1, 5) if hasattr(os, "makedev") else -1
_DEVICE_FOLDERS: Final = (b"/dev/", b"/sys/", b"/proc/")
_NO_DEVICES: Final = (b"/dev/shm/", b"/dev/zero", b"/dev/hugepages/", b"/dev/mqueue/")
_THERE: Final = bytes((byte >> 6) & 3 for byte in range(256))
"""Of an entry's last byte: bit 1, present (63 of the entry); bit 0, swapped (62); see pagemap.rst of the kernel."""
_SCAN_BYTES: Final = 12 * 8
_PAGEMAP_SCAN: Final = 3 << 30 | _SCAN_BYTES << 16 | ord("f") << 8 | 16
_PAGE_IS_PRESENT, _PAGE_IS_SWAPPED = 1 << 3, 1 << 4
_RANGE_BYTES: Final = 3 * 8
_SCANNED_RANGES: Final = 1024
_RUN: Final = re.compile(rb"(.)\1*", re.DOTALL)


class Span(NamedTuple):
    """Adjacent bytes that are read in one way."""

    start: int
    end: int
    kind: Kind
    region: Region


class Unread(NamedTuple):
    """A readable region that is not read, and why."""

    region: Region
    why: str


def is_kernels(region: Region) -> bool:
    """The kernel's own pages, which do not belong to the process and some of which cannot be read."""
    return not region.is_file and region.path.startswith((b"[vvar", b"[vsyscall]"))


def device_reason(process: Process, region: Region, known: dict[tuple[bytes, int], str]) -> str:
    """Why what a region maps is not to be read; nothing for ordinary memory and regular files.

    `known` keeps the answers per file. Without the right to ask the kernel, the path has to tell.
    """
    if not region.is_file:
        return ""
    key = (region.device, region.inode)
    answer = known.get(key)
    if answer is None:
        try:
            found = process.mapped_status(region)
        except OSError:
            named = region.path.startswith(_DEVICE_FOLDERS) and not region.path.startswith(_NO_DEVICES)
            answer = "maps a device" if named else ""
        else:
            regular = stat.S_ISREG(found.st_mode) or (stat.S_ISCHR(found.st_mode) and found.st_rdev == _DEV_ZERO)
            answer = "" if regular else "maps a device"
        known[key] = answer
    return answer


def readable(regions: Iterable[Region], *, offset: int, maxlength: int) -> Iterator[Region]:
    """The regions that the process itself may read, from an address on, as many bytes as are asked for."""
    left = maxlength or _HIGHEST
    for region in regions:
        start = max(region.start, offset)
        if (
            not region.permissions.startswith(b"r")
            or region.end > _HIGHEST
            or start >= region.end
            or is_kernels(region)
        ):
            continue
        end = min(region.end, start + left)
        yield region._replace(start=start, end=end, offset=region.offset + start - region.start)
        left -= end - start
        if left <= 0:
            return


def spans(region: Region, pagemap: int, *, swapped: bool) -> Iterator[Span]:
    """A region in pieces by what its pages are.

    Raises:
        OSError: the table of pages cannot be read.
    """
    untouched: Kind = "file" if region.is_file else "zeros"
    kinds: tuple[Kind, ...] = (untouched, "memory" if swapped else "swapped", "memory", "memory")
    begun: Span | None = None
    for start, end, state in _states(region.start, region.end, pagemap):
        kind = kinds[state]
        if begun is not None and begun.kind == kind:
            begun = begun._replace(end=end)
            continue
        if begun is not None:
            yield begun
        begun = Span(start, end, kind, region)
    if begun is not None:
        yield begun


def _states(start: int, end: int, pagemap: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, state) of pages in the same state, by address."""
    if can_scan():
        yield from _scanned(start, end, pagemap)
    else:
        yield from _looked_up(start, end, pagemap)


@cache
def can_scan() -> bool:
    """Whether the kernel has PAGEMAP_SCAN (Linux 6.7), which passes over what was never touched in no time."""
    try:
        own = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        _scan(own, 0, 0, array("Q", bytes(_RANGE_BYTES)))
    except OSError:
        return False
    finally:
        os.close(own)
    return True


def _scanned(start: int, end: int, pagemap: int) -> Iterator[tuple[int, int, int]]:
    """See `_states`."""
    ranges = array("Q", bytes(_RANGE_BYTES * _SCANNED_RANGES))
    place = start
    first, last = start // PAGE * PAGE, -(-end // PAGE) * PAGE
    while first < last:
        count = _scan(pagemap, first, last, ranges)
        for at in range(0, 3 * count, 3):
            begins, ends, categories = ranges[at : at + 3]
            if begins > place:
                yield place, begins, 0
            state = 2 * bool(categories & _PAGE_IS_PRESENT) + bool(categories & _PAGE_IS_SWAPPED)
            yield max(begins, start), min(ends, end), state
            place = ends
        # not the kernel's own word for where it ended: that is too low (6.18) where its last batch was not the first
        first = place if count == _SCANNED_RANGES else last
    if place < end:
        yield place, end, 0


def _scan(pagemap: int, start: int, end: int, ranges: array[int]) -> int:
    """Fill `ranges` with (start, end, categories) of present and swapped pages: how many there were, or room for."""
    import fcntl

    wanted = _PAGE_IS_PRESENT | _PAGE_IS_SWAPPED
    address, length = ranges.buffer_info()
    # struct pm_scan_arg of linux/fs.h
    asked = array("Q", [_SCAN_BYTES, 0, start, end, 0, address, length // 3, 0, 0, 0, wanted, wanted])
    count: int = fcntl.ioctl(pagemap, _PAGEMAP_SCAN, asked)
    return count


def _looked_up(start: int, end: int, pagemap: int) -> Iterator[tuple[int, int, int]]:
    """See `_states`; by the table itself, which has a word for every page."""
    page = start // PAGE
    last = -(-end // PAGE)
    while page < last:
        count = min(last - page, _PIECE_ENTRIES)
        table = os.pread(pagemap, count * _ENTRY_BYTES, page * _ENTRY_BYTES)
        states = table[_ENTRY_BYTES - 1 :: _ENTRY_BYTES].translate(_THERE)
        if not states:
            raise OSError(errno.EIO, "the table of its pages ends early")
        for run in _RUN.finditer(states):
            first, behind = page + run.start(), page + run.end()
            yield max(first * PAGE, start), min(behind * PAGE, end), states[run.start()]
        page += len(states)
