"""An action that ends the agent that runs it: answered, acknowledged, and only then gone."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from investigator.agent.runner import Ran
from investigator.agent.service import Agent
from investigator.agent.state import AgentState
from investigator.agent.trust import Trust
from investigator.broker.connection import Message, State
from investigator.config import AgentConfig, Link
from investigator.errors import BrokerError
from investigator.protocol.result import Result
from scene import ALL, FOUND, FakeRunner, Scene, action, signed
from signed import ALICE, BOB, CAROL, FakeKeyring, weights

ENDS = Ran(state="done", code="", result=Result(success=True, foundanything=True, elements="it stops"))
FAILS = Ran(state="failed", code="module", result=Result.failed("not proven"))
EVERYBODY = (ALICE, BOB, CAROL)


def destroying(pid: int, *more: str) -> bytes:
    operations = [{"module": "agentdestroy", "parameters": {"pid": pid, "version": "1"}}]
    operations += [{"module": name, "parameters": {}} for name in more]
    return signed(action(operations=operations), *EVERYBODY)


class TheScene(Scene):
    """One that counts how often the agent was told that it is ended, and what waits in the outbox then."""

    def __init__(self, state: AgentState, **ends: Ran) -> None:
        self.ended_after: list[list[tuple[str, str]]] = []
        super().__init__(state)
        self.runner.ends.update(ends)
        self.actions._tell_destroyed = lambda: self.ended_after.append(self.said())


async def heard(raw: bytes, **ends: Ran) -> TheScene:
    with AgentState(None) as state:
        scene = TheScene(state, **ends)
        await scene.hear(raw)
        return scene


def test_the_agent_is_told_when_its_answer_is_in_the_outbox_and_hears_nothing_more() -> None:
    async def story() -> None:
        with AgentState(None) as state:
            scene = TheScene(state, agentdestroy=ENDS)
            await scene.hear(destroying(os.getpid(), "netstat"))
            assert scene.ended_after == [[("found", "")]]
            await scene.hear(signed(action(name="another")))
            assert len(scene.runner.ran) == 2

    asyncio.run(story())


@pytest.mark.parametrize(("pid", "end"), [(os.getpid(), FAILS), (os.getppid(), ENDS)], ids=["not proven", "another"])
def test_an_action_that_ended_nothing_or_another_agent_leaves_this_one(pid: int, end: Ran) -> None:
    assert asyncio.run(heard(destroying(pid), agentdestroy=end)).ended_after == []


def test_another_module_with_the_same_parameters_ends_nothing() -> None:
    operations = [{"module": "netstat", "parameters": {"pid": os.getpid(), "version": "1"}}]
    assert asyncio.run(heard(signed(action(operations=operations)), netstat=FOUND)).ended_after == []


class AwayBroker:
    """A broker that takes heartbeats, and acknowledges nothing until it is back."""

    def __init__(self) -> None:
        self.back = False
        self.refusals: asyncio.Queue[str] = asyncio.Queue()
        self.hear: Any = None
        self.acknowledged: list[str] = []

    async def subscribe(self, subject: str, callback: Any) -> None:
        self.hear = callback

    async def publish(self, subject: str, payload: bytes) -> None:
        pass

    async def publish_acked(self, subject: str, payload: bytes, *, message_id: str) -> None:
        if subject.startswith("mig.result.") and not self.back:
            self.refusals.put_nowait(subject)
            raise BrokerError("it is away")
        self.acknowledged.append(subject)

    async def batch_get(self, stream: str, **asked: Any) -> Any:
        missed: tuple[Any, ...] = ()
        for one in missed:
            yield one

    async def flush(self) -> None:
        pass


def test_an_agent_that_is_ended_lives_until_its_answer_is_acknowledged(tmp_path: Path) -> None:
    async def story() -> None:
        broker, runner = AwayBroker(), FakeRunner({"agentdestroy": ENDS})
        link = Link(url="nats://127.0.0.1:1", credentials=tmp_path)
        config = AgentConfig(broker=link, keyring=tmp_path, acl=tmp_path)
        with AgentState(None) as state:
            trust = Trust(FakeKeyring(), weights(alice=1, bob=1, carol=0), ())
            agent = Agent(config, state, trust, runner, name="web-1")
            ready = asyncio.Event()
            agent.notice(State.CONNECTED)
            running = asyncio.create_task(agent.run(broker, ready=ready.set))  # type: ignore[arg-type]
            await ready.wait()
            broker.hear(Message(ALL, destroying(os.getpid())))
            for _ in range(2):  # it tries again, and stays
                await broker.refusals.get()
                assert not running.done()
            assert state.outbox.pending()
            broker.back = True
            await running  # it returns by itself
            assert any(subject.startswith("mig.result.") for subject in broker.acknowledged)
            assert state.outbox.pending() == []

    asyncio.run(story())
