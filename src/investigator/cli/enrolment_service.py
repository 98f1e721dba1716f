"""The enrolment service as a part of `investigator broker`, and alone beside a broker that runs elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from investigator.agent.trust import load_trust
from investigator.broker.claims import push_claims
from investigator.broker.connection import Broker, connect
from investigator.broker.credentials import Credentials
from investigator.broker.enrolment_service import serve_enrolment
from investigator.broker.scopes import Scope
from investigator.broker.streams import ensure_streams
from investigator.config import BrokerConfig, load_agent, load_broker
from investigator.errors import BrokerError, InvestigatorError

AGAIN_AFTER_S: Final = 10.0
SETTLE_S: Final = 0.2
"""Whoever revoked is answered first: a server that takes a changed account forgets what it had allowed us to answer."""
_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def serving_beside(broker: Broker, home: Path, config: BrokerConfig) -> AsyncIterator[str]:
    """Serve while the context lasts; what keeps it from serving, if anything does: the broker runs all the same."""
    log_to_stderr()
    started = asyncio.get_running_loop().create_future()

    def tell(problem: str) -> None:
        if not started.done():
            started.set_result(problem)
        elif problem:
            _log.error("enrolment: %s; trying again", problem)

    async def serve() -> None:
        while True:
            try:
                trust = load_trust(load_agent(home))
                await serve_enrolment(broker, config.store, trust, config.enrolment, ready=lambda: tell(""))
            except InvestigatorError as error:
                tell(str(error))
            await asyncio.sleep(AGAIN_AFTER_S)

    serving = asyncio.create_task(serve(), name="enrolment")
    try:
        await asyncio.wait({started, serving}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
        yield started.result()
    finally:
        serving.cancel()
        await asyncio.wait({serving})


async def serve_alone(home: Path, url: str) -> None:
    """Until Ctrl-C or SIGTERM, for a broker at `url`; who is shut out is told to its servers over the system account.

    Raises:
        DeploymentError: configuration, trust, keys or database cannot be used.
        BrokerError: there is no such broker, or it does not let the service in.
    """
    from investigator.cli.signals import stop_event

    log_to_stderr()
    config, stop = load_broker(home), stop_event()
    url = url or f"nats://{config.host}:{config.port}"
    trust = load_trust(load_agent(home))
    system = Credentials.load(config.store / f"{Scope.SYSTEM}.creds")
    changed = asyncio.Event()
    async with (
        await connect(url, Credentials.load(config.credentials), name="enrolment", give_up_after_s=10) as broker,
        await connect(url, system, name="enrolment, accounts", give_up_after_s=10) as servers,
    ):
        for line in await ensure_streams(broker):
            print(line, flush=True)

        def ready() -> None:
            print(f"enrolment service ready at {url}, policy {config.enrolment.policy}", flush=True)

        serving = asyncio.create_task(
            serve_enrolment(broker, config.store, trust, config.enrolment, ready=ready, accounts_changed=changed.set)
        )
        pushing = asyncio.create_task(_push(servers, config.store, changed))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({serving, pushing, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in (serving, pushing, stopped):
            task.cancel()
        done, _ = await asyncio.wait({serving, pushing})
        for task in done:
            if not task.cancelled():
                task.result()
    print("enrolment service stopped", flush=True)


async def _push(servers: Broker, folder: Path, changed: asyncio.Event) -> None:
    """Each change, until the servers have it."""
    while True:
        await changed.wait()
        await asyncio.sleep(SETTLE_S)
        changed.clear()
        try:
            await push_claims(servers, folder)
        except BrokerError as error:
            _log.error("enrolment: %s; trying again", error)
            await asyncio.sleep(1)
            changed.set()


def log_to_stderr() -> None:
    """One line for each decision."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
