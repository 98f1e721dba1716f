"""Agents as coroutines: real admission, ledger in memory, signing, sealing, publishing; the module runs in the loop's own process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import math
import multiprocessing
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fleet_deployment import enlist, raise_open_files
from fleet_stages import watch
from investigator.agent.facts import gather_row
from investigator.agent.runner import Ran
from investigator.agent.service import Agent
from investigator.agent.state import AgentState
from investigator.agent.trust import Trust, load_trust
from investigator.broker.connection import connect
from investigator.broker.scopes import MAX_AGENT_MESSAGE_BYTES
from investigator.config import AgentConfig, load_agent
from investigator.modules import get_module
from investigator.modules.interface import Context, load_parameters
from investigator.protocol.token import SecretToken, decode_token, machine_mark

CONNECTING_AT_ONCE = 64
READY_WITHIN_S = 240


@contextlib.contextmanager
def simulated_fleet(
    home: Path, token: SecretToken, agents: int, *, processes: int, stages: Path | None, loop: str
) -> Iterator[list[int]]:
    """So many agents in so many processes, whose ids are given once all agents are registered."""
    context = multiprocessing.get_context("spawn")
    pipes, children = [], []
    for number in range(processes):
        ours, theirs = context.Pipe()
        share = range(number, agents, processes)
        words = (home, token.encode(), share, theirs, stages, loop)
        children.append(context.Process(target=simulate, args=words, daemon=True))
        children[-1].start()
        pipes.append(ours)
    try:
        for ours in pipes:
            if not ours.poll(READY_WITHIN_S) or ours.recv() != "ready":
                sys.exit("the simulated agents did not start")
        yield [child.pid for child in children if child.pid is not None]
    finally:
        for child in children:  # killed: what it costs to say goodbye is not what is measured
            child.kill()
            child.join(20)


def simulate(home: Path, token: str, numbers: range, pipe: Connection, stages: Path | None, loop: str) -> None:
    """One process of them."""
    raise_open_files()
    if stages is not None:
        watch(stages)
    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        runner.run(simulate_agents(home, decode_token(token), numbers, pipe))


def loop_factory(name: str) -> Any:
    """`asyncio` or `uvloop`."""
    if name == "asyncio":
        return None
    return importlib.import_module(name).new_event_loop  # no dependency of ours: docs/adr/0030


class InProcess:
    """Runs the module right here: a thousand hosts' worth of forks are not what is measured."""

    async def run(self, module: str, parameters: Any, *, deadline_s: float, **_: Any) -> Ran:
        found = get_module(module)
        result = found.run(load_parameters(found, parameters), Context(deadline_s=deadline_s))
        return Ran(state="done" if result.success else "failed", code="", result=result)


async def simulate_agents(home: Path, token: SecretToken, numbers: range, pipe: Connection) -> None:
    """Until this process is killed."""
    config = load_agent(home)
    loaded = load_trust(config)
    trust = Trust(loaded.keyring, loaded.acl)  # real agents look at their own files, not thousands at the same
    sample = gather_row(agent="", name="", tags={}, started="")
    gate, connected = asyncio.Semaphore(CONNECTING_AT_ONCE), asyncio.Semaphore(0)

    def gather(*, agent: str, name: str, tags: dict[str, str], started: str) -> dict[str, Any]:
        return {**sample, "id": agent, "name": name, "queueloc": f"linux.{agent}", "tags": tags, "starttime": started}

    async def one(number: int) -> None:
        name, is_ready = f"sim-{number:05}", asyncio.Event()
        with AgentState(None, machine=machine_mark(name, "")) as state:
            enlist(state, home, token, name=name)
            agent = Agent(config, state, trust, InProcess(), name=name, gather=gather)
            async with gate:
                running = asyncio.create_task(run_agent(agent, config, state, is_ready))
                waiting = asyncio.create_task(is_ready.wait())
                await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            connected.release()
            await running

    async with asyncio.TaskGroup() as tasks:
        for number in numbers:
            tasks.create_task(one(number))
        for _ in numbers:
            await connected.acquire()
        gc.collect()
        gc.freeze()  # no host has the objects of a thousand agents to look through
        pipe.send("ready")


async def run_agent(agent: Agent, config: AgentConfig, state: AgentState, is_ready: asyncio.Event) -> None:
    """Connected as a real one connects."""
    broker = await connect(
        config.broker.url,
        state.membership.credentials,
        name=agent.id,
        tls=config.broker.tls,
        on_state=agent.notice,
        give_up_after_s=math.inf,
        max_message_bytes=MAX_AGENT_MESSAGE_BYTES,
    )
    async with broker:
        await agent.run(broker, ready=is_ready.set)
