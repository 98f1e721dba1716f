r"""Whether a process is an agent of this program, from what only such a process can show. Linux only.

It is one if it holds, under its own pid, the exclusive lock (flock(2), as /proc/PID/fdinfo has it) on a file called
`agent.lock`, that file is a regular one which only root or our own user owns and writes, the process runs as its owner,
and the presence in the file names this very process by pid and start. Nobody else of the host can take that lock: they
cannot open the file. Nothing is executed, and processes of other users are not looked into.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from investigator.modules.agentdestroy.presence import LOCK_FILE, MAX_BYTES, read_presence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from investigator.modules.agentdestroy.presence import Presence

MAX_DESCRIPTORS: Final = 65_536
_LOCKS: Final = re.compile(rb"^\d+: FLOCK +ADVISORY +WRITE +(\d+) ", re.MULTILINE)
_HELD: Final = re.compile(rb"^lock:\s+\d+: FLOCK +ADVISORY +WRITE +(\d+) ", re.MULTILINE)
_UIDS: Final = re.compile(rb"^Uid:\s+(\d+)\s+(\d+)\s", re.MULTILINE)


class NotProven(Exception):
    """It is no agent, or cannot be shown to be one; the message says what is missing."""


class Looked(NamedTuple):
    """A process at the moment of looking."""

    parent: int
    started_ticks: int
    ended: bool


def look(pid: int) -> Looked | None:
    """The process with that pid now; None if there is none (or no /proc)."""
    text = _read(f"/proc/{pid}/stat")
    # a process chooses its own name, brackets and blanks included: what counts starts after the last bracket
    fields = text[text.rfind(b")") + 2 :].split()
    if len(fields) < 20:
        return None
    return Looked(int(fields[1]), int(fields[19]), fields[0] in (b"Z", b"X"))


def ancestors(pid: int) -> list[int]:
    """The processes above this one, nearest first."""
    above: list[int] = []
    found = look(pid)
    while found is not None and found.parent > 1 and found.parent not in above:
        above.append(found.parent)
        found = look(found.parent)
    return above


def prove(pid: int) -> Presence:
    """The agent that this process is.

    Raises:
        NotProven: it is none that can be shown to be one.
    """
    process = look(pid)
    if process is None or process.ended:
        raise NotProven("no such process runs")
    users = _UIDS.search(_read(f"/proc/{pid}/status"))
    trusted = {0, os.geteuid()}
    if users is None or not {int(users[1]), int(users[2])} <= trusted:
        raise NotProven("it runs as another user")
    for descriptor in _lock_descriptors(pid):
        presence = _presence(pid, descriptor, owner=int(users[1]))
        if presence is not None and (presence.pid, presence.started_ticks) == (pid, process.started_ticks):
            return presence
    raise NotProven("it does not hold the lock of an agent's state folder")


def acting_agent() -> int | None:
    """The agent whose operation this process runs: the nearest process above it that is one; None where there is none."""
    for pid in ancestors(os.getpid()):
        try:
            return prove(pid).pid
        except NotProven:
            continue
    return None


def other_agents(than: int) -> Iterator[Presence]:
    """The other agents of this host that can be shown to be some."""
    for holder in {int(pid) for pid in _LOCKS.findall(_read("/proc/locks", at_most=16 << 20))} - {0, than}:
        try:
            yield prove(holder)
        except NotProven:
            continue


def _lock_descriptors(pid: int) -> Iterator[int]:
    """Those that are, by the kernel's word, of a file with the lock's name."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")[:MAX_DESCRIPTORS]
    except OSError:
        return
    for name in names:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")  # noqa: PTH115 - thousands of them
        except OSError:
            continue
        if target.endswith(f"/{LOCK_FILE}"):
            yield int(name)


def _presence(pid: int, descriptor: int, *, owner: int) -> Presence | None:
    """What the file says, if this process holds its lock and nobody else could have written it."""
    holders = _HELD.findall(_read(f"/proc/{pid}/fdinfo/{descriptor}"))
    if [int(holder) for holder in holders] != [pid]:
        return None
    path = f"/proc/{pid}/fd/{descriptor}"
    try:
        if not _is_private(os.stat(path), owner):  # noqa: PTH116 - before it is opened: a FIFO or device is not
            return None
        lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        return read_presence(lock) if _is_private(os.fstat(lock), owner) else None
    finally:
        os.close(lock)


def _is_private(found: os.stat_result, owner: int) -> bool:
    return (
        stat.S_ISREG(found.st_mode)
        and found.st_uid == owner
        and found.st_nlink == 1
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        and found.st_size <= MAX_BYTES
    )


def _read(path: str, *, at_most: int = 1 << 20) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(at_most)
    except OSError:
        return b""
