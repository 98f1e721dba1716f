"""How the deployment's services fare: what they answer to whoever may ask, read, and as metrics.

Gateways answer NATS's `$SRV.STATS` (ADR-32), what enrols and purges answers `mig.status`, in the same form. Nothing here is
signed: it is told by whoever may listen there, which the broker decides.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from investigator.errors import BadInput, BrokerError
from investigator.protocol.codec import one_line
from investigator.protocol.subjects import SERVICES_STATUS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from investigator.broker.connection import Broker, Message
    from investigator.broker.streams import StreamState
    from investigator.metrics import Page

SERVICES: Final = "mig-services"
"""The name of what enrols agents and purges results: in `investigator broker`, or in `investigator enrol serve`."""
WITHIN_S: Final = 0.4
MAX_SERVICES: Final = 64
MAX_STATS_BYTES: Final = 64 << 10
OPEN: Final = "open"
"""The one number among an endpoint's `data` that goes down again: requests that are being answered."""
_STATS: Final = "$SRV.STATS"
Name = Annotated[str, msgspec.Meta(max_length=200)]
Number = Annotated[int, msgspec.Meta(ge=0)]


@dataclass(slots=True)
class ServiceCounts:
    """What the services count, since their process started."""

    enrolment: Counter[str] = field(default_factory=Counter)
    """Answers to agents, by state."""
    statements: int = 0
    """Messages of investigators that were answered."""
    messages: int = 0
    """Of agents, heard on their way into the streams."""
    bytes: int = 0
    recorded: int = 0
    """Final tallies that were read from the records."""
    purged: int = 0
    """Results that were let go."""

    def parts(self) -> list[EndpointStats]:
        """By what they are for."""
        requests = sum(self.enrolment.values())
        heard: dict[str, Any] = {"messages": self.messages, "bytes": self.bytes}
        done: dict[str, Any] = {"recorded": self.recorded, "purged": self.purged}
        return [
            EndpointStats(
                name="enrolment", num_requests=requests, data={**self.enrolment, "statements": self.statements}
            ),
            EndpointStats(name="traffic", num_requests=self.messages, data=heard),
            EndpointStats(name="housekeeping", num_requests=self.recorded, data=done),
        ]


class EndpointStats(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a service does."""

    name: Name
    num_requests: Number = 0
    num_errors: Number = 0
    last_error: str = ""
    processing_time: Number = 0
    """Nanoseconds, of all requests."""
    data: dict[Name, Any] | None = None

    def numbers(self) -> dict[str, int]:
        """What it counts besides."""
        told = self.data or {}
        return {name: count for name, count in told.items() if type(count) is int and 0 <= count < 1 << 63}


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A warning or an error."""

    time: str
    """When it came last."""
    level: str
    text: str
    count: Number = 1


class ServiceStats(msgspec.Struct, frozen=True, kw_only=True):
    """One process that serves."""

    name: Name
    id: Name
    version: Name
    started: str = ""
    endpoints: Annotated[list[EndpointStats], msgspec.Meta(max_length=100)] = []
    problems: Annotated[list[Trouble], msgspec.Meta(max_length=100)] = []
    """The last warnings and errors of its log, the newest last."""


def read_stats(raw: bytes) -> ServiceStats:
    """What somebody answered.

    Raises:
        BadInput: it is nothing of the kind.
    """
    if len(raw) > MAX_STATS_BYTES:
        raise BadInput(f"a service's numbers of {len(raw):,} bytes")
    try:
        stats = msgspec.json.decode(raw, type=ServiceStats)
        if stats.started:
            datetime.fromisoformat(stats.started)
    except (msgspec.DecodeError, ValueError) as error:
        raise BadInput(f"a service's numbers: {one_line(str(error))}") from None
    return stats


async def ask_services(broker: Broker, *, within_s: float = WITHIN_S) -> list[ServiceStats]:
    """All that answer in time, by name and id; what is no answer is passed over.

    Raises:
        BrokerError: there is no connection.
    """
    heard: dict[tuple[str, str], ServiceStats] = {}

    def hear(message: Message) -> None:
        try:
            stats = read_stats(message.data)
        except BadInput:
            return
        if len(heard) < MAX_SERVICES:
            heard[stats.name, stats.id] = stats

    inbox = f"{broker.inbox}.stats"
    subscription = await broker.subscribe(inbox, hear)
    try:
        for subject in (SERVICES_STATUS, _STATS):
            await broker.publish(subject, b"", reply=inbox)
        await asyncio.sleep(within_s)
    finally:
        with contextlib.suppress(BrokerError):
            await subscription.unsubscribe()
    return [heard[key] for key in sorted(heard)]


def add_services(page: Page, services: Iterable[ServiceStats]) -> None:
    """Their metrics."""
    for one in services:
        page.gauge(
            "investigator_service_info",
            "A service that answers; always 1.",
            1,
            service=one.name,
            id=one.id,
            version=one.version,
        )
        for part in one.endpoints:
            on = {"service": one.name, "id": one.id, "part": part.name}
            page.counter("investigator_service_requests_total", "What it was asked, by part.", part.num_requests, **on)
            page.counter("investigator_service_errors_total", "What it could not answer.", part.num_errors, **on)
            took_s = part.processing_time / 1e9
            page.counter("investigator_service_seconds_total", "How long answering took.", took_s, **on)
            counts = part.numbers()
            waiting = counts.pop(OPEN, 0)
            page.gauge("investigator_service_open_requests", "What is being answered.", waiting, **on)
            for name, count in counts.items():
                what = "What a service counts besides, by part and kind."
                page.counter("investigator_service_events_total", what, count, **on, kind=name)


def add_streams(page: Page, states: Iterable[StreamState]) -> None:
    """Metrics of streams."""
    for one in states:
        on = {"stream": one.name}
        page.gauge(
            "investigator_stream_up", "1 where the stream exists, and on a cluster has a leader.", _is_up(one), **on
        )
        if not one.exists:
            continue
        page.gauge("investigator_stream_messages", "Messages that it holds.", one.messages, **on)
        page.gauge("investigator_stream_bytes", "Their size.", one.bytes, **on)
        page.gauge("investigator_stream_max_bytes", "Its limit; 0: none of its own.", one.max_bytes, **on)
        page.gauge("investigator_stream_full_ratio", "From 0 to 1; at 1 it takes nothing more.", one.full, **on)
        page.gauge("investigator_stream_replicas", "Servers that keep it.", one.replicas, **on)
        page.gauge("investigator_stream_replicas_behind", "Of them, offline or behind.", len(one.behind), **on)


def _is_up(state: StreamState) -> int:
    return int(state.exists and (bool(state.leader) or not state.in_cluster))
