"""`investigator broker`: the embedded nats-server of a deployment, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from investigator.cli.options import Home, home_folder

if TYPE_CHECKING:
    import asyncio

    from investigator.broker.housekeeping import Housekeeper
    from investigator.broker.server import EmbeddedServer


def broker(home: Home = None) -> None:
    """Run the deployment's broker until Ctrl-C or SIGTERM."""
    import asyncio

    asyncio.run(_serve(home_folder(home)))


def _tell(line: str) -> None:
    import sys

    print(f"investigator: the broker: {line}", file=sys.stderr, flush=True)


async def _serve(home: Path) -> None:
    from investigator.broker.connection import connect
    from investigator.broker.credentials import Credentials
    from investigator.broker.housekeeping import Housekeeper
    from investigator.broker.server import EmbeddedServer
    from investigator.broker.streams import ensure_streams
    from investigator.cli.signals import stop_event
    from investigator.config import load_broker

    config = load_broker(home)
    stop = stop_event()
    server = EmbeddedServer(config.store, host=config.host, port=config.port, sync_always=config.sync_always)
    async with server:
        credentials = Credentials.load(config.credentials)
        link = await connect(server.url, credentials, name="broker", give_up_after_s=10)
        try:
            changes = await ensure_streams(link, records_days=config.records_days)
            for line in [*server.notices, *changes]:
                _say(line)
            print(f"broker ready at {server.url}, pid {server.pid}", flush=True)
            await _until_ended(server, Housekeeper(link), stop)
        finally:
            await link.close()
    print("broker stopped", flush=True)


def _say(line: str) -> None:
    print(line, flush=True)


async def _until_ended(server: EmbeddedServer, housekeeper: Housekeeper, stop: asyncio.Event) -> None:
    """Until somebody ends us, or the server ends by itself, which raises; recorded results are purged meanwhile."""
    import asyncio

    stopped, ended = (
        asyncio.create_task(stop.wait()),
        asyncio.create_task(server.wait(on_error=_tell, on_notice=_say)),
    )
    keeping = asyncio.create_task(housekeeper.run(_say))
    await asyncio.wait({stopped, ended, keeping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, ended, keeping):
        if task.done():
            task.result()
        task.cancel()
