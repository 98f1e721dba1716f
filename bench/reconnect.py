"""A fleet that comes back after its broker was away: until all are connected, and have answered what was asked meanwhile.

    python bench/reconnect.py                   5,000 agents, the broker killed (SIGKILL) and stopped (SIGTERM), plain text and TLS
    python bench/reconnect.py --quick           1,000 agents, killed, TLS: within half a minute

Each agent is `agent.service.Agent` on a connection and with credentials of its own, its state in memory, in one of two processes; its
operation is answered without a worker. The action is published while no agent is connected: the broker comes up on another port
first. Seconds are from when the broker listens again. Beside it, in the same run, as many bare nats-py clients on a bare server,
with nats-py's own reconnecting, of which nothing is asked.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nats
import psutil

from figures import figure
from fleet_cost import cpu_s
from fleet_deployment import raise_open_files, token_for_all
from investigator.agent.runner import Ran
from investigator.broker import binary
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.scopes import Scope
from investigator.broker.server import EmbeddedServer
from investigator.broker.server_tls import ServerTls
from investigator.broker.streams import ensure_streams, stream_state
from investigator.config import load_broker, load_console
from investigator.console.deployment import BROKER_FOLDER, create_deployment
from investigator.console.dispatch import publish, sign_action, write_action
from investigator.console.keys import load_sealto, load_signer
from investigator.console.network import Network
from investigator.protocol.action import Operation
from investigator.protocol.result import Result
from investigator.protocol.subjects import RESULTS, results_of
from investigator.protocol.token import decode_token
from processes import Processes
from simulated_agents import RollCall, simulate_agents

PROCESSES = 2
AWAY_S = 3.0
"""How long no broker listens; within it the action is published, on another port."""
WITHIN_S = 90.0
GOAL_S = 15.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=5000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", metavar="WORD", help="killed, stopped; plain, tls")
    options = parser.parse_args()
    agents = min(options.agents, 1000) if options.quick else options.agents
    prepare()
    cases = (
        [("killed", True)] if options.quick else [(how, tls) for tls in (True, False) for how in ("killed", "stopped")]
    )
    cases = [case for case in cases if not options.only or options.only in (case[0], scheme(case[1]))]
    took: dict[tuple[str, bool], tuple[float, float]] = {}
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch:
        for tls in dict.fromkeys(tls for _, tls in cases):
            hows = [how for how, uses in cases if uses is tls]
            found = asyncio.run(storms(Path(scratch) / (scheme(tls)), agents, hows, tls=tls))
            took |= {(how, tls): times for how, times in found.items()}
        bare_folder = Path(scratch) / "bare"
        bare_folder.mkdir()
        bare_s = asyncio.run(bare_storm(bare_folder, agents))
    worst_back, worst_answered = (max(times[place] for times in took.values()) for place in (0, 1))
    note = f"{agents:,} agents, the worst of: {', '.join(f'{how} ({scheme(tls)})' for how, tls in took)}"
    figure("reconnect.all_back", worst_back, unit="s", goal=GOAL_S, note=note)
    figure(
        "reconnect.all_answered", worst_answered, unit="s", goal=GOAL_S, note="the action that was published meanwhile"
    )
    figure(
        "reconnect.all_answered_x",
        worst_answered / bare_s,
        against=f"{agents:,} bare nats-py clients back",
        note=f"these: {bare_s:.1f} s",
    )


def prepare() -> None:
    """This process, for what it will see."""
    raise_open_files()
    logging.getLogger("investigator").setLevel(logging.ERROR)  # five thousand connections are lost, as they should be


def scheme(tls: bool) -> str:
    return "tls" if tls else "plain"


async def storms(home: Path, agents: int, hows: list[str], *, tls: bool) -> dict[str, tuple[float, float]]:
    """For each way to end the broker: seconds until all were back, and until all had answered."""
    create_deployment(home, port=0, passphrase=None, network=Network(plain_text=not tls))
    port = load_broker(home).port
    took = {}
    async with make_server(home, port, tls=tls) as server:
        await make_streams(home, server)
        began = time.monotonic()
        token = token_for_all(home)
        with Processes(simulate, agents, PROCESSES, home, token.encode()) as crowd:
            all_connected(crowd)
            print(f"  {agents:,} agents, {scheme(tls)}: started in {time.monotonic() - began:.1f} s", flush=True)
            for how in hows:
                took[how] = await storm(home, server, crowd, agents, how=how)
    return took


def all_connected(crowd: Processes) -> float:
    """When the last one was, on `time.monotonic()`'s scale, which all processes share."""
    return max(map(float, crowd.heard("all are connected", within_s=WITHIN_S)))


async def storm(home: Path, server: EmbeddedServer, crowd: Processes, agents: int, *, how: str) -> tuple[float, float]:
    port = server.port
    if how == "killed":
        os.kill(server.pid, signal.SIGKILL)
    before_s = cpu_s(crowd.pids)
    began = time.monotonic()
    await server.stop()
    async with make_server(home, 0, tls=server.tls is not None) as elsewhere:
        action = await ask(home, elsewhere)
    await asyncio.sleep(max(0.0, AWAY_S - (time.monotonic() - began)))
    server.port = port
    await server.start()
    began, began_wall = time.monotonic(), time.time()
    back_s = await asyncio.to_thread(all_connected, crowd) - began
    answered_s = await last_answer(home, server, action, agents) - began_wall
    cpu = cpu_s(crowd.pids) - before_s
    print(
        f"  {agents:,} agents, {server.url.split(':')[0]}, broker {how}: back {back_s:.2f} s, answered {answered_s:.2f} s;"
        f" CPU broker {cpu_s([server.pid]):.1f} s, agents {cpu:.1f} s; broker {psutil.Process(server.pid).memory_info().rss / 1e6:.0f} MB",
        flush=True,
    )
    return back_s, answered_s


