"""Stage 5, Linux: control groups (cgroup v2) for operations, where this agent has a part of the tree to itself.

It takes what was delegated to it and nothing else: a systemd unit with `Delegate=yes`, a container's own tree, or the folder
that agent.toml names. The agent moves into a leaf `agent`, because a group with processes cannot hand controllers on;
each operation gets a group beside it. What a controller that is missing here would do, the worker's own limits do
(`limits.bound`, `throttle`). Described by the kernel's Documentation/admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from investigator.agent.limits import Limits

WANTED: Final = ("cpu", "memory", "pids", "io")
PERIOD_US: Final = 100_000
"""Over so long the share of the processor is counted: the kernel's usual."""
THREADS_EACH: Final = 16
"""`pids.max` counts threads too; it is the last line behind the count of processes, for what forks faster than that."""
_LEAF: Final = "agent"
_PREFIX: Final = "operation-"
_REMOVE_WITHIN_S: Final = 1.0
_SYSTEMD: Final = Path("/run/systemd/system")
_DELEGATED: Final = ("trusted.delegate", "user.delegate")


class NoCgroups(Exception):
    """Why there is no part of the tree to use, in one line."""


class Cgroups:
    """A group of which the agent may make children, each for one operation."""

    def __init__(self, folder: Path) -> None:
        """One that `take` or `take_given` prepared: what is in its `cgroup.subtree_control` can be limited."""
        self.folder = folder
        self.controllers = frozenset(_words(folder / "cgroup.subtree_control"))

    def make(self, number: int, limits: Limits) -> Path:
        """A group for an operation.

        Raises:
            OSError: it cannot be made, or does not take a limit.
        """
        group = self.folder / f"{_PREFIX}{os.getpid()}-{number}"
        group.mkdir()
        try:
            for controller, file, value in _settings(limits):
                if controller in self.controllers:
                    _write(group / file, value)
            if "io" in self.controllers:
                with contextlib.suppress(OSError):  # only some of the kernel's schedulers of disks have it
                    _write(group / "io.weight", f"default {100 if limits.niceness == 0 else 10}")
        except OSError:
            self.remove(group)
            raise
        return group

    @staticmethod
    def enter(group: Path) -> None:
        """Put this process, and what it starts from now on, under the group's limits."""
        _write(group / "cgroup.procs", "0")

    @staticmethod
    def kill(group: Path) -> None:
        """All that is in it, at once (`cgroup.kill`, Linux 5.14); before that the fork server's own ways are enough."""
        with contextlib.suppress(OSError):
            if (group / "cgroup.kill").exists():
                _write(group / "cgroup.kill", "1")

    @staticmethod
    def ran_out_of_memory(group: Path) -> bool:
        """Whether the kernel killed something in it because the group's memory was at its limit."""
        words = _words(group / "memory.events")
        return any(key == "oom_kill" and value != "0" for key, value in zip(words[::2], words[1::2], strict=False))

    @staticmethod
    def remove(group: Path) -> bool:
        """When nothing is in it any more; False where something is."""
        with contextlib.suppress(OSError):
            group.rmdir()
        return not group.exists()

    def sweep(self) -> None:
        """Kill and remove what an earlier life left."""
        for group in self.folder.glob(f"{_PREFIX}*"):
            self.kill(group)
            give_up_s = time.monotonic() + _REMOVE_WITHIN_S
            while not self.remove(group) and time.monotonic() < give_up_s:
                time.sleep(0.01)


def take(*, root: Path = Path("/sys/fs/cgroup"), proc: Path = Path("/proc")) -> Cgroups:
    """The group that this process is in, if it was given to us; the process is then in a leaf of it.

    Raises:
        NoCgroups: it was not, or there is no cgroup v2 with the controller of processors.
    """
    if not (root / "cgroup.controllers").exists():
        raise NoCgroups(f"{root} is not cgroup v2")
    own = next((line[3:] for line in _lines(proc / "self" / "cgroup") if line.startswith("0::")), None)
    if own is None or "/../" in f"{own}/":
        raise NoCgroups("this process is in no group of cgroup v2")
    folder = root / own.strip("/")
    if folder.name == _LEAF and _is_delegated(folder.parent):
        folder = folder.parent  # it was started in the leaf: systemd's DelegateSubgroup=agent
    if not _is_delegated(folder):
        raise NoCgroups(f"{folder} is not delegated to it (in a systemd unit: Delegate=yes)")
    strangers = [pid for pid in _words(folder / "cgroup.procs") if pid != str(os.getpid())]
    if strangers:
        raise NoCgroups(f"others are in {folder} too, process {strangers[0]} for one")
    try:
        leaf = folder / _LEAF
        leaf.mkdir(exist_ok=True)
        _write(leaf / "cgroup.procs", str(os.getpid()))
    except OSError as error:
        raise NoCgroups(f"{folder}: {error.strerror}") from None
    return _prepared(folder)


def take_given(folder: Path) -> Cgroups:
    """The group that the settings name: prepared for us, with no process in it.

    Raises:
        NoCgroups: it is none, or we may not make groups in it.
    """
    if not (folder / "cgroup.controllers").exists():
        raise NoCgroups(f"{folder} is no group of cgroup v2")
    if _words(folder / "cgroup.procs"):
        raise NoCgroups(f"{folder} has processes in it; one that has none is needed")
    if not os.access(folder, os.W_OK):
        raise NoCgroups(f"{folder} is not ours to write")
    return _prepared(folder)


def _prepared(folder: Path) -> Cgroups:
    offered = _words(folder / "cgroup.controllers")
    for controller in WANTED:
        if controller in offered:
            with contextlib.suppress(OSError):  # one that is refused is missing, and the others are not
                _write(folder / "cgroup.subtree_control", f"+{controller}")
    cgroups = Cgroups(folder)
    cgroups.sweep()
    return cgroups


def _is_delegated(folder: Path) -> bool:
    """Whether who manages the tree left this part of it to us; where nobody manages it, it is ours if we can write it."""
    if not os.access(folder, os.W_OK):
        return False
    if not _SYSTEMD.exists():
        return True
    for name in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    return os.geteuid() != 0 and folder.stat().st_uid == os.geteuid()


def _settings(limits: Limits) -> tuple[tuple[str, str, str], ...]:
    """Controller, file and value. Shares among the agent's own groups; against other services its unit's weights count."""
    return (
        ("cpu", "cpu.max", f"{limits.cpu_percent * PERIOD_US // 100} {PERIOD_US}"),
        ("cpu", "cpu.weight.nice", str(limits.niceness)),
        ("memory", "memory.max", str(limits.memory_bytes)),
        ("memory", "memory.oom.group", "1"),
        ("pids", "pids.max", str(limits.processes * THREADS_EACH)),
    )


def _write(file: Path, value: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _words(file: Path) -> list[str]:
    return " ".join(_lines(file)).split()
