"""From unit costs to what so many agents need."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.simulation.costs import Costs, each, wire_bytes
from investigator.simulation.sizing import MEMORY_BYTES, SIZES, layout, servers_for, size_of

COSTS = Costs(
    base_memory_bytes=20e6,
    connection_memory_bytes=90e3,
    connect_cpu_us=2000,
    connect_cpu_client_us=5000,
    poll_cpu_us=100,
    facts_bytes=1600,
    facts_stored_bytes=1800,
    facts_cpu_us=60,
    heartbeat_bytes=150,
    heartbeat_wire_bytes=260,
    heartbeat_stored_bytes=200,
    heartbeat_cpu_us=20,
    action_bytes=800,
    result_bytes=1000,
    result_stored_bytes=1200,
    result_cpu_us=120,
    stored_memory_bytes=500,
    sync_us=2000,
    recover_us=10,
)
NAMES = [field.name for field in msgspec.structs.fields(Costs)]


def need(agents: int, name: str, costs: Costs = COSTS) -> float:
    (value,) = [one.value for one in size_of(agents, costs).needs if one.name.startswith(name)]
    return value


def test_a_thousand_agents_need_what_a_thousand_of_each_costs() -> None:
    assert need(1000, "connections, per server") == 1000
    assert need(1000, "memory for connections") == 20e6 + 1000 * 90e3
    assert need(1000, "memory for streams") == (2 * 1000 + 10 * 1000) * 500
    assert need(1000, "disk for streams") == 1000 * (1800 + 200) + 10 * 1000 * 1200
    assert need(600, "heartbeats") == 10
    assert need(600, "network in, heartbeats") == 2600
    assert need(600, "CPU at rest") == pytest.approx((10 * 20 + 10 * 100) / 1e6 * 100)
    assert need(1000, "one action to all: disk syncs") == 2
    assert need(1000, "storm after a restart: CPU") == pytest.approx(2.18)


def test_nobody_is_back_before_the_jitter_is_over() -> None:
    assert need(1, "storm after a restart: all are back") == 6


def test_the_layout_follows_from_memory_and_from_the_storm() -> None:
    assert [servers_for(agents, COSTS) for agents in SIZES] == [1, 1, 1, 10]
    assert layout(1) == "one server, embedded"
    assert layout(3) == "a cluster of 3"
    assert "10 leaf nodes" in layout(10)
    large = msgspec.structs.replace(COSTS, connection_memory_bytes=MEMORY_BYTES / 1000)
    assert servers_for(3000, large) == 4
    assert servers_for(1000, large) == 3  # two of a cluster would not outlive the loss of one


@given(
    st.integers(1, 10**6),
    st.lists(st.floats(0, 1e9), min_size=len(NAMES), max_size=len(NAMES)),
)
def test_whatever_was_measured_becomes_finite_figures(agents: int, values: list[float]) -> None:
    size = size_of(agents, Costs(**dict(zip(NAMES, values, strict=True))))
    assert all(0 <= one.value < float("inf") for one in size.needs)
    assert {one.origin for one in size.needs} == {"computed"}
    assert size.servers >= 1


def test_what_shrank_meanwhile_costs_nothing() -> None:
    assert each(10, 30, 4) == 5
    assert each(30, 10, 4) == 0
    assert each(0, 1, 0) == 1


def test_a_heartbeat_on_the_wire_is_line_record_and_packet() -> None:
    assert wire_bytes("mig.hb.a", 150) == len(b"PUB mig.hb.a 150\r\n") + 150 + 2 + 22 + 40
