"""Which processes belong to whom, and ending them without ever hitting a stranger.

From Linux's /proc (proc(5)). Where there is none the table is empty: a worker is then ended with its process group,
and daemons that left the group are not found. `psutil` would find some of them; only Linux has been run.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection


_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_STOP_ROUNDS: Final = 8
"""Enough for eight generations that fork while they are looked at; the next look finds the rest."""


class Process(NamedTuple):
    """One process at the moment of looking; pid and start together are no one else's, ever."""

    pid: int
    parent: int
    started_ticks: int
    ended: bool = False
    """It only waits for its parent to take note (a zombie)."""
    cpu_ticks: int = 0
    """Processor time of its threads, and of the children that it waited for."""


def table() -> dict[int, Process]:
    """Every process that can be seen, zombies included, by pid."""
    found = {}
    for name in _pids():
        process = look(int(name))
        if process is not None:
            found[process.pid] = process
    return found


def look(pid: int) -> Process | None:
    """The process with that pid now; None if there is none."""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        stat = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # a process chooses its own name, brackets and blanks included: what counts starts after the last bracket
    fields = stat[stat.rfind(b")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[19]), fields[0] in (b"Z", b"X"), sum(map(int, fields[11:15])))


def below(root: int, among: dict[int, Process], *, sparing: Collection[int] = ()) -> list[Process]:
    """The descendants of `root`, parents first, without those in `sparing` and theirs."""
    children: dict[int, list[Process]] = {}
    for process in among.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    pending = [root]
    while pending:
        for process in children.pop(pending.pop(), ()):
            if process.pid not in sparing:
                found.append(process)
                pending.append(process.pid)
    return found


def tree(root: int) -> list[Process]:
    """The process and its living descendants, parents first.

    Where the kernel lists children (proc(5), `children`) only theirs is read, else the whole table: on a host with 3,000
    processes that is 30 ms each time.
    """
    first = look(root)
    if first is None:
        return []
    found = [first]
    try:
        for parent in found:
            found += [child for pid in _children(parent.pid) if (child := look(pid)) is not None]
    except FileNotFoundError:
        return [first, *below(root, table())]
    return found


def cpu_s(root: int) -> float:
    """Processor time of a process and its descendants, the ended ones that were waited for included."""
    return sum(process.cpu_ticks for process in tree(root)) / _TICKS_PER_S


def stop_tree(root: int, *, but: Collection[Process] = ()) -> list[Process]:
    """Stop a process and its descendants, except those that were stopped before; which these are, parents first.

    A parent that stands still has no more children: looking again until nobody new is there leaves none out.
    """
    known = {(process.pid, process.started_ticks) for process in but}
    stopped: list[Process] = []
    for _ in range(_STOP_ROUNDS):
        new = [one for one in tree(root) if (one.pid, one.started_ticks) not in known]
        for process in new:
            send(process, signal.SIGSTOP)
            known.add((process.pid, process.started_ticks))
        stopped += new
        if not new:
            break
    return stopped


def end(process: Process) -> None:
    """Kill that very process; a later one that was given its pid is left alone."""
    send(process, signal.SIGKILL)


def send(process: Process, number: signal.Signals) -> None:
    """Signal that very process; a later one that was given its pid is left alone."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        now = look(process.pid)
        if now is not None and now.started_ticks == process.started_ticks:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)


def is_running(process: Process) -> bool:
    """Whether that very process has not ended yet."""
    now = look(process.pid)
    return now is not None and now.started_ticks == process.started_ticks and not now.ended


def end_group(leader: int) -> None:
    """Kill a child of ours that was not waited for yet (so that its pid is still its own), and its process group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(leader, signal.SIGKILL)


def marked(mark: str) -> list[Process]:
    """The processes whose environment, as it was when they were started, carries this assignment (`NAME=value`).

    A fork inherits it, and so does a program that it executes, unless the environment is replaced: good for what
    remains after a crash, when no parent is left to tell whose a process was.
    """
    found = []
    for name in _pids():
        process = look(int(name))  # before its environment: a successor under the same pid would have another start
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                environment = file.read()
        except OSError:
            continue
        if process is not None and mark.encode() in environment.split(b"\0"):
            found.append(process)
    return found


def _children(pid: int) -> list[int]:
    """Of all its threads.

    Raises:
        FileNotFoundError: the kernel does not tell (it was built without CONFIG_PROC_CHILDREN).
    """
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found: list[int] = []
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except OSError:
            if Path(f"/proc/{pid}/task/{thread}").exists():
                raise FileNotFoundError(f"/proc/{pid}/task/{thread}/children") from None
    return found


def _pids() -> list[str]:
    try:
        return [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []
