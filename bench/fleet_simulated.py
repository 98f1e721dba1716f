"""A fleet of agents as coroutines: real admission, ledger in memory, signing, sealing, publishing; the module runs in their process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from fleet_deployment import raise_open_files
from fleet_stages import watch
from investigator.protocol.token import SecretToken, decode_token
from processes import Processes
from simulated_agents import InProcess, RollCall, simulate_agents

READY_WITHIN_S = 240.0


@contextlib.contextmanager
def simulated_fleet(
    home: Path, token: SecretToken, agents: int, *, processes: int, stages: Path | None, loop: str
) -> Iterator[list[int]]:
    """So many agents in so many processes, whose ids are given once all agents are registered."""
    with Processes(simulate, agents, processes, home, token.encode(), stages, loop) as fleet:
        fleet.heard("the simulated agents are ready", within_s=READY_WITHIN_S)
        yield fleet.pids


def simulate(numbers: range, pipe: Connection, home: Path, token: str, stages: Path | None, loop: str) -> None:
    """One process of them."""
    raise_open_files()
    if stages is not None:
        watch(stages)

    newest, *older = gc.get_threshold()
    gc.set_threshold(newest * len(numbers), *older)  # each looks for cycles as often as on a host of its own

    def all_here() -> None:
        gc.collect()
        gc.freeze()  # no host has the objects of a thousand agents to look through
        pipe.send("ready")

    with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
        roll = RollCall(numbers, all_here)
        runner.run(simulate_agents(home, decode_token(token), numbers, runner=InProcess(), roll=roll))


def loop_factory(name: str) -> Any:
    """`asyncio` or `uvloop`."""
    if name == "asyncio":
        return None
    return importlib.import_module(name).new_event_loop  # no dependency of ours: docs/adr/0030
