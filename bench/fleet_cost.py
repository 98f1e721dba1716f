"""What processes cost: processor seconds, and the memory that is theirs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return []


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time of these and of their children that have ended."""
    return sum(own_and_children_s(pids))


def own_and_children_s(pids: Iterable[int]) -> tuple[float, float]:
    """The same, apart."""
    own = children = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            user, system, *of_children = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[11:15]
            own += int(user) + int(system)
            children += sum(map(int, of_children))
    return own / _TICKS, children / _TICKS


def pss_bytes(pids: Iterable[int]) -> int:
    """Memory of these, what is shared divided by those who share it."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_bytes().splitlines():
                if line.startswith(b"Pss:"):
                    total += int(line.split()[1]) << 10
    return total


def available_bytes() -> int:
    """What the machine has left."""
    return int(psutil.virtual_memory().available)
