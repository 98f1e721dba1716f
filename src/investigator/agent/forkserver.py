"""Stage 5, the warm process that workers are forked from: one thread, every module loaded, next to no memory.

It forks when the agent says so, watches each worker's deadline and number of processes, and ends what is to end, with
all that it started. Why nothing escapes: every worker adopts the orphans among its descendants, so while it lives they
are all below it; when it ends they fall to the fork server, which adopts orphans too. So a child of the fork server
that is no living worker is the leftover of a dead one and goes, with all below it, and a kill never meets another
operation's process. A pass over the process table that sees no such child proves that there was none when it began:
such a child cannot leave the table before the fork server has waited for it.

It ends when the agent's end of the control socket is closed, however the agent ended.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from investigator import __version__
from investigator.agent import processes, worker
from investigator.agent.cgroups import Cgroups
from investigator.agent.channel import OTHER_VERSION, Kind, Record, receive_record, send_record
from investigator.agent.limits import Limits, adopt_orphans, gain_no_privileges
from investigator.agent.rehearsal import rehearse
from investigator.agent.throttle import Throttle
from investigator.modules import MODULES, get_module
from investigator.modules.interface import shape_of
from investigator.modules.patterns.hyper import library

WATCH_S: Final = 1.0
"""How often a worker's processes are counted, from this age on; most operations are over before."""
PATIENCE_S: Final = 10.0
"""How long an operation's end waits for leftovers: some fork faster than they are killed, and on a host with no time to
spare what is killed at the lowest priority takes seconds to end. The hunt goes on after it."""
WATCH_LASTING_S: Final = 60.0
"""The same for one without a deadline, which is a module that runs all the time."""
_SWEEP_PAUSE_MS: Final = 2
_LONGEST_SWEEP_PAUSE_MS: Final = 256


def main(arguments: list[str]) -> NoReturn:
    """Serve until the agent goes.

    `arguments`: the control socket's descriptor; the folder for cgroups, or nothing; the agent's version; `name=place` of
    extra modules.
    """
    if arguments[2] != __version__:
        os._exit(OTHER_VERSION)
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    for argument in arguments[3:]:
        name, _, place = argument.partition("=")
        MODULES[name] = place
    for name in MODULES:
        with contextlib.suppress(Exception):  # a module that cannot be loaded fails when it is asked for, alone
            shape_of(get_module(name).spec.parameters)
    library()  # mapped once for all workers
    rehearse()
    os.umask(0o077)
    adopt_orphans()
    gain_no_privileges()
    gc.collect()
    gc.disable()
    gc.freeze()  # collecting in a worker would write to, so copy, every page shared with this process
    server = ForkServer(control, Cgroups(Path(arguments[1])) if arguments[1] else None)
    with contextlib.suppress(ConnectionError):
        server.serve()
    server.end_all()
    os._exit(0)


@dataclass(slots=True)
class _Worker:
    """One living worker, or one whose leftovers are being ended."""

    operation: int
    pid: int
    deadline_s: float
    max_processes: int
    watch_s: float
    throttle: Throttle | None = None
    group: Path | None = None
    why: Kind = Kind.ENDED
    status: int = 0
    number: int = 0
    give_up_s: float = float("inf")
    told: bool = False

    @property
    def due_s(self) -> float:
        """When it is to be looked at next."""
        turn_s = self.throttle.due_s if self.throttle is not None else float("inf")
        return min(self.deadline_s, self.watch_s, self.give_up_s, turn_s)


