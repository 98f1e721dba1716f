"""The fold over what comes back: the same for any order and repetition, and every agent in exactly one state."""

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol.piece import Piece
from investigator.protocol.result import NOT_FOR_AGENTS, Outcome, Result, State
from investigator.protocol.tally import STATES, Tally

AGENTS = ("a", "b", "c", "d")
SAID: tuple[State, ...] = tuple(state for state in STATES if state not in NOT_FOR_AGENTS)
ELEMENTS = st.sampled_from([None, 1e30, 2**64 - 1, "x", {"k": [0.5]}])
OUTCOMES = st.builds(
    Outcome,
    state=st.sampled_from(SAID),
    name=st.sampled_from(["web-1", "web-2"]),
    code=st.sampled_from(["", "replayed", "permission", "memory"]),
    finished_s=st.sampled_from([1.0, 2.0, 3.0]),
    results=st.lists(st.builds(Result, success=st.booleans(), elements=ELEMENTS), max_size=2),
    pieces=st.lists(st.integers(0, 2), max_size=2),
)
PIECES = st.builds(
    Piece, operation=st.integers(0, 1), number=st.integers(1, 2), elements=st.sampled_from([["x"], ["y"], {"a": []}])
)
SEVERAL = st.lists(st.tuples(st.sampled_from(AGENTS), st.one_of(OUTCOMES, PIECES)), max_size=16)


def told(state: State, code: str = "", finished_s: float = 1.0) -> Outcome:
    return Outcome(state=state, name="web-1", code=code, finished_s=finished_s)


def hear(tally: Tally, agent: str, what: Outcome | Piece) -> None:
    if isinstance(what, Piece):
        tally.add_piece(agent, what)
    else:
        tally.add(agent, what)


def tally_of(*outcomes: Outcome) -> Tally:
    tally = Tally({"a": "web-1"})
    for outcome in outcomes:
        tally.add("a", outcome)
    return tally


@given(SEVERAL, st.randoms(use_true_random=False), st.integers(0, 12))
def test_any_order_and_any_repetition_comes_to_the_same(said: list[Any], rng: random.Random, repeated: int) -> None:
    one, other = Tally({"a": "web-1"}), Tally({"a": "web-1"})
    for agent, what in said:
        hear(one, agent, what)
    again = said + (rng.choices(said, k=repeated) if said else [])
    rng.shuffle(again)
    for agent, what in again:
        hear(other, agent, what)
    assert one.said == other.said
    assert [one.whole(agent) for agent in AGENTS] == [other.whole(agent) for agent in AGENTS]
    assert one.waiting(AGENTS) == other.waiting(AGENTS)


@given(SEVERAL, st.sets(st.sampled_from(AGENTS)), st.sets(st.sampled_from(AGENTS)))
def test_every_agent_that_was_expected_or_answered_is_in_exactly_one_state(
    said: list[Any], targeted: set[str], seen: set[str]
) -> None:
    tally = Tally(dict.fromkeys(targeted, "name"))
    for agent, what in said:
        hear(tally, agent, what)
    states, counts = tally.states(seen_since=seen), tally.counts(seen_since=seen)
    assert set(states) == targeted | {agent for agent, _ in said}
    assert sum(counts.values()) == len(states)
    assert list(counts) == [state for state in STATES if state in counts]
    for agent in {agent for agent, _ in said} - set(tally.said):  # it began to answer, so it was there
        assert states[agent] == "expired"
    for agent in targeted - {agent for agent, _ in said}:
        assert states[agent] == ("expired" if agent in seen else "offline")


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("found", "notfound"),
        ("notfound", "failed"),
        ("notfound", "timeout"),
        ("failed", "cancelled"),
        ("timeout", "cancelled"),
        ("cancelled", "refused"),
    ],
)
def test_the_better_answer_counts_even_if_it_is_older(better: State, worse: State) -> None:
    for outcomes in ((told(better), told(worse, finished_s=9)), (told(worse, finished_s=9), told(better))):
        assert tally_of(*outcomes).states() == {"a": better}


