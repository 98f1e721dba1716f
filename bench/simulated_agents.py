"""Many agents as coroutines of one process: the real `agent.service.Agent`, each with a key, credentials and a connection of its own.

Its state is in memory, and what runs its operations is an argument: a thousand hosts' worth of forks are not what is measured.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from fleet_deployment import enlist
from investigator.agent.actions import Runs
from investigator.agent.facts import gather_row
from investigator.agent.runner import Ran
from investigator.agent.service import Agent
from investigator.agent.state import AgentState
from investigator.agent.trust import Trust, load_trust
from investigator.broker.connection import connect
from investigator.broker.scopes import MAX_AGENT_MESSAGE_BYTES
from investigator.broker.states import State
from investigator.config import load_agent
from investigator.modules import get_module
from investigator.modules.interface import Context, load_parameters
from investigator.protocol.token import SecretToken, machine_mark

STARTING_AT_ONCE = 64


class InProcess:
    """Runs the module right here."""

    async def run(self, module: str, parameters: Any, *, deadline_s: float, **_: Any) -> Ran:
        found = get_module(module)
        result = found.run(load_parameters(found, parameters), Context(deadline_s=deadline_s))
        return Ran(state="done" if result.success else "failed", code="", result=result)


class RollCall:
    """Who of them is there; `complete` is called each time that nobody is missing any more."""

    def __init__(self, numbers: Iterable[int], complete: Callable[[], None]) -> None:
        self._missing = set(numbers)
        self._complete = complete

    def here(self, number: int) -> None:
        if number in self._missing:
            self._missing.discard(number)
            if not self._missing:
                self._complete()

    def gone(self, number: int) -> None:
        self._missing.add(number)


async def simulate_agents(home: Path, token: SecretToken, numbers: range, *, runner: Runs, roll: RollCall) -> None:
    """Until this process is killed."""
    config = load_agent(home)
    loaded = load_trust(config)
    trust = Trust(loaded.keyring, loaded.acl)  # real agents look at their own files, not thousands at the same
    sample = gather_row(agent="", name="", tags={}, started="")
    starting = asyncio.Semaphore(STARTING_AT_ONCE)

    def gather(*, agent: str, name: str, tags: dict[str, str], started: str) -> dict[str, Any]:
        return {**sample, "id": agent, "name": name, "queueloc": f"linux.{agent}", "tags": tags, "starttime": started}

    async def one(number: int) -> None:
        name = f"sim-{number:05}"
        with AgentState(None, machine=machine_mark(name, "")) as state:
            enlist(state, home, token, name=name)
            agent = Agent(config, state, trust, runner, name=name, gather=gather)

            def notice(connection: State) -> None:
                if connection is State.DISCONNECTED:
                    roll.gone(number)
                elif connection is State.RECONNECTED:
                    roll.here(number)
                agent.notice(connection)

            def ready() -> None:
                starting.release()
                roll.here(number)

            await starting.acquire()
            broker = await connect(  # as a real one does
                config.broker.url,
                state.membership.credentials,
                name=agent.id,
                tls=config.broker.tls,
                on_state=notice,
                give_up_after_s=math.inf,
                max_message_bytes=MAX_AGENT_MESSAGE_BYTES,
            )
            async with broker:
                await agent.run(broker, ready=ready)

    async with asyncio.TaskGroup() as tasks:
        for number in numbers:
            tasks.create_task(one(number))