class ForkServer:
    """The living workers, the dead whose leftovers are not all gone, and the one loop over both."""

    def __init__(self, control: socket.socket, cgroups: Cgroups | None = None) -> None:
        self._control = control
        self._cgroups = cgroups
        self._living: dict[int, _Worker] = {}
        self._dead: list[_Worker] = []
        self._strays = False  # whether there may be any: only then is the process table read
        self._sweep_pause_ms = _SWEEP_PAUSE_MS
        self._bell, self._woken_by = socket.socketpair()
        self._pid = os.getpid()

    def serve(self) -> None:
        """Until the agent closes the control socket.

        Raises:
            ConnectionError: it did so while being told something.
        """
        self._arm_signals()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._bell, select.POLLIN)
        send_record(self._control, Record(kind=Kind.READY))
        while True:
            events = dict(poll.poll(self._pause_ms()))
            if self._bell.fileno() in events:
                with contextlib.suppress(BlockingIOError):
                    self._bell.recv(4096)
            if self._control.fileno() in events and not self._obey():
                return
            self._reap()
            self._watch()
            self._sweep()

    def end_all(self) -> None:
        """Kill every worker and what they started, for as long as patience lasts."""
        give_up_s = time.monotonic() + PATIENCE_S
        for each in self._living.values():
            processes.end_group(each.pid)
            if each.group is not None:
                Cgroups.kill(each.group)
        self._strays = True
        while time.monotonic() < give_up_s:
            self._reap()
            if not self._living and not self._kill_strays():
                return
            time.sleep(_SWEEP_PAUSE_MS / 1000)

    def _arm_signals(self) -> None:
        self._bell.settimeout(0)
        self._woken_by.settimeout(0)
        signal.set_wakeup_fd(self._woken_by.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Whoever stops the agent's terminal or service signals all its processes: it is the agent that decides.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _pause_ms(self) -> float | None:
        """Until something is due; None, with no wake-up at all, while there is nothing."""
        if self._strays:
            return self._sweep_pause_ms
        if not self._living:
            return None
        due_s = min(each.due_s for each in self._living.values())
        return max(0.0, due_s - time.monotonic()) * 1000 + 1

    def _obey(self) -> bool:
        """Do what the agent says; False when it is gone."""
        received = receive_record(self._control)
        if received is None:
            return False
        record, descriptors = received
        if record.kind is Kind.RUN and len(descriptors) == 2:
            self._start(record, descriptors[0], descriptors[1])
        elif record.kind is Kind.KILL:
            for each in self._living.values():
                if each.operation == record.operation and each.why is Kind.ENDED:
                    self._kill(each, Kind.KILLED)
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _start(self, record: Record, connection: int, stderr: int) -> None:
        group = self._group(record)
        try:
            pid = os.fork()
        except OSError as error:
            if group is not None:
                Cgroups.remove(group)
            refusal = Record(kind=Kind.NOT_STARTED, operation=record.operation, status=error.errno or 0)
            send_record(self._control, refusal)
            return
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                for mine in (self._control, self._bell, self._woken_by):
                    mine.close()
                if group is not None:
                    Cgroups.enter(group)
                worker.work(socket.socket(fileno=connection), stderr, self._pid)
            finally:
                os._exit(1)
        now_s = time.monotonic()
        self._living[pid] = _Worker(
            operation=record.operation,
            pid=pid,
            deadline_s=record.deadline_s,
            max_processes=record.number,
            watch_s=now_s + WATCH_S,
            throttle=self._throttle(record, pid, group, now_s),
            group=group,
        )

    def _group(self, record: Record) -> Path | None:
        """A cgroup for the operation; None where there are none, or this one cannot be had."""
        if self._cgroups is None:
            return None
        limits = Limits(
            cpu_percent=record.cpu_percent,
            memory_bytes=record.memory_bytes,
            processes=record.number,
            niceness=record.niceness,
        )
        try:
            return self._cgroups.make(record.operation, limits)
        except OSError:
            return None

    def _throttle(self, record: Record, pid: int, group: Path | None, now_s: float) -> Throttle | None:
        """What holds it to its share of a processor, where no cgroup does; not a module that runs all the time."""
        by_cgroup = group is not None and self._cgroups is not None and "cpu" in self._cgroups.controllers
        if by_cgroup or record.deadline_s == float("inf") or record.cpu_percent >= 100 * (os.cpu_count() or 1):
            return None
        return Throttle(pid, cpu_percent=record.cpu_percent, now_s=now_s)

    def _kill(self, each: _Worker, why: Kind, number: int = 0) -> None:
        each.why, each.number = why, number
        each.deadline_s = each.watch_s = float("inf")
        each.give_up_s = time.monotonic() + PATIENCE_S
        each.throttle = None
        processes.end_group(each.pid)
        if each.group is not None:
            Cgroups.kill(each.group)

    def _watch(self) -> None:
        """Hold back what had its share; kill the workers that are past their deadline, or have too many processes."""
        now_s = time.monotonic()
        for each in self._living.values():
            if each.throttle is not None and each.throttle.due_s <= now_s:
                each.throttle.look(now_s)
        late = [each for each in self._living.values() if each.deadline_s <= now_s]
        for each in late:
            self._kill(each, Kind.DEADLINE)
        due = [each for each in self._living.values() if each.watch_s <= now_s]
        for each in due:
            each.watch_s = now_s + (WATCH_S if each.deadline_s < float("inf") else WATCH_LASTING_S)
            count = len(processes.tree(each.pid))
            if count > each.max_processes:
                self._kill(each, Kind.PROCESSES, count)
        for each in self._living.values():
            if each.give_up_s <= now_s:  # the kernel holds it, in a system call that cannot be interrupted
                each.give_up_s = float("inf")
                self._tell(each, left=1)

    def _reap(self) -> None:
        """Wait for all that has ended; a worker that did not leave alone may have left something."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self._strays = False  # not one child: nothing is left of anyone
                return
            if pid == 0:
                if not self._living:
                    self._strays = True  # whatever these are, they are no workers
                return
            each = self._living.pop(pid, None)
            if each is None:
                continue
            each.status = os.waitstatus_to_exitcode(status)
            each.give_up_s = time.monotonic() + PATIENCE_S
            self._sweep_pause_ms = _SWEEP_PAUSE_MS
            if each.why is Kind.ENDED:
                each.number = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            elif each.why is Kind.DEADLINE:
                each.number = round(1000 * (usage.ru_utime + usage.ru_stime))
            self._leave_group(each)
            self._strays = self._strays or each.status != worker.ENDED_ALONE
            self._dead.append(each)

    def _leave_group(self, each: _Worker) -> None:
        """Of an operation that has ended: was it the group's limit, and whatever is left in it goes."""
        if each.group is None:
            return
        if each.why is Kind.ENDED and each.status == -signal.SIGKILL and Cgroups.ran_out_of_memory(each.group):
            each.why = Kind.MEMORY
        if each.status != worker.ENDED_ALONE:
            Cgroups.kill(each.group)

    def _sweep(self) -> None:
        """End leftovers, and tell the agent of each operation of which nothing is left."""
        left = self._kill_strays() if self._strays else 0
        self._strays = left > 0
        self._sweep_pause_ms = min(2 * self._sweep_pause_ms, _LONGEST_SWEEP_PAUSE_MS) if left else _SWEEP_PAUSE_MS
        now_s = time.monotonic()
        waiting = []
        for each in self._dead:
            if left and now_s < each.give_up_s:
                waiting.append(each)
            else:
                self._tell(each, left)
        self._dead = waiting

    def _tell(self, each: _Worker, left: int) -> None:
        if each.group is not None:
            Cgroups.remove(each.group)  # what is stuck in it is found at the next start
        if not each.told:
            each.told = True
            send_record(
                self._control,
                Record(kind=each.why, operation=each.operation, left=left, status=each.status, number=each.number),
            )

    def _kill_strays(self) -> int:
        """Kill all descendants that are below no living worker; how many there were, the dead not waited for included.

        Those seen are killed at once, children first seen last: what a child forks in between falls to us, and goes in
        the next pass.
        """
        strays = processes.below(self._pid, processes.table(), sparing=self._living)
        for stray in strays:
            processes.end(stray)
        return len(strays)
