"""Whether a deployment is well: broker, streams, certificates, agents, and what needs care, worst first."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from investigator.broker import certificates
from investigator.broker.credentials import Credentials
from investigator.broker.service_stats import ServiceStats, ask_services
from investigator.broker.streams import StreamState, stream_states
from investigator.broker.tls import split_servers
from investigator.config import BROKER_FILE, load_broker
from investigator.console.inventory_cache import load_inventory
from investigator.console.link import console_link
from investigator.errors import BrokerError, DeploymentError, InvestigatorError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from investigator.broker.certificates import Certificate
    from investigator.broker.connection import Broker
    from investigator.config import ConsoleConfig
    from investigator.console.inventory import Inventory

FULL_FROM: Final = 0.8
CLOCKS_APART_S: Final = 30.0
"""An action is valid by each host's own clock, so a broker's that is off is a sign worth a look."""
_ROUND_TRIPS: Final = 3


@dataclass(frozen=True, slots=True)
class Expiry:
    """Something that ends."""

    what: str
    name: str
    days_left: float


@dataclass(slots=True)
class Status:
    """What was found; what could not be found is empty, and `care` says why."""

    url: str
    servers: dict[str, bool] = field(default_factory=dict)
    """Each address, and whether it answers."""
    answers: bool = False
    """Whether one of them does."""
    encrypted: bool = False
    server: str = ""
    version: str = ""
    cluster: str = ""
    round_trip_s: float = 0.0
    """The quickest of a few."""
    streams: list[StreamState] = field(default_factory=list)
    expiries: list[Expiry] = field(default_factory=list)
    agents: dict[str, int] = field(default_factory=dict)
    """How many are online, idle and offline."""
    services: list[ServiceStats] = field(default_factory=list)
    """Those that answered: what enrols agents and purges results, and gateways."""
    care: list[str] = field(default_factory=list)
    """What needs somebody; empty: all is well."""


async def ask_status(home: Path, config: ConsoleConfig) -> Status:
    """Ask the broker and read the files; never raises for what the answer is about.

    Raises:
        DeploymentError: no credentials of this console's own.
    """
    status = Status(url=config.broker.url)
    now_s = time.time()
    served: list[Certificate] = []
    for server in split_servers(config.broker.url):
        # Each by itself: a connection to several says nothing of those that it did not take.
        one = msgspec.structs.replace(config, broker=msgspec.structs.replace(config.broker, url=server))
        status.servers[server] = False
        try:
            async with console_link(one) as broker:
                status.servers[server] = True
                if status.answers:
                    _hear_certificate(broker, served)
                else:
                    await _ask_broker(broker, status, served)
        except (BrokerError, DeploymentError) as error:
            status.care.append(str(error) + (f" ({error.hint})" if error.hint and not status.answers else ""))
    status.expiries = _expiries(home, config, served, now_s)
    status.care += [*_care_of_expiries(status.expiries), *_care_of_streams(status.streams)]
    return status


async def _ask_broker(broker: Broker, status: Status, served: list[Certificate]) -> None:
    peer = broker.peer()
    status.answers, status.encrypted = True, bool(peer.certificate)
    status.server, status.version, status.cluster = peer.server, peer.version, peer.cluster
    _hear_certificate(broker, served)
    trips_s = []
    for _ in range(_ROUND_TRIPS):
        began_s = asyncio.get_running_loop().time()
        await broker.flush()
        trips_s.append(asyncio.get_running_loop().time() - began_s)
    status.round_trip_s = min(trips_s)
    asking = asyncio.create_task(ask_services(broker))
    try:
        await _ask_streams(broker, status)
        status.services = await asking
    finally:
        asking.cancel()


async def _ask_streams(broker: Broker, status: Status) -> None:
    status.streams = await stream_states(broker)
    told_s = max((state.told_s for state in status.streams), default=0.0)
    apart_s = told_s - time.time()
    if told_s and abs(apart_s) > CLOCKS_APART_S:
        ahead = "ahead of" if apart_s > 0 else "behind"
        status.care.append(f"the broker's clock is {abs(apart_s):,.0f} s {ahead} this machine's")
    if all(state.exists for state in status.streams):
        inventory = await load_inventory(broker)
        status.agents = _count(inventory)
        status.care += _care_of_agents(inventory, status.agents)


def _hear_certificate(broker: Broker, served: list[Certificate]) -> None:
    certificate = broker.peer().certificate
    if certificate:
        served.append(certificates.describe_der(certificate))


def _count(inventory: Inventory) -> dict[str, int]:
    now = datetime.now(UTC)
    counts = {"online": 0, "idle": 0, "offline": 0}
    for host in inventory.hosts.values():
        counts[host.row(now)["status"]] += 1
    return counts


def _expiries(home: Path, config: ConsoleConfig, served: list[Certificate], now_s: float) -> list[Expiry]:
    """Of the broker's certificate as it showed it, or where it runs here and did not answer, as the file has it."""
    found = [("broker's certificate", one) for one in served]
    files: list[tuple[str, Path | None]] = [("CA", config.broker.ca), ("own certificate", config.broker.certificate)]
    if not served and (home / BROKER_FILE).exists():
        files.insert(0, ("broker's certificate", _own_servers(home)))
    for what, path in files:
        if path is not None:
            try:
                found += [(what, one) for one in certificates.read_certificates(path)]
            except DeploymentError:
                continue  # who connects with it says so already
    expiries = [Expiry(what, one.name, one.days_left(now_s)) for what, one in found]
    try:
        user = Credentials.load(config.broker.credentials)
    except DeploymentError:
        return expiries
    if user.expires_s:
        expiries.append(Expiry("own credentials", user.name, (user.expires_s - now_s) / 86400))
    return expiries


