"""Stage 5, in the fork server: hold an operation to its share of a processor where no cgroup does it.

All its processes are stopped (SIGSTOP) when they have used more than their share, and continued (SIGCONT) when time has made
up for it. What they used is read, not guessed: who waits for a disk is not stopped, and on a busy host, where low
priority holds them back already, nothing is added to that. Sleeping at checkpoints would leave out what has none: a search
in a library, a program that was started.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Final

from investigator.agent import processes

if TYPE_CHECKING:
    from investigator.agent.processes import Process

BURST_S: Final = 0.1
"""Processor time that is free at the start: most operations are over before."""
MOST_SAVED_S: Final = 0.5
"""What one can save up that has less than its share. It is also how seldom such a one is looked at: where a thousand wait for
two processors, looking at each of them ten times a second took a sixth of all their time."""
_SHORTEST_S: Final = 0.02


class Throttle:
    """One operation's account: its share is paid in as time passes, what it uses is taken out; below zero it stands still.

    Times are on `time.monotonic()`'s scale.
    """

    def __init__(self, root: int, *, cpu_percent: int, now_s: float) -> None:
        """`root` is the worker, which started just now."""
        self.stopped: list[Process] = []
        """Those that stand still, parents first."""
        self._root = root
        self._share = cpu_percent / 100
        self._most = float(os.cpu_count() or 1)
        self._credit_s = BURST_S
        self._used_s = 0.0
        self._looked_s = now_s
        self.due_s = self._next(now_s)
        """When to look next."""

    def look(self, now_s: float) -> None:
        """Settle the account; stop or continue."""
        used_s = max(self._used_s, processes.cpu_s(self._root))
        income_s = self._share * (now_s - self._looked_s)
        self._credit_s = min(self._credit_s + income_s, MOST_SAVED_S) - (used_s - self._used_s)
        self._used_s, self._looked_s = used_s, now_s
        if self._credit_s <= 0:
            self.stopped += processes.stop_tree(self._root, but=self.stopped)
        elif self.stopped:
            self._go_on()
        self.due_s = self._next(now_s)

    def _go_on(self) -> None:
        for process in reversed(self.stopped):
            processes.send(process, signal.SIGCONT)
        self.stopped = []

    def _next(self, now_s: float) -> float:
        """The earliest time at which anything can change: the credit used up by all processors, or enough for a turn."""
        if self.stopped:
            return now_s + max((BURST_S / 2 - self._credit_s) / self._share, _SHORTEST_S)
        if self._most <= self._share:
            return float("inf")
        return now_s + max(self._credit_s / (self._most - self._share), _SHORTEST_S)
