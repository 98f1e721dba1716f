"""Findings in pieces become the result that they would have been at once; what is missing is named."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol.piece import MAX_NUMBERS_NAMED, Piece, joined, missing, whole
from investigator.protocol.result import Outcome, Result

LABELLED = st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 9), max_size=5))


def pieces(*elements: Any, operation: int = 0) -> dict[tuple[int, int], Piece]:
    made = [Piece(operation=operation, number=number, elements=one) for number, one in enumerate(elements, start=1)]
    return {piece.place: piece for piece in made}


def said(elements: Any = None, *, counts: list[int], **changes: Any) -> Outcome:
    result = Result(**{"success": True, "foundanything": True, "elements": elements, **changes})
    return Outcome(state="found", name="web-1", results=[result], pieces=counts)


@given(st.lists(LABELLED, max_size=5), LABELLED)
def test_pieces_and_the_rest_are_what_the_whole_would_have_been(cut: list[Any], rest: Any) -> None:
    expected: dict[str, list[int]] = {}
    for part in [*cut, rest]:
        for label, found in part.items():
            expected.setdefault(label, []).extend(found)
    before = copy.deepcopy((cut, rest))
    (result,) = whole(said(rest, counts=[len(cut)]), pieces(*cut)).results
    assert result.elements == expected
    assert result.errors is None
    assert (cut, rest) == before


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (None, [1], [1]),
        ([1], None, [1]),
        ([1], [2], [1, 2]),
        ({"a": [1]}, {"a": None, "b": None}, {"a": [1], "b": None}),
        ({"a": {"b": [1]}}, {"a": {"b": [2], "c": [3]}}, {"a": {"b": [1, 2], "c": [3]}}),
        ("x", "x", "x"),
    ],
)
def test_lists_are_appended_and_objects_joined_by_key(one: Any, other: Any, both: Any) -> None:
    assert joined(one, other) == both


@pytest.mark.parametrize("part", [[1], "text", {"a": {"b": 1}}])
def test_what_does_not_fit_is_left_out_and_said(part: Any) -> None:
    (result,) = whole(said({"a": [2]}, counts=[2]), pieces({"a": [1]}, part)).results
    assert result.elements == {"a": [1, 2]}
    assert result.errors == ["warning: some findings do not fit those before them, and are left out"]


def test_a_missing_piece_is_named_and_the_others_are_shown() -> None:
    here = pieces(["a"], ["b"], ["c"])
    del here[0, 2]
    outcome = said(["d"], counts=[3], errors=["e"])
    assert missing(outcome.pieces, here) == [(0, 2)]
    (result,) = whole(outcome, here).results
    assert result.elements == ["a", "c", "d"]
    assert result.errors == ["e", "warning: findings are missing: 1 pieces did not arrive (number 2)"]


def test_of_many_missing_pieces_the_first_numbers_are_named() -> None:
    (result,) = whole(said(counts=[MAX_NUMBERS_NAMED + 5]), {}).results
    assert result.errors is not None
    assert result.errors[0].endswith("19, 20, …)")
    assert "25 pieces" in result.errors[0]


def test_what_was_found_before_a_limit_is_kept_beside_the_failure() -> None:
    failed = Outcome(state="timeout", name="web-1", code="deadline", results=[Result.failed("killed")], pieces=[1])
    outcome = whole(failed, pieces(["a"]))
    (result,) = outcome.results
    assert (outcome.state, result.success, result.foundanything) == ("timeout", False, True)
    assert (result.elements, result.errors) == (["a"], ["killed"])


def test_an_agent_that_was_killed_speaks_of_no_pieces_and_they_are_shown() -> None:
    interrupted = Outcome(state="failed", name="web-1", code="interrupted")
    outcome = whole(interrupted, pieces(["a"], operation=1))
    assert [(one.foundanything, one.elements) for one in outcome.results] == [(False, None), (True, ["a"])]


def test_what_was_shown_already_is_left_out_and_counts() -> None:
    outcome = whole(said(["c"], counts=[2]), pieces(["a"], ["b"]), shown={(0, 1)})
    assert outcome.results[0].elements == ["b", "c"]
    assert outcome.results[0].errors is None


def test_an_outcome_without_pieces_stays_as_it_is() -> None:
    outcome = said(["a"], counts=[])
    assert whole(outcome, {}) is outcome
