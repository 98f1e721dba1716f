"""Who reaches a minimum together: exactly the sets that brute force finds, smallest first, and never a long search."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from investigator.console.coalitions import MAX_PEOPLE, MAX_SETS, coalitions

WEIGHTS = st.dictionaries(st.sampled_from("abcdefg"), st.integers(0, 6))


def by_brute_force(weights: dict[str, int], need: int) -> set[frozenset[str]]:
    """Every set that reaches it, and that reaches it no more without any one of its people."""
    return {
        frozenset(names)
        for size in range(1, len(weights) + 1)
        for names in combinations(weights, size)
        if sum(weights[name] for name in names) >= need
        and all(sum(weights[name] for name in names if name != left_out) < need for left_out in names)
    }


@given(WEIGHTS, st.integers(1, 20))
def test_all_sets_from_whom_nobody_can_be_left_out_are_found_once(weights: dict[str, int], need: int) -> None:
    found = coalitions(weights, need)
    expected = by_brute_force(weights, need)
    assert len({frozenset(names) for names in found.sets}) == len(found.sets) == min(len(expected), MAX_SETS)
    assert {frozenset(names) for names in found.sets} <= expected
    assert found.more == (len(expected) > MAX_SETS)


@given(WEIGHTS, st.integers(1, 20))
def test_smaller_sets_come_first_and_heavier_people_within_one(weights: dict[str, int], need: int) -> None:
    sizes = [len(names) for names in coalitions(weights, need).sets]
    assert sizes == sorted(sizes)
    for names in coalitions(weights, need).sets:
        assert [weights[name] for name in names] == sorted((weights[name] for name in names), reverse=True)


def test_many_people_are_cut_and_said_to_be() -> None:
    people = {f"p{number:04}": 1 for number in range(2000)}
    found = coalitions(people, 3)
    assert len(found.sets) == MAX_SETS
    assert found.more
    too_many = coalitions(people, MAX_PEOPLE + 1)
    assert (too_many.sets, too_many.more) == ((), True)
    assert coalitions(people, 2001) == coalitions({}, 1)
    assert not coalitions(people, 2001).more


def test_a_search_that_finds_nothing_for_long_is_given_up() -> None:
    people = {f"p{number:02}": 2 ** (number % 12) + number for number in range(60)}
    assert coalitions(people, sum(people.values()) // 2 + 1).more
