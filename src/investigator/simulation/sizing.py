"""From unit costs to what a deployment of some size needs. Pure; every figure says whether it was measured, or computed from measured ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from investigator.broker.streams import STREAMS
from investigator.protocol.subjects import FACTS, RESULTS

if TYPE_CHECKING:
    from investigator.simulation.costs import Costs

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
HEARTBEAT_S: Final = 60.0
CATCH_UP_S: Final = 60.0
CORES: Final = 4
"""Of one server."""
MEMORY_BYTES: Final = 16 << 30
"""Of one server, of which three quarters are for connections and streams."""
STORM_WITHIN_S: Final = 60.0
"""How soon all agents of a restarted server shall be back."""
JITTER_S: Final = 6.0
"""The most that agents wait by themselves when their broker comes back: five for the connection, one for the rest."""
ACTIONS_A_DAY: Final = 10
"""Asked of the whole fleet: their results stay for a day after the end is on record."""
Origin = Literal["measured", "computed"]


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one size."""

    name: str
    value: float
    unit: str
    origin: Origin = "computed"


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """What so many agents need."""

    agents: int
    layout: str
    servers: int
    """That agents connect to."""
    needs: tuple[Need, ...]


def size_of(agents: int, costs: Costs) -> Size:
    """For so many agents."""
    servers = servers_for(agents, costs)
    here = math.ceil(agents / servers)
    day = agents * ACTIONS_A_DAY
    beats, polls = agents / HEARTBEAT_S, agents / CATCH_UP_S
    facts, results = agents * costs.facts_stored_bytes, day * costs.result_stored_bytes
    back_cpu_s = here * back_us(costs) / 1e6
    stored = 2 * agents + day
    limits = {name: settings["max_bytes"] for name, settings in STREAMS.items()}
    needs = (
        _need("connections, per server", here, ""),
        _need(
            "memory for connections, per server", costs.base_memory_bytes + here * costs.connection_memory_bytes, "B"
        ),
        _need("memory for streams, where they are kept", stored * costs.stored_memory_bytes, "B"),
        _need("disk for streams, where they are kept", facts + agents * costs.heartbeat_stored_bytes + results, "B"),
        _need(f"{FACTS}, of its limit", facts / limits[FACTS] * 100, "%"),
        _need(f"{RESULTS}, of its limit", results / limits[RESULTS] * 100, "%"),
        _need("heartbeats", beats, "/s"),
        _need("network in, heartbeats", beats * costs.heartbeat_wire_bytes, "B/s"),
        _need("catch-up polls", polls, "/s"),
        _need("CPU at rest, of one core", (beats * costs.heartbeat_cpu_us + polls * costs.poll_cpu_us) / 1e4, "%"),
        _need("one action to all: network out", agents * costs.action_bytes, "B"),
        _need("one action to all: answers in", agents * costs.result_bytes, "B"),
        _need("one action to all: CPU", agents * costs.result_cpu_us / 1e6, "s"),
        _need("one action to all: disk syncs, one server that syncs each", agents * costs.sync_us / 1e6, "s"),
        _need("storm after a restart: CPU, per server", back_cpu_s, "s"),
        _need(f"storm after a restart: all are back, {CORES} cores", max(JITTER_S, back_cpu_s / CORES), "s"),
        _need("restart: until it listens", stored * costs.recover_us / 1e6, "s"),
    )
    return Size(agents=agents, layout=layout(servers), servers=servers, needs=needs)


def servers_for(agents: int, costs: Costs) -> int:
    """How many servers take their connections: by memory, and by how soon all are back after a restart."""
    by_memory = MEMORY_BYTES * 0.75 / max(1.0, costs.connection_memory_bytes)
    by_storm = STORM_WITHIN_S * CORES * 1e6 / max(1.0, back_us(costs))
    servers = math.ceil(agents / min(by_memory, by_storm))
    return servers if servers == 1 else max(3, servers)


def layout(servers: int) -> str:
    """Which of the layouts of docs/operations.md that is."""
    if servers == 1:
        return "one server, embedded"
    if servers == 3:
        return "a cluster of 3"
    return f"a cluster of 3 for streams, {servers} leaf nodes (or a super-cluster) for agents"


def back_us(costs: Costs) -> float:
    """Of the server's CPU, for an agent that comes back: it connects, its facts are compared, a heartbeat, a catch-up."""
    return costs.connect_cpu_us + costs.facts_cpu_us + costs.heartbeat_cpu_us + costs.poll_cpu_us


def _need(name: str, value: float, unit: str) -> Need:
    return Need(name=name, value=value, unit=unit)
