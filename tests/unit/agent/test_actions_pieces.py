"""Findings ahead of an outcome: each is told at once, and the outcome says how many there were, however it ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from investigator.agent import actions as agent_actions
from investigator.agent.runner import Ran
from investigator.agent.state import AgentState
from investigator.errors import DeploymentError
from investigator.protocol.answer import Assembly, unpack
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome
from scene import ALL, FOUND, PRIVATE, SEALTO, Scene, action, operations, signed
from signed import ACTION_ID


class HandsOver:
    """Hands over, then ends as the scene's runner would."""

    def __init__(self, scene: Scene, *pieces: bytes) -> None:
        self.then = scene.runner
        self.pieces = pieces

    async def run(
        self, module: str, parameters: Any, *, deadline_s: float, take: Any = None, limits: Any = None
    ) -> Ran:
        if module != "ping":
            for piece in self.pieces:
                take(piece)
        return await self.then.run(module, parameters, deadline_s=deadline_s)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with AgentState(None) as state:
        yield Scene(state)


def told(scene: Scene) -> list[Outcome | Piece]:
    agent, assembly = scene.state.identity.id, Assembly()
    heard = []
    for letter in scene.state.outbox.pending():
        one = assembly.add(*unpack(letter.payload, action=ACTION_ID, agent=agent, private_key=PRIVATE))
        assert one is not None
        heard.append(one)
    return heard


async def asked(scene: Scene, *pieces: bytes, modules: tuple[str, ...] = ("ping", "netstat")) -> list[Outcome | Piece]:
    scene.runner.ends["ping"] = FOUND
    scene.actions._runner = HandsOver(scene, *pieces)
    await scene.hear(signed(action(operations=operations(*modules), sealto=SEALTO)), ALL)
    return told(scene)


async def test_each_piece_goes_ahead_and_the_outcome_counts_them(scene: Scene) -> None:
    first, second, outcome = await asked(scene, b'["a"]', b'["b"]')
    assert first == Piece(operation=1, number=1, elements=["a"])
    assert second == Piece(operation=1, number=2, elements=["b"])
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.pieces) == ("found", [0, 2])
    assert scene.state.ledger.came_to(ACTION_ID, found=True)


async def test_pieces_of_what_was_interrupted_are_counted_too(scene: Scene) -> None:
    heard = await asked(scene, b'["a"]', modules=("hangs",))
    assert [type(one) for one in heard] == [Piece]
    await scene.actions.close()
    outcome = told(scene)[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.code, outcome.pieces) == ("interrupted", [1])
    assert "was stopped" in outcome.reason
    assert "; 1 piece of findings had been sent, what it found after is lost" in outcome.reason


async def test_an_agent_that_was_killed_knows_how_many_pieces_it_had_sent(scene: Scene) -> None:
    await asked(scene, b'["a"]', b'["b"]', modules=("ping", "hangs"))
    scene.restarted().report_unfinished()  # the first is as good as killed: it says nothing any more
    outcome = told(scene)[-1]
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.code, outcome.pieces) == ("failed", "interrupted", [0, 2])
    assert "the agent ended while the action ran; 2 pieces of findings had been sent" in outcome.reason
    assert scene.state.ledger.unfinished() == []
    assert scene.state.outbox._database.execute("SELECT count(*) FROM pieces").fetchone() == (0,)


async def test_a_piece_is_sent_and_counted_or_neither(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise DeploymentError("the disk is full")

    monkeypatch.setattr(scene.state.ledger, "count_piece", full)
    (outcome,) = await asked(scene, b'["a"]')
    assert isinstance(outcome, Outcome)
    assert (outcome.code, outcome.pieces) == ("outbox", [])


async def test_without_pieces_the_outcome_is_as_it_was(scene: Scene) -> None:
    (outcome,) = await asked(scene)
    assert isinstance(outcome, Outcome)
    assert outcome.pieces == []


@pytest.mark.parametrize(("cap", "code"), [("MAX_PIECES", "output"), ("MAX_OUTCOME_BYTES", "too-large")])
async def test_an_operation_with_too_many_pieces_fails_and_keeps_those_before(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, cap: str, code: str
) -> None:
    monkeypatch.setattr(agent_actions, cap, {"MAX_PIECES": 1, "MAX_OUTCOME_BYTES": 300}[cap])
    piece, outcome = await asked(scene, b'["a"]', b'["b"]')
    assert isinstance(piece, Piece)
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.code, outcome.pieces) == ("failed", code, [0, 1])


async def test_an_operation_whose_piece_the_disk_does_not_take_fails_and_says_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise DeploymentError("the outbox is full")

    monkeypatch.setattr(scene.actions.answers, "post_piece", full)
    (outcome,) = await asked(scene, b'["a"]')
    assert isinstance(outcome, Outcome)
    assert (outcome.state, outcome.code, outcome.pieces) == ("failed", "outbox", [])
    assert "the outbox is full" in outcome.reason
