"""Login records as the C library lays them out: utmp and wtmp (utmp(5)), lastlog (by uid). Pure.

glibc has two layouts: one with 32-bit times, kept on systems that once ran 32-bit programs (x86-64, POWER, s390x), and
the natural one (AArch64, RISC-V). musl has the natural one and writes nothing.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

USER_PROCESS: Final = 7
_ORDER: Final = "<" if sys.byteorder == "little" else ">"
_NATURAL: Final = frozenset(("aarch64", "arm64", "riscv64", "loongarch64"))


@dataclass(frozen=True, slots=True)
class Login:
    """One login: when (seconds since 1970), on which line, from where, and which record says so."""

    time_s: int
    line: bytes
    host: bytes
    source: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The records of one kind of machine."""

    record: struct.Struct
    """type, line, user, host, seconds."""
    last: struct.Struct
    """seconds, line, host; a uid is the record's number."""


_COMPATIBLE: Final = Layout(
    struct.Struct(f"{_ORDER}hxx4x32s4x32s256s4x4xI4x16x20x"), struct.Struct(f"{_ORDER}I32s256s")
)
_NATURAL_LAYOUT: Final = Layout(
    struct.Struct(f"{_ORDER}hxx4x32s4x32s256s4x8xq8x16x20x4x"), struct.Struct(f"{_ORDER}q32s256s")
)


def layout_of(machine: str) -> Layout:
    """The layout of a machine, as `platform.machine()` names it."""
    return _NATURAL_LAYOUT if machine.lower() in _NATURAL else _COMPATIBLE


def logins_in(block: bytes, layout: Layout, source: str) -> Iterator[tuple[bytes, Login]]:
    """The logins in whole records, in their order, with the users' names; what is left of a torn one is passed over."""
    whole = len(block) - len(block) % layout.record.size
    for kind, line, user, host, seconds in layout.record.iter_unpack(memoryview(block)[:whole]):
        if kind == USER_PROCESS and user[0] and seconds > 0:
            yield _text(user), Login(seconds, _text(line), _text(host), source)


def last_login(record: bytes, layout: Layout) -> Login | None:
    """What a record of lastlog says; None where there was no login, or the record is not whole."""
    if len(record) != layout.last.size:
        return None
    seconds, line, host = layout.last.unpack(record)
    return Login(seconds, _text(line), _text(host), "lastlog") if seconds > 0 else None


def _text(padded: bytes) -> bytes:
    return padded.partition(b"\0")[0]
