"""How the services of a broker's process are watched: they answer `mig.status`, and Prometheus where broker.toml lets it."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from investigator import __version__
from investigator.broker.micro import is_inbox
from investigator.broker.service_stats import (
    SERVICES,
    ServiceCounts,
    ServiceStats,
    Trouble,
    add_services,
    add_streams,
)
from investigator.broker.streams import stream_states
from investigator.errors import BrokerError
from investigator.exporter import exporting
from investigator.logs import Logs, about
from investigator.metrics import Page
from investigator.protocol.subjects import SERVICES_STATUS

if TYPE_CHECKING:
    from investigator.broker.connection import Broker, Message
    from investigator.config import Metrics

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def watched(broker: Broker, counts: ServiceCounts, logs: Logs, metrics: Metrics) -> AsyncIterator[None]:
    """Answer while the context lasts.

    Raises:
        BadInput, DeploymentError: `[metrics] listen` is none, or taken.
    """
    watch = _Watch(broker, counts, logs)
    async with exporting(metrics, watch.page):
        try:
            await broker.subscribe(SERVICES_STATUS, watch.answer)
        except BrokerError as error:  # a cluster that was not told of the accounts' new rights
            _log.warning("`investigator status` cannot ask the services: %s", error, extra=about("no-status"))
        yield


@dataclass(slots=True)
class _Watch:
    broker: Broker
    counts: ServiceCounts
    logs: Logs
    id: str = field(default_factory=lambda: secrets.token_hex(11))
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def stats(self) -> ServiceStats:
        return ServiceStats(
            name=SERVICES,
            id=self.id,
            version=__version__,
            started=self.started,
            endpoints=self.counts.parts(),
            problems=[
                Trouble(
                    time=datetime.fromtimestamp(one.time_s, UTC).isoformat(timespec="seconds"),
                    level=one.level,
                    text=one.text,
                    count=one.count,
                )
                for one in self.logs.problems.last()
            ],
        )

    async def answer(self, message: Message) -> None:
        """To an inbox alone: a reply subject is what the asker says it is."""
        if is_inbox(message.reply):
            with contextlib.suppress(BrokerError):
                await self.broker.publish(message.reply, msgspec.json.encode(self.stats()))

    async def page(self) -> str:
        """What is here, and how the streams stand."""
        page = Page()
        add_services(page, [self.stats()])
        page.gauge("investigator_broker_up", "1 while the broker answers.", int(self.broker.is_connected))
        try:
            add_streams(page, await stream_states(self.broker))
        except BrokerError as error:
            _log.warning("the streams cannot be told to Prometheus: %s", error)
        return str(page)