def test_of_a_failure_and_a_timeout_the_later_counts() -> None:
    assert tally_of(told("failed", finished_s=2), told("timeout", finished_s=1)).states() == {"a": "failed"}
    assert tally_of(told("failed", finished_s=1), told("timeout", finished_s=2)).states() == {"a": "timeout"}


def test_a_refusal_as_replayed_says_that_the_answer_is_still_to_come() -> None:
    tally = tally_of(told("refused", "replayed"))
    assert tally.waiting({"a", "b"}) == {"a", "b"}
    assert tally.states() == {"a": "refused"}
    tally.add("a", told("notfound"))
    assert tally.is_final("a")
    assert tally.states() == {"a": "notfound"}


def test_a_final_refusal_is_never_made_provisional_by_a_later_one() -> None:
    assert tally_of(told("refused", "permission", 1), told("refused", "replayed", 2)).is_final("a")
    assert tally_of(told("refused", "replayed", 2), told("refused", "permission", 1)).is_final("a")


def test_only_a_refusal_is_provisional_whatever_code_an_agent_writes() -> None:
    assert tally_of(told("found", "replayed")).is_final("a")


def test_add_says_whether_it_changed_anything() -> None:
    tally = Tally({})
    assert tally.add("a", told("notfound"))
    assert not tally.add("a", told("notfound"))
    assert not tally.add("a", told("refused"))
    assert tally.add("a", told("found"))


def test_an_expected_agent_keeps_its_name_and_an_unexpected_one_counts_under_its_own() -> None:
    tally = Tally({"a": "db-1"})
    tally.add("a", told("found"))
    tally.add("z", told("notfound"))
    assert tally.names() == {"a": "db-1", "z": "web-1"}
    assert tally.counts() == {"found": 1, "notfound": 1}


def test_an_agent_is_not_final_before_its_outcome_nor_while_a_piece_of_it_is_missing() -> None:
    tally = Tally({"a": "web-1"})
    tally.add_piece("a", Piece(operation=0, number=2, elements=["y"]))
    assert not tally.is_final("a")
    assert tally.states() == {"a": "expired"}
    tally.add("a", Outcome(state="found", name="web-1", results=[Result(elements=["z"])], pieces=[2]))
    assert not tally.is_final("a")
    assert tally.missing("a") == [(0, 1)]
    tally.add_piece("a", Piece(operation=0, number=1, elements=["x"]))
    assert tally.is_final("a")
    outcome = tally.whole("a")
    assert outcome is not None
    assert outcome.results[0].elements == ["x", "y", "z"]


def test_what_an_agent_found_that_never_ended_is_kept() -> None:
    tally = Tally({"a": "web-1", "b": "web-2"})
    tally.add_piece("a", Piece(operation=0, number=1, elements=["x"]))
    outcome = tally.whole("a")
    assert outcome is not None
    assert (outcome.state, outcome.name, outcome.results[0].elements) == ("expired", "web-1", ["x"])
    assert tally.whole("b") is None


@given(SEVERAL, st.randoms(use_true_random=False), st.sampled_from(AGENTS))
def test_what_was_released_comes_to_the_same_states_and_keeps_no_findings(
    said: list[Any], rng: random.Random, released: str
) -> None:
    one, other = Tally({"a": "web-1"}), Tally({"a": "web-1"})
    for agent, what in said:
        hear(one, agent, what)
    at = rng.randrange(len(said) + 1)
    for number, (agent, what) in enumerate([*said, ("a", told("refused"))]):
        if number == at:
            other.release(released)
        if number < len(said):
            hear(other, agent, what)
    assert one.said == other.said
    assert one.states() == other.states()
    assert one.counts() == other.counts()
    assert one.waiting(AGENTS) == other.waiting(AGENTS)
    other.release(released)
    assert other.whole(released) is None
    for agent in set(AGENTS) - {released}:
        assert one.whole(agent) == other.whole(agent)


@given(SEVERAL)
def test_the_answers_are_counted_as_they_come(said: list[Any]) -> None:
    tally = Tally({})
    for agent, what in said:
        hear(tally, agent, what)
    assert sum(tally.answered().values()) == len(tally.said)
    assert {state: tally.counts()[state] for state in tally.answered() if state != "expired"} == tally.answered()
