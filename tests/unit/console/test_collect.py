"""What a console takes of an agent's pieces, and when it tells that agent's outcome."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker.connection import Message
from investigator.console.collect import Collection
from investigator.console.concluding import conclude
from investigator.protocol.action import Action, Operation
from investigator.protocol.answer import pack
from investigator.protocol.identity import Identity
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, Result
from signed import ACTION_ID

AGENT = Identity(bytes(range(32)))
DIGEST = "d" * 64
ACTION = Action(
    id=ACTION_ID,
    name="n",
    target="all",
    condition=[],
    validfrom=datetime(2026, 11, 24, 3, tzinfo=UTC),
    expireafter=datetime(2026, 11, 24, 4, tzinfo=UTC),
    operations=(Operation(module="file"),),
)


async def one_batch(*payloads: tuple[str, bytes]) -> AsyncIterator[list[tuple[str, bytes]]]:
    yield list(payloads)


class Nothing:
    """A store that keeps nothing."""

    async def keep_answers(self, *_: Any) -> int:
        return 0


class Watched:
    """A collection without a broker, and what it tells."""

    def __init__(self, *, shows: bool = False) -> None:
        self.outcomes: list[Outcome] = []
        self.shown: list[Any] = []
        self._shows = shows
        self.warnings: list[str] = []
        host = SimpleNamespace(id=AGENT.id, name="web-1")
        self.collection = Collection(
            action=ACTION,
            digest=DIGEST,
            envelope="",
            broker=cast(Any, None),
            store=cast(Any, Nothing()),
            inventory=cast(Any, SimpleNamespace(hosts={AGENT.id: host})),
            targeted=cast(Any, [host]),
            private_key=None,
            on_outcome=lambda _agent, _name, outcome: self.outcomes.append(outcome),
            on_warning=self.warnings.append,
            on_piece=self._on_piece,
        )

    def _on_piece(self, _agent: str, _name: str, piece: Piece) -> bool:
        if self._shows:
            self.shown.append(piece.elements)
        return self._shows

    def hear(self, told: Outcome | Piece, digest: str = DIGEST) -> None:
        for payload in pack(told, AGENT, action=ACTION_ID, digest=digest, sealto=None):
            self.hear_payload(payload)

    def hear_payload(self, payload: bytes) -> None:
        asyncio.run(self.collection._take_all(one_batch((AGENT.id, payload))))


def piece(number: int, operation: int = 0) -> Piece:
    return Piece(operation=operation, number=number, elements=[number])


LAST = Outcome(state="found", name="web-1", results=[Result(success=True, elements=[4])], pieces=[3])


@given(st.permutations([piece(1), piece(2), piece(3), LAST]), st.integers(0, 4), st.randoms(use_true_random=False))
def test_an_outcome_is_told_once_and_whole_whatever_comes_first(
    arriving: list[Outcome | Piece], repeated: int, rng: random.Random
) -> None:
    watched = Watched()
    for told in arriving[:-1]:
        watched.hear(told)
        assert not watched.outcomes
    watched.hear(arriving[-1])
    for told in rng.choices(arriving, k=repeated):
        watched.hear(told)
    (outcome,) = watched.outcomes
    assert outcome.results[0].elements == [1, 2, 3, 4]
    assert not watched.warnings


async def test_what_comes_before_the_investigation_is_announced_is_told_after_it() -> None:
    watched = Watched()
    watched.collection.broker = cast(Any, Silent())
    await watched.collection.listen(hold=True)
    for payload in pack(LAST_ALONE, AGENT, action=ACTION_ID, digest=DIGEST, sealto=None):
        watched.collection._on_answer(Message(f"mig.result.{ACTION_ID}.{AGENT.id}", payload))
    assert not watched.outcomes
    await watched.collection.take_arrived()
    assert not watched.outcomes
    watched.collection.begin()
    await watched.collection.take_arrived()
    assert [outcome.state for outcome in watched.outcomes] == ["found"]
    await watched.collection.close()


LAST_ALONE = Outcome(state="found", name="web-1", results=[Result(success=True, elements=[4])])


class Silent:
    """A broker on which nothing is said."""

    async def subscribe(self, subject: str, callback: Any) -> Any:
        return self

    async def unsubscribe(self) -> None:
        pass

    async def flush(self) -> None:
        pass


def test_what_was_shown_as_it_came_is_not_in_the_outcome() -> None:
    watched = Watched(shows=True)
    for told in (piece(2), piece(1), LAST, piece(3)):
        watched.hear(told)
    assert watched.shown == [[2], [1], [3]]
    assert watched.outcomes[0].results[0].elements == [4]
    assert watched.outcomes[0].results[0].foundanything


def test_pieces_of_what_was_not_asked_are_dropped_and_named() -> None:
    watched = Watched()
    watched.hear(piece(1, operation=1))
    watched.hear(piece(1), digest="e" * 64)
    watched.hear(Outcome(state="found", name="web-1", pieces=[0, 1]))
    assert watched.collection.dropped == 3
    assert "was not asked" in watched.warnings[0]
    assert not watched.outcomes
    assert not watched.collection.tally.pieces


def test_a_part_that_never_comes_is_said_and_the_others_are_no_answer() -> None:
    watched = Watched()
    large = Outcome(state="found", name="web-1", results=[Result(success=True, elements=["x" * 700_000])])
    payloads = list(pack(large, AGENT, action=ACTION_ID, digest=DIGEST, sealto=None))
    assert watched.collection.lacking(AGENT.id) == ""
    for payload in (payloads[2], payloads[0], payloads[2]):  # out of order, and one of them twice
        watched.hear_payload(payload)
    assert watched.outcomes == []
    assert watched.collection.lacking(AGENT.id) == "1 of 3 parts of its answer did not arrive"
    watched.hear_payload(payloads[1])
    assert [outcome.state for outcome in watched.outcomes] == ["found"]
    assert watched.collection.lacking(AGENT.id) == ""
    assert watched.warnings == []


class Told:
    """An audience that remembers."""

    def __init__(self) -> None:
        self.outcomes: list[tuple[str, str, list[Any], bool]] = []
        self.warnings: list[str] = []

    def outcome(self, _agent: str, _name: str, state: str, outcome: Outcome, *, unfinished: bool = False) -> None:
        found = [result.elements for result in outcome.results] if outcome else []
        self.outcomes.append((state, outcome.reason if outcome else "", found, unfinished))

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def summary(self, _summary: Any) -> None:
        """Not looked at."""


@pytest.mark.parametrize(
    ("heard", "cut_short", "told", "warned"),
    [
        ([], False, [("offline", "", [], False)], 0),
        ([], True, [], 0),
        ([piece(1)], False, [("expired", "it began to answer, and never ended", [[1]], True)], 0),
        ([piece(1)], True, [("working", "it began to answer, and had not ended yet", [[1]], True)], 0),
        ([piece(1), LAST], False, [("found", "", [[1, 4]], True)], 1),
        ([piece(1), LAST], True, [("working", "", [[1, 4]], True)], 1),
        ([piece(1), piece(2), piece(3), LAST], False, [], 0),
    ],
)
def test_what_is_told_at_the_end_of_an_agent_that_is_not_final(
    heard: list[Piece | Outcome], cut_short: bool, told: list[Any], warned: int
) -> None:
    watched, audience = Watched(), Told()
    for one in heard:
        watched.hear(one)
    working = watched.collection.tally.waiting({AGENT.id}) if cut_short else set()
    conclude(watched.collection, cast(Any, audience), working=working, elapsed_s=0, interrupted=cut_short)
    assert audience.outcomes == told
    assert len(audience.warnings) == warned
