"""`investigator broker`: the embedded nats-server of a deployment, in the foreground."""

from __future__ import annotations

from pathlib import Path

from investigator.cli.options import Home, home_folder


def broker(home: Home = None) -> None:
    """Run the deployment's broker until Ctrl-C or SIGTERM."""
    import asyncio

    asyncio.run(_serve(home_folder(home)))


def _tell(line: str) -> None:
    import sys

    print(f"investigator: the broker: {line}", file=sys.stderr, flush=True)


async def _serve(home: Path) -> None:
    import asyncio

    from investigator.broker.connection import connect
    from investigator.broker.credentials import Credentials
    from investigator.broker.server import EmbeddedServer
    from investigator.broker.server_tls import server_tls
    from investigator.broker.streams import ensure_streams
    from investigator.cli.signals import stop_event
    from investigator.config import load_broker

    config = load_broker(home)
    stop = stop_event()
    tls = server_tls(config)
    server = EmbeddedServer(config.store, host=config.host, port=config.port, tls=tls, sync_always=config.sync_always)
    async with server:
        credentials = Credentials.load(config.credentials)
        own = tls.as_client() if tls is not None else None
        link = await connect(server.url, credentials, name="broker", tls=own, give_up_after_s=10)
        try:
            changes = await ensure_streams(link)
        finally:
            await link.close()
        for line in [*server.notices, *changes]:
            print(line, flush=True)
        print(f"broker ready at {server.url}, pid {server.pid}", flush=True)
        stopped, ended = (
            asyncio.create_task(stop.wait()),
            asyncio.create_task(server.wait(on_error=_tell, on_notice=lambda line: print(line, flush=True))),
        )
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if ended.done():
            ended.result()
        ended.cancel()
    print("broker stopped", flush=True)
