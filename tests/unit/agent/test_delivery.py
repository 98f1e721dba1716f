"""Answers on a full disk, and their way out: each goes once, whatever the disk says, and none holds up the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from investigator.agent import outbox as outboxes
from investigator.agent.answers import Answers
from investigator.agent.delivery import Delivery
from investigator.agent.outbox import MAX_HELD_BYTES, SMALL_BYTES
from investigator.agent.runner import Ran
from investigator.agent.state import AgentState
from investigator.errors import BrokerError, DeploymentError
from investigator.protocol.result import Result
from scene import FakeRunner, Scene, signed

LARGE = Ran(state="done", code="", result=Result(success=True, foundanything=True, elements=["x" * 200_000]))


class Takes:
    """A broker that acknowledges, and counts what it is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.away = False

    async def publish_acked(self, subject: str, payload: bytes, *, message_id: str) -> int:
        if self.away:
            raise BrokerError("it is away")
        self.sent.append(message_id)
        return len(self.sent)


class FillsTheDisk(FakeRunner):
    """Its operations end on a disk that has become full."""

    def __init__(self, state: AgentState, end: Ran) -> None:
        super().__init__({"netstat": end})
        self._state = state

    async def run(
        self, module: str, parameters: Any, *, deadline_s: float, take: Any = None, limits: Any = None
    ) -> Ran:
        fill(self._state)
        return await super().run(module, parameters, deadline_s=deadline_s, take=take)


def fill(state: AgentState) -> None:
    (pages,) = state._database.execute("PRAGMA page_count").fetchone()
    state._database.execute(f"PRAGMA max_page_count={pages}")


def make_room(state: AgentState) -> None:
    state._database.execute("PRAGMA max_page_count=1000000")


@pytest.fixture
def scene() -> Iterator[Scene]:
    with AgentState(None) as state:
        yield Scene(state)


def full(scene: Scene, end: Ran = LARGE) -> Delivery:
    """What delivers for this scene, whose next action ends on a full disk."""
    scene.runner = FillsTheDisk(scene.state, end)
    scene.actions = scene.restarted()
    return Delivery(scene.state.outbox, scene.actions.answers)


async def test_an_answer_that_the_disk_does_not_take_goes_out_from_memory_and_the_run_is_over_once_there_is_room(
    scene: Scene,
) -> None:
    delivery, broker = full(scene), Takes()
    await scene.hear(signed())
    assert len(scene.state.outbox.held) == 1
    assert scene.state.outbox.pending() == []
    assert len(scene.state.ledger.unfinished()) == 1
    assert scene.posted == 1
    await delivery.go_round(broker)  # type: ignore[arg-type]
    assert len(broker.sent) == 1
    assert scene.state.outbox.held == []
    make_room(scene.state)
    await delivery.go_round(broker)  # type: ignore[arg-type]
    assert len(broker.sent) == 1
    assert scene.state.ledger.unfinished() == []


async def test_an_agent_that_ends_before_its_answer_left_memory_answers_for_the_run_at_its_next_start(
    scene: Scene,
) -> None:
    full(scene)
    await scene.hear(signed())
    await scene.actions.close()  # in good order: what is in memory is an answer too
    assert scene.said() == []
    make_room(scene.state)
    scene.restarted().report_unfinished()
    assert scene.said() == [("failed", "interrupted")]


async def test_what_neither_disk_nor_memory_takes_is_told_by_a_small_answer(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "MAX_HELD_BYTES", 20_000)
    full(scene)
    await scene.hear(signed())
    (letter,) = scene.state.outbox.held or scene.state.outbox.pending()
    assert len(letter.payload) < 5000
    assert b'"code":"outbox"' in letter.payload


def test_memory_holds_no_more_than_its_share_and_small_letters_have_room_beyond_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "RESERVED_BYTES", 10)
    outbox = scene.state.outbox
    outbox.hold("x", [bytes(MAX_HELD_BYTES)])
    for letter in (bytes(SMALL_BYTES + 1), b"more than 10"):
        with pytest.raises(DeploymentError, match="in memory"):
            outbox.hold("x", [letter])
    outbox.hold("x", [b"small"])
    assert [len(letter.payload) for letter in outbox.held] == [MAX_HELD_BYTES, 5]


async def test_a_letter_that_the_disk_does_not_let_go_of_is_not_sent_again(scene: Scene) -> None:
    state, broker = scene.state, Takes()
    delivery = Delivery(state.outbox, Answers(state, name="web-1", posted=lambda: None))
    state.outbox.add("mig.result.x.y", [b"1", b"2"])
    state._database.execute(
        "CREATE TRIGGER full BEFORE DELETE ON outbox BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    for _ in range(3):
        with pytest.raises(DeploymentError, match="disk is full"):
            await delivery.go_round(broker)  # type: ignore[arg-type]
    assert len(broker.sent) == len(set(broker.sent)) == 2
    state._database.execute("DROP TRIGGER full")
    await delivery.go_round(broker)  # type: ignore[arg-type]
    assert state.outbox.pending() == []
    assert len(broker.sent) == 2


async def test_while_the_broker_is_away_everything_stays_on_the_disk(scene: Scene) -> None:
    state, broker = scene.state, Takes()
    delivery = Delivery(state.outbox, Answers(state, name="web-1", posted=lambda: None))
    state.outbox.add("mig.result.x.y", [b"%d" % number for number in range(40)])
    broker.away = True
    with pytest.raises(BrokerError):
        await delivery.go_round(broker)  # type: ignore[arg-type]
    assert len(state.outbox.pending()) == 40
    broker.away = False
    await delivery.go_round(broker)  # type: ignore[arg-type]
    assert state.outbox.pending() == []
    assert len(broker.sent) == len(set(broker.sent)) == 40


async def test_answer_and_end_of_a_run_are_written_together_or_not_at_all(scene: Scene) -> None:
    scene.state._database.execute(
        "CREATE TRIGGER full BEFORE UPDATE ON admitted BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
    )
    await scene.hear(signed())
    assert scene.state.outbox.pending() == []
    assert len(scene.state.outbox.held) == 1
    assert len(scene.state.ledger.unfinished()) == 1
