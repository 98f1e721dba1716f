"""Equal answers as one line, whatever comes, in bounded memory."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from investigator.console.grouping import GROUPED_FROM, MAX_GROUPS_TOLD, MAX_KINDS, Groups, Names

TOLD = st.lists(st.tuples(st.text("abc", min_size=1, max_size=3), st.lists(st.sampled_from("xyz"), max_size=3)))


@given(TOLD, st.randoms(use_true_random=False))
def test_any_order_tells_the_same(told: list[tuple[str, list[str]]], rng: random.Random) -> None:
    one, other = Groups(), Groups()
    for name, lines in told * 3:
        one.add(name, lines)
    again = told * 3
    rng.shuffle(again)
    for name, lines in again:
        other.add(name, lines)
    assert one.told() == other.told()


@given(st.lists(st.text("abcdef", max_size=4), max_size=300))
def test_the_first_names_are_the_first_by_the_alphabet_however_many_come(names: list[str]) -> None:
    some = Names(5)
    for name in names:
        some.add(name)
    assert some.first() == sorted(names)[:5]
    assert some.more() == max(0, len(names) - 5)


def test_few_agents_and_answers_that_all_differ_are_not_grouped() -> None:
    few, different = Groups(), Groups()
    for number in range(GROUPED_FROM - 1):
        few.add(f"h{number}", ["same"])
    for number in range(100):
        different.add(f"h{number}", [f"line {number}"])
    assert few.told() == different.told() == []


def test_kinds_without_end_are_counted_and_every_agent_is_in_one_line() -> None:
    groups = Groups()
    for number in range(4 * MAX_KINDS):
        groups.add(f"h{number}", ["same"] if number % 4 else [f"line {number}"])
    for number in range(MAX_KINDS):
        groups.add(f"more-{number}", [f"other {number}"])
    told = groups.told()
    assert len(told) == MAX_GROUPS_TOLD + 1
    left = 2 * MAX_KINDS - (MAX_GROUPS_TOLD - 1)
    assert told[-2] == f"{left:,} agents: {left:,} more different answers"
    assert told[-1].startswith(f"{3 * MAX_KINDS:,} agents: same: ")
