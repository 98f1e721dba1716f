"""What one agent counts: plain numbers, raised where things happen, read when somebody asks. Nothing runs for them."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final

RECENT_S: Final = 300.0
MAX_RECENT: Final = 1000


@dataclass(slots=True)
class Tasks:
    """Operations of one module that came to one end."""

    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Counts:
    """Since this process started. Keys come from fixed sets: outcomes' states, docs/protocol.md's codes, our modules."""

    started_s: float = field(default_factory=time.time)
    """Seconds since 1970."""
    connected: bool = False
    connections: int = 0
    """How often there was a connection to the broker."""
    heard: int = 0
    """Messages that were taken to the gate: actions, cancels, revocations."""
    admitted: int = 0
    passed_over: int = 0
    """For other hosts, or known."""
    refused: Counter[str] = field(default_factory=Counter)
    """By code; those that were only counted, not answered, are `unanswered`."""
    ended: Counter[str] = field(default_factory=Counter)
    """Runs of actions, by state."""
    operations: dict[tuple[str, str], Tasks] = field(default_factory=dict)
    """By module and code; "done" where there is no code."""
    delivered: int = 0
    """Letters that the stream has acknowledged."""
    delivered_bytes: int = 0
    undelivered: int = 0
    """Attempts that failed."""
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_RECENT))

    def admit(self) -> None:
        """One more action that runs."""
        self.admitted += 1
        self._recent.append(time.monotonic())

    def operation(self, module: str, code: str, seconds: float) -> None:
        """One more operation that ended."""
        tasks = self.operations.setdefault((module, code or "done"), Tasks())
        tasks.count += 1
        tasks.seconds += seconds

    def admitted_lately(self) -> int:
        """In the last five minutes; 1,000 are the most that is counted."""
        since_s = time.monotonic() - RECENT_S
        return sum(1 for at_s in self._recent if at_s >= since_s)
