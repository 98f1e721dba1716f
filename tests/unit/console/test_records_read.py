"""The records as they are read: one action by its digest, whoever copied it, and rubbish that spoils nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.console.records import Signatures, best_tally, entries
from investigator.console.store import Record
from investigator.protocol.envelope import Envelope
from investigator.protocol.record import TallyRecord
from signed import (
    ACTION_ID,
    ALICE,
    BOB,
    MALLORY,
    NOW_S,
    OTHER_ID,
    FakeKeyring,
    cancelling,
    digest_of,
    sealed_in,
    sign,
    written,
)

ACTION = written()
WHOLE = sealed_in(ACTION, sign(ACTION, ALICE))
NAMES = {ALICE: "alice", BOB: "bob"}
KNOWN = Signatures(FakeKeyring(), NAMES, 7 * 86_400)  # type: ignore[arg-type]  # as the agents' tests have it


def action(payload: bytes = WHOLE, stored_s: float = NOW_S, under: str = ACTION_ID) -> Record:
    return Record("action", under, payload, stored_s)


def tally(*signers: str, **changes: Any) -> Record:
    plain = {
        "id": ACTION_ID,
        "digest": digest_of(ACTION),
        "asked": datetime.fromtimestamp(NOW_S, UTC),
        "counted": datetime.fromtimestamp(NOW_S + 9, UTC),
        "targeted": 3,
        "states": {"found": 3},
        "final": True,
        "through": 9,
        **changes,
    }
    text = TallyRecord(**plain).encode()
    payload = Envelope(action=text.decode(), pgpsignatures=tuple(sign(text, each) for each in signers)).encode()
    return Record("tally", ACTION_ID, payload, NOW_S + 10)


def test_one_action_on_several_subjects_and_in_several_copies_is_one() -> None:
    copies = [
        action(sealed_in(ACTION), NOW_S - 1),
        action(),
        action(stored_s=NOW_S + 1),
        action(sealed_in(ACTION, sign(ACTION, ALICE), sign(ACTION, BOB)), NOW_S + 2),
    ]
    known, rubbish = entries(copies)
    (entry,) = known
    assert rubbish == 0
    assert (entry.id, entry.digest, entry.asked_s) == (ACTION_ID, digest_of(ACTION), NOW_S - 1)
    assert len(entry.prepared.envelope.pgpsignatures) == 2
    assert KNOWN.of(entry).names == ("alice", "bob")


@given(st.permutations(range(6)))
def test_the_order_in_which_records_come_makes_no_difference(order: list[int]) -> None:
    cancel = cancelling(ACTION, BOB, about=WHOLE)
    records = [
        action(),
        action(sealed_in(ACTION)),
        Record("cancel", ACTION_ID, cancel, NOW_S + 5),
        tally(ALICE),
        tally(final=False),
        Record("statement", "", b"not for us", NOW_S),
    ]
    known, rubbish = entries([records[at] for at in order])
    (entry,) = known
    assert rubbish == 0
    assert len(entry.prepared.envelope.pgpsignatures) == 1
    assert len(entry.cancels) == 1
    assert best_tally(entry, KNOWN) == (entry.tallies[[t.final for t, _, _ in entry.tallies].index(True)][0], True)


def test_two_actions_that_claim_one_id_are_two() -> None:
    other = written(name="another")
    known, _ = entries([action(), action(sealed_in(other, sign(other, MALLORY)))])
    assert [entry.digest for entry in known] == [digest_of(ACTION), digest_of(other)]
    assert [KNOWN.of(entry).names for entry in known] == [("alice",), ()]


def test_a_cancel_that_carries_its_action_brings_the_action_on_record_too() -> None:
    (entry,) = entries([Record("cancel", ACTION_ID, cancelling(ACTION, ALICE, about=WHOLE), NOW_S)])[0]
    assert KNOWN.of(entry).names == ("alice",)
    assert len(entry.cancels) == 1


@pytest.mark.parametrize(
    "record",
    [
        action(b"rubbish"),
        action(b""),
        action(WHOLE[:-20]),
        action(under=OTHER_ID),
        action(orjson.dumps({"v": 1, "action": "{}", "pgpsignatures": []})),
        Record("cancel", ACTION_ID, b"{}", NOW_S),
        Record("tally", ACTION_ID, WHOLE, NOW_S),
    ],
)
def test_what_cannot_be_read_is_counted_and_spoils_nothing(record: Record) -> None:
    known, rubbish = entries([record, action(), record])
    assert [entry.digest for entry in known] == [digest_of(ACTION)]
    assert rubbish == 2


def test_what_is_said_of_an_action_that_is_not_on_record_is_nothing() -> None:
    assert entries([tally(ALICE), Record("cancel", ACTION_ID, cancelling(ACTION, ALICE), NOW_S)]) == ([], 0)


@pytest.mark.parametrize(
    ("signatures", "problem"),
    [
        ((), "it is not signed"),
        ((sign(ACTION, MALLORY),), "is not trusted"),
        ((sign(b"something else", ALICE),), "no signature of this"),
    ],
)
def test_an_action_that_nobody_known_signed_says_why(signatures: tuple[str, ...], problem: str) -> None:
    (entry,) = entries([action(sealed_in(ACTION, *signatures))])[0]
    judged = KNOWN.of(entry)
    assert judged.names == ()
    assert problem in judged.problem


def test_signatures_are_judged_as_of_the_time_of_the_record_since_they_grow_old() -> None:
    (entry,) = entries([action()])[0]
    assert KNOWN.of(entry).names == ("alice",)
    (late,) = entries([action(stored_s=NOW_S + 30 * 86_400)])[0]
    assert KNOWN.of(late).names == ()


def test_a_signed_tally_says_more_than_an_unsigned_one_and_a_final_one_more_than_an_early_one() -> None:
    forged = tally(states={"offline": 3}, counted=datetime.fromtimestamp(NOW_S + 99, UTC))
    by_nobody_known = tally(MALLORY, states={"refused": 3})
    early = tally(ALICE, final=False, states={"found": 1})
    (entry,) = entries([action(), early, tally(ALICE), forged, by_nobody_known])[0]
    best = best_tally(entry, KNOWN)
    assert best is not None
    assert (best[0].states, best[1]) == ({"found": 3}, True)
    (unsigned,) = entries([action(), forged])[0]
    assert [signed for _, signed in [best_tally(unsigned, KNOWN) or (None, None)]] == [False]
