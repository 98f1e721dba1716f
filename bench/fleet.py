"""How long a fleet takes to answer one `file` investigation: from the publication to the last answer at the console.

    python bench/fleet.py --agents 1000            coroutines in one process: real admission, ledger in memory, real
                                                   signing, sealing and publishing; the module runs in that process
    python bench/fleet.py --agents 50 --real       real `investigator agent` processes, a worker forked per operation

Beside it, in the same run, the floor: as many bare NATS connections, each answering one message with 500 bytes.
Broker, agents and console are separate processes on this machine. Prints median and maximum of the runs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nats
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from investigator import Investigator
from investigator.agent.facts import gather_row
from investigator.agent.runner import Ran
from investigator.agent.service import Agent
from investigator.agent.state import AgentState
from investigator.agent.trust import Trust, load_trust
from investigator.broker import binary
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.operator import mint_agent
from investigator.broker.scopes import MAX_AGENT_MESSAGE_BYTES
from investigator.config import CONSOLE_FILE, load_agent
from investigator.console.deployment import create_deployment
from investigator.modules import get_module
from investigator.modules.interface import Context, load_parameters
from investigator.program import own_command
from investigator.protocol.action import Operation


class InProcess:
    """Runs the module in the simulating process: a thousand hosts' worth of forks are not what is measured."""

    async def run(self, module: str, parameters: Any, *, deadline_s: float, **_: Any) -> Ran:
        found = get_module(module)
        result = found.run(load_parameters(found, parameters), Context(deadline_s=deadline_s))
        return Ran(state="done" if result.success else "failed", code="", result=result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--real", action="store_true", help="real agent processes")
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    raise_open_files()
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch, contextlib.ExitStack() as stack:
        home, tree = Path(scratch) / "home", make_tree(Path(scratch) / "tree")
        create_deployment(home, port=0, passphrase=None)
        console = home / CONSOLE_FILE  # simulated agents come without a token
        console.write_text(console.read_text().replace('enrolment = "token"', 'enrolment = "open"'))
        os.environ["INVESTIGATOR_HOME"] = str(home)
        stack.enter_context(process([*own_command(), "broker"], until="broker ready"))
        started = time.monotonic()
        fleet = real_fleet if options.real else simulated_fleet
        stack.enter_context(fleet(home, options.agents))
        connected_s = time.monotonic() - started
        took = asyncio.run(ask_repeatedly(home, tree, options.agents, options.runs))
        floor = bare_floor(Path(scratch) / "bare", options.agents, options.runs)
    kind = "real processes" if options.real else "coroutines in one process"
    print(f"{options.agents} agents ({kind}), {os.cpu_count()} cores: connected and registered in {connected_s:.2f} s")
    print(f"  answered   median {statistics.median(took):.3f} s   maximum {max(took):.3f} s   of {len(took)} runs")
    print(
        f"  bare floor median {statistics.median(floor):.3f} s   maximum {max(floor):.3f} s   (echo of 500 B, no work)"
    )
    print(f"  ratio of medians {statistics.median(took) / statistics.median(floor):.1f}")


def make_tree(folder: Path) -> Path:
    """A small tree, one file of which is looked for."""
    for number in range(20):
        path = folder / f"d{number % 4}" / f"file-{number}.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"setting = {number}\n" * 20)
    (folder / "d1" / "passwd").write_text("root:x:0:0\n")
    return folder


async def ask_repeatedly(home: Path, tree: Path, agents: int, runs: int) -> list[float]:
    """Seconds from before signing to the last outcome, for each run; every agent must have found the file."""
    module = get_module("file")
    nested = {"paths": [str(tree)], "names": ["^passwd$"], "options": {"matchall": True}}
    operation = Operation(module="file", parameters=module.from_flags(nested))
    took = []
    async with Investigator(home) as console:
        for number in range(runs + 1):
            started = time.monotonic()
            investigation = console.run(
                name=f"bench {number}", target="all", operations=[operation], life=timedelta(seconds=60)
            )
            async for _ in investigation:
                pass
            summary = investigation.summary
            if summary.states != {"found": agents}:
                sys.exit(f"run {number}: {summary.states} instead of {agents} found")
            if number:  # the first one warms caches
                took.append(time.monotonic() - started)
    return took


@contextlib.contextmanager
def simulated_fleet(home: Path, agents: int) -> Iterator[None]:
    """So many agents in one child process; ready when all are registered."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=simulate, args=(home, agents, theirs), daemon=True)
    child.start()
    try:
        if not ours.poll(120) or ours.recv() != "ready":
            sys.exit("the simulated agents did not start")
        yield
    finally:
        ours.send("stop")
        child.join(20)
        child.kill()


def simulate(home: Path, agents: int, pipe: Connection) -> None:
    raise_open_files()
    asyncio.run(simulate_agents(home, agents, pipe))


def minted(folder: Path, agent: str) -> Credentials:
    """A simulated agent's credentials: enrolling a thousand at once is not what is measured."""
    made = Credentials.generate(agent)
    token = mint_agent(folder, agent=agent, user_key=made.public_key, lives_s=3600, now_s=int(time.time()))
    return made.with_jwt(token)


async def simulate_agents(home: Path, agents: int, pipe: Connection) -> None:
    config = load_agent(home)
    loaded, runner = load_trust(config), InProcess()
    trust = Trust(loaded.keyring, loaded.acl)  # real agents look at their own files, not thousands at the same
    sample = gather_row(agent="", name="", tags={}, started="")
    waiting, all_ready = agents, asyncio.Event()

    def ready() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            all_ready.set()

    def gather(*, agent: str, name: str, tags: dict[str, str], started: str) -> dict[str, Any]:
        return {**sample, "id": agent, "name": name, "queueloc": f"linux.{agent}", "tags": tags, "starttime": started}

    async def one(number: int) -> None:
        with AgentState(None) as state:
            agent = Agent(config, state, trust, runner, name=f"sim-{number:05}", gather=gather)
            broker = await connect(
                config.broker.url,
                minted(config.broker.credentials.parent, agent.id),
                name=agent.id,
                tls=config.broker.tls,
                on_state=agent.notice,
                max_message_bytes=MAX_AGENT_MESSAGE_BYTES,
            )
            async with broker:
                await agent.run(broker, ready=ready)

    tasks = [asyncio.create_task(one(number)) for number in range(agents)]
    await all_ready.wait()
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@contextlib.contextmanager
def real_fleet(home: Path, agents: int) -> Iterator[None]:
    """So many `investigator agent` processes."""
    with contextlib.ExitStack() as stack:
        words = [*own_command(), "agent", "--home", str(home)]
        started = [start([*words, "--name", f"real-{number:03}"]) for number in range(agents)]
        for child in started:
            stack.callback(end, child)
        for child in started:
            await_line(child, "connected")
        yield


@contextlib.contextmanager
def process(words: list[str], *, until: str) -> Iterator[None]:
    child = start(words)
    try:
        await_line(child, until)
        yield
    finally:
        end(child)


def start(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)


def await_line(child: subprocess.Popen[bytes], until: str) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if until in line.decode():
            return
    sys.exit(f"{child.args!r} ended without saying {until!r}")


def end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(20)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


@contextlib.contextmanager
def bare_server(folder: Path) -> Iterator[str]:
    """A nats-server without accounts or streams; its URL."""
    folder.mkdir()
    words = [str(binary.find(folder)), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(folder)]
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for path in folder.glob("*.ports"):
                with contextlib.suppress(orjson.JSONDecodeError):
                    yield str(orjson.loads(path.read_bytes())["nats"][0])
                    return
            time.sleep(0.01)
        sys.exit("the bare server did not start")
    finally:
        child.terminate()
        child.wait()


def bare_floor(folder: Path, clients: int, runs: int) -> list[float]:
    """Publish one message, and have each of so many bare connections answer it: seconds to the last answer."""
    context = multiprocessing.get_context("spawn")
    with bare_server(folder) as url:
        ours, theirs = context.Pipe()
        child = context.Process(target=echo, args=(url, clients, theirs), daemon=True)
        child.start()
        try:
            if not ours.poll(120) or ours.recv() != "ready":
                sys.exit("the bare clients did not start")
            return asyncio.run(count_echoes(url, clients, runs))
        finally:
            ours.send("stop")
            child.join(20)
            child.kill()


def echo(url: str, clients: int, pipe: Connection) -> None:
    raise_open_files()
    asyncio.run(echo_clients(url, clients, pipe))


async def echo_clients(url: str, clients: int, pipe: Connection) -> None:
    async def one() -> Client:
        client = await nats.connect(url, allow_reconnect=False, connect_timeout=60)

        async def answer(_: Msg) -> None:
            await client.publish("answers", bytes(500))

        await client.subscribe("question", cb=answer)
        await client.flush(60)
        return client

    connected = await asyncio.gather(*(one() for _ in range(clients)))
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    await asyncio.gather(*(client.close() for client in connected))


async def count_echoes(url: str, clients: int, runs: int) -> list[float]:
    client = await nats.connect(url)
    answers, all_here, took = 0, asyncio.Event(), []

    async def count(_: Msg) -> None:
        nonlocal answers
        answers += 1
        if answers == clients:
            all_here.set()

    await client.subscribe("answers", cb=count)
    for _ in range(runs):
        answers = 0
        all_here.clear()
        started = time.monotonic()
        await client.publish("question", bytes(1500))
        await asyncio.wait_for(all_here.wait(), 60)
        took.append(time.monotonic() - started)
    await client.close()
    return took


def raise_open_files() -> None:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    main()
