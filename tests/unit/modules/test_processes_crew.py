"""Work on many things in threads: what is done is taken meanwhile, in order, and nothing twice."""

from __future__ import annotations

import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.modules.processes.crew import OutOfTime, work_off


def test_what_is_done_is_taken_while_the_others_are_at_work() -> None:
    taken: list[int] = []
    enough = threading.Event()

    def do(item: int) -> int:
        if item == 3:
            assert enough.wait(20)
        return -item

    def take(item: int, result: int) -> None:
        assert result == -item
        assert threading.current_thread() is threading.main_thread()
        taken.append(item)
        if item == 2:
            enough.set()  # had it been taken only at the end, this would come too late

    work = work_off(range(8), do, deadline_s=float("inf"), threads=2, take=take)
    assert taken == list(range(8))
    assert (work.done, work.hanging, work.untouched) == ([], [], [])


def test_what_comes_after_one_that_hangs_is_done_and_not_taken() -> None:
    taken: list[int] = []
    released = threading.Event()

    def do(item: int) -> int:
        if item == 2:
            released.wait(20)
        return item

    deadline_s = time.monotonic() + 2.0
    work = work_off(
        range(6), do, deadline_s=deadline_s, threads=2, patience_s=0.1, take=lambda item, _: taken.append(item)
    )
    released.set()
    assert taken == [0, 1]
    assert sorted(work.done) == [(3, 3), (4, 4), (5, 5)]
    assert work.hanging == [2]


@given(st.lists(st.sampled_from(("done", "out of time")), max_size=30), st.integers(1, 4), st.booleans())
@settings(max_examples=50)
def test_each_is_taken_or_done_or_hangs_or_is_untouched_and_only_once(
    fates: list[str], threads: int, takes: bool
) -> None:
    def do(item: int) -> int:
        if fates[item] != "done":
            raise OutOfTime
        return item

    taken: list[int] = []
    take = (lambda item, _: taken.append(item)) if takes else None
    work = work_off(range(len(fates)), do, deadline_s=float("inf"), threads=threads, take=take)
    assert taken == sorted(taken)
    everything = [*taken, *(item for item, _ in work.done), *work.hanging, *work.untouched]
    assert sorted(everything) == list(range(len(fates)))