def make_server(home: Path, port: int, *, tls: bool) -> EmbeddedServer:
    folder = home / BROKER_FOLDER
    return EmbeddedServer(folder, port=port, tls=ServerTls.of_deployment(folder, names=()) if tls else None)


async def make_streams(home: Path, server: EmbeddedServer) -> None:
    user = Credentials.load(home / BROKER_FOLDER / f"{Scope.SERVICES}.creds")
    tls = server.tls.as_client() if server.tls is not None else None
    async with await connect(server.url, user, name="bench", tls=tls) as broker:
        await ensure_streams(broker)


async def ask(home: Path, server: EmbeddedServer) -> str:
    """Publish an action for all, while none of them is there; its id."""
    config = load_console(home)
    assert config.sealing_key is not None
    action = write_action(
        name="while you were away",
        target="all",
        operations=[Operation(module="netstat", parameters={})],
        now_s=time.time(),
        life=timedelta(minutes=5),
        macros={},
        sealto=load_sealto(config.sealing_key, lambda: ""),
    )
    prepared = sign_action(action, load_signer(config.signer, lambda: ""))
    user = Credentials.load(config.broker.credentials)
    async with await connect(server.url, user, name="bench", tls=config.broker.tls) as broker:
        await publish(prepared, broker, now_s=time.time())
    return action.id


async def last_answer(home: Path, server: EmbeddedServer, action: str, agents: int) -> float:
    """When the last agent's answer was stored, by the broker's clock."""
    config = load_console(home)
    async with await connect(
        server.url, Credentials.load(config.broker.credentials), name="bench", tls=config.broker.tls, give_up_after_s=60
    ) as broker:
        async with asyncio.timeout(WITHIN_S):
            subjects = results_of(action)
            while len((await stream_state(broker, RESULTS, subjects_filter=subjects)).subjects) < agents:  # noqa: ASYNC110
                await asyncio.sleep(0.5)
        first: dict[str, float] = {}
        async for stored in broker.read_stream(RESULTS, results_of(action)):
            first.setdefault(stored.subject, stored.time.timestamp())
        return max(first.values())


# --- the agents' processes


class Answers:
    """In place of workers."""

    async def run(self, module: str, parameters: Any, *, deadline_s: float, **_: Any) -> Ran:  # noqa: ARG002
        return Ran(state="done", code="", result=Result(success=True, foundanything=True, elements=["x" * 100]))


def simulate(numbers: range, pipe: Connection, home: Path, token: str) -> None:
    """One process of agents."""
    prepare()
    roll = RollCall(numbers, lambda: tell_all_here(pipe))
    asyncio.run(simulate_agents(home, decode_token(token), numbers, runner=Answers(), roll=roll))


def tell_all_here(pipe: Connection) -> None:
    """A host's agent has a small heap; thousands in one process would have it searched for garbage all the time."""
    if gc.isenabled():
        gc.collect()
        gc.freeze()
        gc.disable()
    pipe.send(time.monotonic())


# --- the floor


async def bare_storm(folder: Path, clients: int) -> float:
    """Seconds until so many bare clients are back on a bare server that was killed."""
    port = free_port()
    server = await start_bare(folder, port)
    try:
        with Processes(bare, clients, PROCESSES, port) as crowd:
            all_connected(crowd)
            server.kill()
            await server.wait()
            await asyncio.sleep(AWAY_S)
            server = await start_bare(folder, port)
            began = time.monotonic()
            return await asyncio.to_thread(all_connected, crowd) - began
    finally:
        server.kill()
        await server.wait()


async def start_bare(folder: Path, port: int) -> asyncio.subprocess.Process:
    words = [str(binary.find(folder)), "-a", "127.0.0.1", "-p", str(port), "-l", str(folder / "log")]
    server = await asyncio.create_subprocess_exec(*words)
    for _ in range(1000):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return server
        await asyncio.sleep(0.005)
    sys.exit("the bare server did not start")


def bare(numbers: range, pipe: Connection, port: int) -> None:
    """One process of bare clients."""
    prepare()
    asyncio.run(bare_clients(numbers, pipe, port))


async def bare_clients(numbers: range, pipe: Connection, port: int) -> None:
    roll, starting = RollCall(numbers, lambda: tell_all_here(pipe)), asyncio.Semaphore(200)

    async def one(number: int) -> None:
        async def here() -> None:
            roll.here(number)

        async def lost() -> None:
            roll.gone(number)

        async with starting:
            await nats.connect(
                f"nats://127.0.0.1:{port}",
                connect_timeout=60,
                max_reconnect_attempts=-1,
                reconnected_cb=here,
                disconnected_cb=lost,
            )
        roll.here(number)

    await asyncio.gather(*(one(number) for number in numbers))
    await asyncio.Event().wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
