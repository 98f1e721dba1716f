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
    """In no particular order, without what was taken."""
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
    take: Callable[[Item, Done], None] | None = None,
) -> Work[Item, Done]:
    """Do it for each, until `deadline_s` on `time.monotonic()`'s scale; what `do` raises is raised here.

    An item that takes longer than `patience_s` hangs: others go on in its place, and it is not waited for. `OutOfTime`
    raised by `do` leaves its item among the hanging. `take` is given what is done while others are at work, in this
    thread and in the order of the items: what comes after one that hangs is left in `done`.
    """
    crew = _Crew(deque(items), do, deadline_s)
    results = _Results(list(crew.todo), take)
    wanted = min(threads or available_cpus(), MAX_THREADS, max(len(crew.todo), 1))
    members = [crew.another() for _ in range(wanted)]
    while time.monotonic() < deadline_s + GRACE_S:
        results.collect(crew.done)
        working = [member for member in members if member.is_alive()]
        late_s = time.monotonic() - patience_s
        moving = [member for member in working if crew.since_s.get(member, late_s) >= late_s]
        if not moving:
            if not working or not crew.todo or len(working) >= MAX_HANGING:
                break
            members.append(crew.another())
            continue
        moving[0].join(max(min(deadline_s + GRACE_S - time.monotonic(), _LOOK_S), 0.0))
    if crew.error is not None:
        raise crew.error
    under_way = list(crew.under_way.values())
    results.collect(crew.done)  # after that: what was done meanwhile does not hang
    hanging = [item for item in under_way if item not in results.seen]
    return Work(list(results.untaken.items()), hanging, list(crew.todo))


class _Results(Generic[Item, Done]):
    """What is done, and of that what is taken."""

    def __init__(self, items: list[Item], take: Callable[[Item, Done], None] | None) -> None:
        self.seen: set[Item] = set()
        self.untaken: dict[Item, Done] = {}
        self._order = deque(items)
        self._take = take

    def collect(self, done: deque[tuple[Item, Done]]) -> None:
        """All that is new; whatever now has nothing unfinished before it is taken."""
        while done:
            item, result = done.popleft()
            self.seen.add(item)
            self.untaken[item] = result
        while self._take is not None and self._order and self._order[0] in self.untaken:
            item = self._order.popleft()
            self._take(item, self.untaken.pop(item))


class _Crew(Generic[Item, Done]):
    def __init__(self, todo: deque[Item], do: Callable[[Item], Done], deadline_s: float) -> None:
        self.todo = todo
        self.done: deque[tuple[Item, Done]] = deque()
        self.under_way: dict[threading.Thread, Item] = {}  # not by number: that of an ended thread is given to the next
        self.since_s: dict[threading.Thread, float] = {}
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
        me = threading.current_thread()
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
