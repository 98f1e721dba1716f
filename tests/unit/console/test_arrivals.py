"""A queue with a bound: what it does not take is told, and nothing leaves it before it was counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from investigator.console.arrivals import Arrivals


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(1, 5))
def test_it_holds_no_more_than_it_may_and_gives_all_that_it_took_in_order(sizes: list[int], at_most: int) -> None:
    arrivals = Arrivals(max_bytes=100)
    taken: list[tuple[str, bytes]] = []
    offered = []
    for number, size in enumerate(sizes):
        offered.append((str(number), bytes(size)))
        before = len(arrivals)
        arrivals.put(*offered[-1])
        fits = sum(len(payload) for _, payload in offered if (_, payload) in arrivals.some(99)) <= 100
        assert fits
        if len(arrivals) == before:
            assert arrivals.overflown
            offered.pop()
        if number % 3 == 2:
            some = arrivals.some(at_most)
            assert arrivals.some(at_most) == some
            arrivals.taken(len(some))
            taken += some
    assert taken + arrivals.some(99) == offered
