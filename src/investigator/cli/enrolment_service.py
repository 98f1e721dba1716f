"""The enrolment service as a part of `investigator broker`, and alone beside a broker that runs elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from investigator.agent.trust import load_trust
from investigator.broker.claims import push_claims
from investigator.broker.connection import Broker, connect
from investigator.broker.credentials import Credentials
from investigator.broker.elsewhere import push_accounts
from investigator.broker.enrolment_service import serve_enrolment
from investigator.broker.housekeeping import Housekeeper
from investigator.broker.scopes import Scope
from investigator.broker.server_tls import services_address
from investigator.broker.service_stats import ServiceCounts
from investigator.broker.streams import ensure_streams, when_ready
from investigator.cli.service_watch import watched
from investigator.config import BrokerConfig, load_agent, load_broker
from investigator.errors import BrokerError, InvestigatorError
from investigator.logs import Logs

AGAIN_AFTER_S: Final = 10.0
PUSH_AGAIN_AFTER_S: Final = 1.0
SETTLE_S: Final = 0.2
"""Whoever revoked is answered first: a server that takes a changed account forgets what it had allowed us to answer."""
_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def serving_beside(broker: Broker, home: Path, config: BrokerConfig, counts: ServiceCounts) -> AsyncIterator[str]:
    """Serve while the context lasts; what keeps it from serving, if anything does: the broker runs all the same."""
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
                await serve_enrolment(
                    broker, config.store, trust, config.enrolment, ready=lambda: tell(""), counts=counts
                )
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
    """Until Ctrl-C or SIGTERM, beside a broker that runs elsewhere; who is shut out is told to all of its servers.

    `url` in place of the address that broker.toml leads to.

    Raises:
        DeploymentError: configuration, trust, keys or database cannot be used.
        BrokerError: there is no such broker, or it does not let the service in.
    """
    from investigator.cli.signals import stop_event

    config, stop = load_broker(home), stop_event()
    with Logs("broker", config.log) as logs:
        await _serve_alone(home, url, config, logs, stop)


async def _serve_alone(home: Path, url: str, config: BrokerConfig, logs: Logs, stop: asyncio.Event) -> None:
    address, tls = services_address(config)
    trust = load_trust(load_agent(home))
    services = Credentials.load(config.credentials)
    system = Credentials.load(config.store / f"{Scope.SYSTEM}.creds")
    changed, counts = asyncio.Event(), ServiceCounts()
    replicas = config.cluster.replicas if config.cluster is not None else 1

    async def tell_servers() -> list[str]:
        if config.cluster is not None and not url:
            return await push_accounts(config)
        async with await connect(url or address, system, name="enrolment, accounts", tls=tls) as servers:
            await push_claims(servers, config.store)
        return []

    link = await connect(url or address, services, name="enrolment", tls=tls, give_up_after_s=10)
    async with link as broker, watched(broker, counts, logs, config.metrics):
        await when_ready(broker)
        for line in await ensure_streams(broker, replicas=replicas, records_days=config.records_days):
            _say(line)
        tasks = [
            asyncio.create_task(
                serve_enrolment(
                    broker,
                    config.store,
                    trust,
                    config.enrolment,
                    ready=lambda: _say(
                        f"enrolment service ready at {url or address}, policy {config.enrolment.policy}"
                    ),
                    accounts_changed=changed.set,
                    counts=counts,
                )
            ),
            asyncio.create_task(_push(tell_servers, changed)),
            asyncio.create_task(Housekeeper(broker, counts=counts).run(_say)),
        ]
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, stopped):
            task.cancel()
        done, _ = await asyncio.wait(tasks)
        for task in done:
            if not task.cancelled():
                task.result()
    _say("enrolment service stopped")


async def _push(tell_servers: Callable[[], Awaitable[list[str]]], changed: asyncio.Event) -> None:
    """Each change, until all servers have it."""
    while True:
        await changed.wait()
        await asyncio.sleep(SETTLE_S)
        changed.clear()
        try:
            problems = await tell_servers()
        except BrokerError as error:
            problems = [str(error)]
        for problem in problems:
            _log.error("enrolment: %s; trying again", problem)
        if problems:
            await asyncio.sleep(PUSH_AGAIN_AFTER_S)
            changed.set()


def _say(line: str) -> None:
    print(line, flush=True)
