"""The floor: as many bare NATS connections, each answering one message with 500 bytes, and nothing else done."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import nats
import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg

from fleet_deployment import raise_open_files
from investigator.broker import binary
from processes import Processes

CONNECTING_AT_ONCE = 64
READY_WITHIN_S = 120.0


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


def bare_floor(folder: Path, clients: int, *, processes: int, runs: int) -> list[float]:
    """Publish one message, and have each of so many bare connections answer it: seconds to the last answer."""
    with bare_server(folder) as url, Processes(echo, clients, processes, url) as crowd:
        crowd.heard("the bare clients are ready", within_s=READY_WITHIN_S)
        return asyncio.run(count_echoes(url, clients, runs))


def echo(numbers: range, pipe: Connection, url: str) -> None:
    """One process of them."""
    raise_open_files()
    asyncio.run(echo_clients(url, len(numbers), pipe))


async def echo_clients(url: str, clients: int, pipe: Connection) -> None:
    """Until this process is killed."""
    gate = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def one() -> Client:
        async with gate:
            client = await nats.connect(url, allow_reconnect=False, connect_timeout=60)

            async def answer(_: Msg) -> None:
                await client.publish("answers", bytes(500))

            await client.subscribe("question", cb=answer)
            await client.flush(60)
            return client

    connected = await asyncio.gather(*(one() for _ in range(clients)))
    pipe.send("ready")
    await asyncio.Event().wait()
    del connected


async def count_echoes(url: str, clients: int, runs: int) -> list[float]:
    """Seconds for each round."""
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