def _own_servers(home: Path) -> Path | None:
    try:
        broker = load_broker(home)
    except InvestigatorError:
        return None
    if broker.tls is None:
        return None
    path = broker.tls.certificate or broker.store / certificates.SERVER
    return path if path.exists() else None


def _care_of_expiries(expiries: Iterable[Expiry]) -> list[str]:
    care = []
    for one in sorted(expiries, key=lambda one: one.days_left):
        if one.days_left < 0:
            care.append(f"{one.what} ({one.name}) expired {int(-one.days_left)} days ago")
        elif one.days_left < certificates.WARN_WITH_DAYS_LEFT:
            care.append(f"{one.what} ({one.name}) expires in {int(one.days_left)} days; {_remedy(one.what)}")
    return care


def _remedy(what: str) -> str:
    return {
        "broker's certificate": "a running `investigator broker` renews its own; see docs/operations.md for others",
        "CA": "docs/operations.md says how it is changed without an agent losing the broker",
    }.get(what, "ask who gave it to you for another")


def _care_of_streams(states: Iterable[StreamState]) -> list[str]:
    care = []
    for state in states:
        if not state.exists:
            care.append(
                f"stream {state.name} is missing; `investigator broker` makes it, `broker streams` on a cluster"
            )
            continue
        if state.full >= FULL_FROM:
            care.append(f"stream {state.name} is {state.full:.0%} full; at 100 % it takes nothing more")
        if state.in_cluster and not state.leader:
            care.append(f"stream {state.name} has no leader: too few of its {state.replicas} servers are there")
        if state.behind:
            care.append(f"stream {state.name}: {', '.join(state.behind)} offline or behind")
        if state.in_cluster and state.replicas == 1:
            care.append(f"stream {state.name} is kept by one server of the cluster only")
    return care


def _care_of_agents(inventory: Inventory, counts: dict[str, int]) -> list[str]:
    care = [
        f"{len(inventory.dropped)} messages in facts and heartbeats do not verify, such as: {line}"
        for line in inventory.dropped[:1]
    ]
    if sum(counts.values()) and not counts["online"]:
        care.append(f"none of {sum(counts.values())} agents is online")
    return care
