"""What is checked elsewhere comes back as it was: nothing is lost or changed on the way through the pipe."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from investigator.console.checker import decode
from investigator.console.checks import Answers, Checked, check
from investigator.protocol.answer import pack
from investigator.protocol.codec import whole_floats_as_integers
from investigator.protocol.identity import Identity
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, Result

AGENT = Identity(bytes(range(32)))
ACTION_ID = "ab" * 16
NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(codec="utf-8"))
FINDINGS = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def checked(told: Outcome | Piece) -> list[Checked]:
    payloads = pack(told, AGENT, action=ACTION_ID, digest="d" * 64, sealto=None)
    here = check(Answers(ACTION_ID, None, [(AGENT.id, payload) for payload in payloads]))
    assert decode(msgspec.msgpack.encode(here)) == here
    return here


@given(FINDINGS, FINDINGS, TEXTS, st.floats(0, 2e9))
def test_an_answer_of_one_part_comes_decoded_as_it_was_told(
    elements: Any, statistics: Any, name: str, finished_s: float
) -> None:
    result = Result(success=True, elements=elements, statistics=statistics)
    (one,) = checked(Outcome(state="found", name=name, results=[result], finished_s=finished_s, pieces=[3]))
    assert (one.problem, one.content) == ("", b"")
    assert one.told is not None
    assert (one.told.name, one.told.finished_s, one.told.pieces) == (name, finished_s, [3])
    assert one.told.results[0].elements == whole_floats_as_integers(elements)
    assert one.told.results[0].statistics == whole_floats_as_integers(statistics)


def test_what_is_told_by_more_than_one_part_comes_as_its_slices() -> None:
    parts = checked(Outcome(state="found", name="web-1", results=[Result(elements="x" * 600_000)]))
    assert [(one.head.part, one.head.parts) for one in parts if one.head is not None] == [(1, 3), (2, 3), (3, 3)]
    assert all(one.told is None and one.content for one in parts)


def test_a_piece_is_left_to_whoever_puts_it_together_with_its_outcome() -> None:
    (one,) = checked(Piece(operation=0, number=1, elements=["x"]))
    assert one.told is None
    assert msgspec.json.decode(one.content)["number"] == 1
