"""The same work on many processes, in threads that are left behind when one hangs.

To read a process's memory, or its arguments, the kernel waits for a lock that the process can hold for as long as it
likes, and a file that it runs from may lie on a file system that answers to nobody. Such a thread ends with the worker.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

GRACE_S: Final = 0.05
"""How much longer than its deadline work may take, for it looks at the clock only now and then."""
MARGIN_S: Final = 1.0
"""How long before its deadline a run ends, to answer with what it has; a tenth of the time if that is shorter."""
MAX_THREADS: Final = 4
MAX_HANGING: Final = 8
_LOOK_S: Final = 0.25

Item = TypeVar("Item")
Done = TypeVar("Done")


@dataclass(slots=True)
class Work(Generic[Item, Done]):
    """What came of it."""

    done: list[tuple[Item, Done]] = field(default_factory=list)
    """In no particular order."""
    hanging: list[Item] = field(default_factory=list)
    """Under way when the time, or the patience with them, was up."""
    untouched: list[Item] = field(default_factory=list)
    """Not begun then."""


class OutOfTime(Exception):
    """Raised by the work itself when it sees that its time is up."""


def end_before(deadline_s: float) -> float:
    """When to stop looking, so that there is time to answer by `deadline_s`."""
    return deadline_s - min(MARGIN_S, max(deadline_s - time.monotonic(), 0.0) / 10)


def work_off(
    items: Iterable[Item],
    do: Callable[[Item], Done],
    *,
    deadline_s: float,
    threads: int | None = None,
    patience_s: float = float("inf"),
) -> Work[Item, Done]:
    """Do it for each, until `deadline_s` on `time.monotonic()`'s scale; what `do` raises is raised here.

    An item that takes longer than `patience_s` hangs: others go on in its place, and it is not waited for. `OutOfTime`
    raised by `do` leaves its item among the hanging.
    """
    crew = _Crew(deque(items), do, deadline_s)
    wanted = min(threads or available_cpus(), MAX_THREADS, max(len(crew.todo), 1))
    members = [crew.another() for _ in range(wanted)]
    while time.monotonic() < deadline_s + GRACE_S:
        working = [member for member in members if member.is_alive()]
        late_s = time.monotonic() - patience_s
        moving = [member for member in working if crew.since_s.get(member.ident, late_s) >= late_s]
        if not moving:
            if not working or not crew.todo or len(working) >= MAX_HANGING:
                break
            members.append(crew.another())
            continue
        left_s = deadline_s + GRACE_S - time.monotonic()
        moving[0].join(None if min(left_s, patience_s) == float("inf") else max(min(left_s, _LOOK_S), 0.0))
    if crew.error is not None:
        raise crew.error
    done = list(crew.done)
    return Work(done, list(crew.under_way.values()), list(crew.todo))


class _Crew(Generic[Item, Done]):
    def __init__(self, todo: deque[Item], do: Callable[[Item], Done], deadline_s: float) -> None:
        self.todo = todo
        self.done: list[tuple[Item, Done]] = []
        self.under_way: dict[int, Item] = {}
        self.since_s: dict[int | None, float] = {}
        self.error: BaseException | None = None
        self._do = do
        self._deadline_s = deadline_s

    def another(self) -> threading.Thread:
        """One more thread, started."""
        member = threading.Thread(target=self.run, name="crew", daemon=True)
        member.start()
        return member

    def run(self) -> None:
        """Be one of the threads. Each access to what they share is one step of the interpreter, so no lock is needed."""
        me = threading.get_ident()
        while self.error is None and time.monotonic() < self._deadline_s:
            try:
                item = self.todo.popleft()
            except IndexError:
                return
            self.under_way[me], self.since_s[me] = item, time.monotonic()
            try:
                result = self._do(item)
            except OutOfTime:
                return
            except BaseException as error:  # noqa: BLE001 - raised again in the thread that asked
                self.error = error
                return
            self.done.append((item, result))
            del self.under_way[me]


def available_cpus() -> int:
    """How many of the host's processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
