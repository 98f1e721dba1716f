"""Ending a process that was proven, and removing the file that it ran from; each acts on what was proven, or not at all."""

from __future__ import annotations

import os
import select
import signal
import stat
import time
from typing import TYPE_CHECKING, Final

from investigator.modules.agentdestroy.proof import NotProven, prove

if TYPE_CHECKING:
    from investigator.modules.agentdestroy.presence import Presence

ORDERLY_S: Final = 5.0
"""How long an agent may take to say goodbye, before it is killed."""
KILLED_S: Final = 5.0
SHARED: Final = "Executable not removed because current agent uses it as well"
INSTALLED: Final = "Executable not removed because the agent runs from an installation, not from one file"


def end(presence: Presence, *, deadline_s: float) -> bool:
    """SIGTERM, then SIGKILL, to that very process; whether it ended. `deadline_s` is on `time.monotonic()`'s scale.

    The descriptor is opened before the proof is repeated, so that a successor under its pid is never met (pidfd_open(2)).

    Raises:
        NotProven: it is not that agent any more.
        OSError: it may not be signalled.
    """
    handle = os.pidfd_open(presence.pid)
    try:
        if prove(presence.pid) != presence:
            raise NotProven("it is another process by now")
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        left_s = max(deadline_s - time.monotonic(), 0.0)
        if _ended(handle, min(ORDERLY_S, left_s / 2)):
            return True
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        return _ended(handle, min(KILLED_S, left_s / 4))
    except ProcessLookupError:
        return True  # between two signals
    finally:
        os.close(handle)


def _ended(handle: int, within_s: float) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def remove_program(presence: Presence, others: list[Presence]) -> str:
    """Remove the file that the agent runs from; returns why not, or nothing where it is gone.

    The folder is held open, so that the entry that is removed is the one that was compared.
    """
    if not presence.program:
        return INSTALLED
    file = (presence.program_device, presence.program_inode)
    if any((other.program_device, other.program_inode) == file for other in others):
        return SHARED
    folder, _, name = presence.program.rpartition("/")
    try:
        parent = os.open(folder or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return _not_removed(presence, error)
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) != file:
            return f"Executable not removed because {presence.program} is not the file that the agent was started from"
        os.unlink(name, dir_fd=parent)
    except OSError as error:
        return _not_removed(presence, error)
    finally:
        os.close(parent)
    return ""


def _not_removed(presence: Presence, error: OSError) -> str:
    return f"Executable not removed: {presence.program}: {(error.strerror or str(error)).lower()}"
