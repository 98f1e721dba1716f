"""What an agent writes into the lock file of its state folder while it holds the lock, so that it can be told from others.

Its author is the agent (`agent.state`), its reader this module: of a process that holds that lock, in a file that
nobody but root or the agent's user can write, it is known that it is an agent, and which.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec
import orjson

LOCK_FILE: Final = "agent.lock"
MAX_BYTES: Final = 16 << 10


class Presence(msgspec.Struct, kw_only=True, frozen=True):
    """One running agent."""

    pid: int
    started_ticks: int
    """The process's start (proc(5), stat, field 22): with the pid, no other process's ever."""
    version: str
    agent: str
    """Its id."""
    program: str = ""
    """The absolute path of the one file that it runs from; empty for an installation."""
    program_device: int = 0
    program_inode: int = 0


def presence_of(*, pid: int, started_ticks: int, version: str, agent: str, program: str) -> Presence:
    """The presence of an agent that runs from this file, or from an installation."""
    try:
        found = os.stat(program) if program else None  # noqa: PTH116 - all is texts here
    except OSError:
        found = None  # removed or unreadable by now: nothing that could be recognised later
    return Presence(
        pid=pid,
        started_ticks=started_ticks,
        version=version,
        agent=agent,
        program=program if found else "",
        program_device=found.st_dev if found else 0,
        program_inode=found.st_ino if found else 0,
    )


def write_presence(lock: int, presence: Presence) -> None:
    """Put it into the locked file, in place of what an earlier agent wrote.

    Raises:
        OSError: the disk is full.
    """
    os.ftruncate(lock, 0)
    os.pwrite(lock, orjson.dumps(msgspec.structs.asdict(presence)), 0)


def read_presence(lock: int) -> Presence | None:
    """What stands there; None where nothing, or no presence, does."""
    try:
        return msgspec.convert(orjson.loads(os.pread(lock, MAX_BYTES, 0)), Presence)
    except (OSError, ValueError, RecursionError):  # msgspec's and orjson's errors are ValueErrors
        return None
