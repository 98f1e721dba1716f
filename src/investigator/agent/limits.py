"""Stage 5, what an operation may use: the limits as data, and how a process takes them upon itself.

Nearly all that only Linux has stands here (the rest, looking through /proc, in `processes`). Each function says what is
lacking elsewhere; where a call does not exist, it does nothing and says so in what it returns.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import platform
import resource
import signal
import struct
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from investigator.protocol.action import AskedLimits

STDERR_BYTES: Final = 64 << 10
"""What a worker's standard error may hold; the rest is lost."""
FILE_BYTES: Final = 1 << 20
"""The largest regular file that a worker can write: modules read, and a full disk would hurt the host."""

LOWERED: Final = ("cpu_percent", "memory_bytes", "wall_clock_s", "output_bytes", "open_files")
"""What an action may lower; how urgent it is, an operation cannot choose at all."""
DEFAULT_NICENESS: Final = 19
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_IDLE: Final = 3 << 13
_IOPRIO_LOWEST: Final = (2 << 13) | 7
"""Of those that are served in turn with others; an idle one on a disk that is never idle is not served."""
_SCHED_SETATTR: Final = {"x86_64": 314, "aarch64": 274}
_SLICE_NS: Final = 100_000
"""The shortest that the kernel takes. What wakes up beside a worker waits until its slice is over, whatever their priorities;
the usual slice is 3 ms."""
_LINUX: Final = sys.platform == "linux"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one operation may use. At a limit it ends, with all that it started, and its result says which it was."""

    wall_clock_s: float = 300.0
    """From the start of its worker; MIG's `moduletimeout` has the same default."""
    memory_bytes: int = 512 << 20
    """Of each of its processes: private writable memory, thread stacks included, mapped files not."""
    output_bytes: int = 24 << 20
    """Of its result, as JSON."""
    cpu_percent: int = 100
    """Of one processor, all its processes and threads together; beyond it they wait, and none is killed for it."""
    open_files: int = 1024
    processes: int = 64
    """Its worker and all that this started, counted about once a second."""
    niceness: int = DEFAULT_NICENESS
    file_bytes: int = FILE_BYTES
    """Of each regular file that it writes."""

    def __post_init__(self) -> None:
        if not (
            self.wall_clock_s > 0
            and self.memory_bytes > 0
            and self.output_bytes > 0
            and self.cpu_percent > 0
            and self.open_files >= 16
            and self.processes > 0
            and self.file_bytes > 0
            and 0 <= self.niceness <= 19
        ):
            raise ValueError(f"limits that no operation could run under: {self}")

    def lowered(self, asked: AskedLimits | None) -> Limits:
        """These, and where the action asks for less, that. The one place where an action's limits meet the host's own."""
        if asked is None:
            return self
        return replace(
            self,
            **{
                name: min(getattr(self, name), wanted)
                for name in LOWERED
                if (wanted := getattr(asked, name)) is not None
            },
        )


def adopt_orphans() -> bool:
    """Become the parent of every descendant whose own parent ended (prctl(2), PR_SET_CHILD_SUBREAPER).

    False where it cannot be had (not Linux): daemons then belong to process 1, and only the environment's mark tells
    whose they were (`processes.marked`).
    """
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> bool:
    """Have the kernel kill this process when its parent, the process `parent`, ends; ends it now if that was before.

    False where it cannot be had (not Linux): a worker then ends when the fork server tells it to, or at its deadline.
    """
    granted = _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended between the fork and the prctl, so no signal will come
        os._exit(1)
    return granted


def gain_no_privileges() -> bool:
    """No program that this process or its children start is set-uid any more (prctl(2), PR_SET_NO_NEW_PRIVS)."""
    return _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def yield_to_others(niceness: int) -> None:
    """Take processor and disk only when others leave them, and be the first whom the kernel ends when memory is short.

    Only the processor's part exists outside Linux. A session of its own is a scheduling group of its own where the
    kernel groups by session (sched(7), autogroup): there niceness counts only among the group's processes, so the
    group gets it too.
    """
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    if not _LINUX:
        return
    if niceness > 0:
        take_short_turns()
    for path, value in (("/proc/self/autogroup", niceness), ("/proc/self/oom_score_adj", 1000)):
        with contextlib.suppress(OSError):
            _write(path, b"%d" % value)
    number = _IOPRIO_SET.get(platform.machine())
    if number is not None and niceness > 0:
        priority = _IOPRIO_IDLE if niceness == 19 else _IOPRIO_LOWEST
        _libc().syscall(number, _IOPRIO_WHO_PROCESS, 0, priority)


def take_short_turns() -> bool:
    """Run for at most `_SLICE_NS` at a time while others wait (sched_setattr(2), Linux 6.12); others are not delayed longer.

    False where it cannot be had. An older kernel takes it, and pays no attention.
    """
    number = _SCHED_SETATTR.get(platform.machine()) if _LINUX else None
    if number is None:
        return False
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    # struct sched_attr: size, policy (SCHED_OTHER), flags, nice, priority, runtime, deadline, period
    attributes = struct.pack("=IIQiIQQQ", 48, 0, 0, niceness, 0, _SLICE_NS, 0, 0)
    return bool(_libc().syscall(number, 0, attributes, 0) == 0)


def bound(limits: Limits) -> None:
    """Have the kernel hold this process, and each that it starts, to the limits that it knows.

    Memory is RLIMIT_DATA. RLIMIT_AS would also count mapped files and what the allocator reserves for each thread
    without using it (at 256 MiB, the seventh thread fails). macOS accepts both and enforces neither.
    The share of the processor is the fork server's to keep (`throttle`, `cgroups`).
    """
    _lower(resource.RLIMIT_DATA, limits.memory_bytes)
    _lower(resource.RLIMIT_NOFILE, limits.open_files)
    _lower(resource.RLIMIT_FSIZE, limits.file_bytes)
    _lower(resource.RLIMIT_CORE, 0)


def stderr_file() -> int:
    """A descriptor that takes the first `STDERR_BYTES` written to it and refuses more; nobody needs to read it.

    A sealed memory file (memfd_create(2), F_SEAL_GROW). Outside Linux an unnamed temporary file: there it grows up to
    `FILE_BYTES`.
    """
    if _LINUX:
        import fcntl

        descriptor = os.memfd_create("stderr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, STDERR_BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        return descriptor
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _lower(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some
        resource.setrlimit(which, (value, value))


def _write(path: str, content: bytes) -> None:
    """By system calls alone: each worker comes here, and what pathlib touches would be copied for each."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _prctl(option: int, value: int) -> bool:
    return _LINUX and _libc().prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0


@functools.cache
def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)
