"""How the services of a broker's process are watched: they answer `$SRV.STATS`, and Prometheus where broker.toml lets it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import orjson

from investigator import __version__
from investigator.broker.micro import Service
from investigator.broker.service_stats import SERVICES, ServiceCounts, add_services, add_streams, read_stats
from investigator.broker.streams import stream_states
from investigator.errors import BrokerError
from investigator.exporter import exporting
from investigator.logs import about
from investigator.metrics import Page

if TYPE_CHECKING:
    from investigator.broker.connection import Broker
    from investigator.config import Metrics

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def watched(broker: Broker, counts: ServiceCounts, metrics: Metrics) -> AsyncIterator[None]:
    """Answer while the context lasts.

    Raises:
        BadInput, DeploymentError: `[metrics] listen` is none, or taken.
    """
    service = Service(
        broker,
        name=SERVICES,
        version=__version__,
        description="Enrols agents, records, purges",
        failure=lambda _: b"",
        at_a_time=1,
        life_s=1,
        parts=counts.parts,
    )

    async def page() -> str:
        return await _page(broker, service)

    async with exporting(metrics, page):
        try:
            await service.start()
        except BrokerError as error:  # a cluster that was not told of the accounts' new rights
            _log.warning("`investigator status` cannot ask the services: %s", error, extra=about("no-stats"))
        yield


async def _page(broker: Broker, service: Service) -> str:
    """What is here, and how the streams stand."""
    page = Page()
    add_services(page, [read_stats(orjson.dumps(service.stats()))])
    page.gauge("investigator_broker_up", "1 while the broker answers.", int(broker.is_connected))
    try:
        add_streams(page, await stream_states(broker))
    except BrokerError as error:
        _log.warning("the streams cannot be told to Prometheus: %s", error)
    return str(page)
