"""The same fleet on three clustered servers, and what becomes of it when the one that leads a stream dies."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import orjson
from bell import Bell, until
from clustered import Clustered
from fault_fleet import Count, Fleet

from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.server_tls import services_address
from investigator.config import load_broker
from investigator.errors import BrokerError
from investigator.protocol.subjects import RESULTS


def leader_of_three_brokers_killed(fleet: Fleet) -> Count:
    """SIGKILL of the server that leads the stream of results, while all agents run; the others choose another."""
    assert isinstance(fleet.deployment, Clustered)
    with Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        leader = fleet.deployment.servers[leader_of(RESULTS, fleet.home)]
        leader.end(signal.SIGKILL)
        bell.let_go()
        count = fleet.finish(asked)
        leader.start()
        until(lambda: bool(leader_of(RESULTS, fleet.home)), "a server leads")
        return count


def leader_of(stream: str, home: Path) -> str:
    """The name of the server that leads a stream; empty while there is none."""

    async def ask() -> str:
        config = load_broker(home)
        url, tls = services_address(config)
        async with await connect(url, Credentials.load(config.credentials), name="test", tls=tls) as broker:
            answer = orjson.loads(await broker.request(f"$JS.API.STREAM.INFO.{stream}", b""))
        return str(answer.get("cluster", {}).get("leader", ""))

    with contextlib.suppress(BrokerError):
        return asyncio.run(ask())
    return ""
