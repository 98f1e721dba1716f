"""A whole agent in a test's own loop, on a real broker: its service, its state on the disk or in memory, and a runner that runs nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from investigator.agent.service import Agent
from investigator.agent.state import AgentState
from investigator.agent.trust import Trust
from investigator.config import AgentConfig, Link
from scene import FakeRunner
from signed import ROW, FakeKeyring, weights

NOWHERE = Link(url="nats://127.0.0.1:1", credentials=Path("none"))


@dataclass
class Living:
    """One that runs, and is registered."""

    agent: Agent
    runner: FakeRunner
    state: AgentState
    link: Any

    @property
    def runs(self) -> int:
        """How many operations ran."""
        return len(self.runner.ran)


@contextlib.asynccontextmanager
async def living(
    broker: Any, *, folder: Path | None = None, url: str | None = None, **settings: Any
) -> AsyncIterator[Living]:
    """An agent on this broker (what `running()` gives), by this address of it; stopped at the end."""
    config = AgentConfig(broker=NOWHERE, keyring=Path("none"), acl=Path("none"), **settings)
    runner, trust = FakeRunner(), Trust(FakeKeyring(), weights(alice=1, bob=1, carol=0), ())
    with AgentState(folder) as state:
        agent = Agent(config, state, trust, runner, name="web-1", gather=_row)
        options = {} if url is None else {"url": url}
        link = await broker.agent(agent.id, on_state=agent.notice, **options)
        ready = asyncio.Event()
        task = asyncio.create_task(agent.run(link, ready=ready.set))
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                await task
            yield Living(agent, runner, state, link)
        finally:
            waiting.cancel()
            task.cancel()
            await asyncio.wait({task, waiting})
            await link.close()


def _row(*, agent: str, name: str, tags: dict[str, str], started: str) -> dict[str, Any]:
    return {
        **ROW,
        "id": agent,
        "name": name,
        "queueloc": f"linux.{agent}",
        "tags": tags,
        "starttime": started,
        "environment": {},
    }


async def until(condition: Any, what: str) -> None:
    """What happens in another task of this loop, or on the broker."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
    assert condition(), what
