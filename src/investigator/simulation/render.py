"""What a simulation found, for people and for programs; every figure says where it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from investigator.simulation.sizing import ACTIONS_A_DAY, CORES, MEMORY_BYTES, SIZES, STORM_WITHIN_S, size_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from investigator.simulation.costs import Costs
    from investigator.simulation.run import Found
    from investigator.simulation.sizing import Size

_COSTS: dict[str, tuple[str, str]] = {
    "base_memory_bytes": ("a server with empty streams", "B"),
    "connection_memory_bytes": ("a connection (TLS, 4 subscriptions): memory", "B"),
    "connect_cpu_us": ("connecting: the server's CPU", "µs"),
    "connect_cpu_client_us": ("connecting: the agent's CPU", "µs"),
    "poll_cpu_us": ("a catch-up that finds nothing: CPU", "µs"),
    "facts_bytes": ("an agent's facts: message", "B"),
    "facts_stored_bytes": ("an agent's facts: on disk", "B"),
    "facts_cpu_us": ("an agent's facts: CPU", "µs"),
    "heartbeat_bytes": ("a heartbeat: message", "B"),
    "heartbeat_wire_bytes": ("a heartbeat: on the wire", "B"),
    "heartbeat_stored_bytes": ("a heartbeat: on disk", "B"),
    "heartbeat_cpu_us": ("a heartbeat: CPU", "µs"),
    "action_bytes": ("an action: message", "B"),
    "result_bytes": ("an answer, signed and sealed: message", "B"),
    "result_stored_bytes": ("an answer: on disk", "B"),
    "result_cpu_us": ("an answer: CPU, with the question's way and the console's reading", "µs"),
    "stored_memory_bytes": ("a stored message, whichever: memory after a restart", "B"),
    "sync_us": ("one fsync of this disk", "µs"),
    "recover_us": ("a stored message: time at a restart", "µs"),
}
_COMPUTED = frozenset(("heartbeat_wire_bytes",))


def sizes(found: Found) -> list[Size]:
    """The usual sizes, and the one that was asked for."""
    return [size_of(agents, found.costs) for agents in sorted({*SIZES, found.wanted.agents})]


def as_json(found: Found) -> dict[str, Any]:
    """All of it."""
    return {
        "agents": found.wanted.agents,
        "measured": {
            "fill_s": found.fill_s,
            "heartbeats_s": found.beat_s,
            "answer_s": found.answer_s,
            "console_s": found.console_s,
            "answers": found.answers,
            "states": found.states,
            "warnings": list(found.warnings),
            "recover_s": found.recover_s,
            "broker_peak_bytes": found.broker_peak_bytes,
            "simulator_peak_bytes": found.simulator_peak_bytes,
        },
        "costs": [
            {"name": name, "value": getattr(found.costs, name), "unit": unit, "origin": _origin(name), "what": what}
            for name, (what, unit) in _COSTS.items()
        ],
        "sizes": msgspec.to_builtins(sizes(found)),
    }


def lines(found: Found) -> Iterator[str]:
    """For people."""
    agents = found.wanted.agents
    yield f"simulated {agents:,} agents: facts stored in {found.fill_s:.1f} s, a heartbeat of each in {found.beat_s:.1f} s"
    told = ", ".join(f"{count:,} {state}" for state, count in (found.states or {}).items())
    yield f"one question to all: answered and stored in {found.answer_s:.1f} s; the console was done after {found.console_s:.1f} s: {told}"
    counted = sum((found.states or {}).values())
    if counted != agents:
        yield f"the console counted {counted:,} of {agents:,} agents, of whom {found.answers:,} answered; it said:"
        yield from (f"  {line}" for line in found.warnings)
    yield (
        f"restarted with all of that in {found.recover_s:.2f} s; at most {_bytes(found.broker_peak_bytes)} for the broker, "
        f"{_bytes(found.simulator_peak_bytes)} for the simulator"
    )
    yield ""
    yield "what one costs a server (measured here and now, but what is marked c: computed)"
    yield from _costs(found.costs)
    yield ""
    yield (
        f"what so many need (computed from these; {ACTIONS_A_DAY} actions a day to all, whose answers are kept a day; "
        f"a server has {CORES} cores and {MEMORY_BYTES >> 30} GiB, and has all back within {STORM_WITHIN_S:.0f} s)"
    )
    yield from _table(sizes(found))


def _costs(costs: Costs) -> Iterator[str]:
    for name, (what, unit) in _COSTS.items():
        mark = "c" if name in _COMPUTED else "m"
        yield f"  {mark} {what:<66}{_value(getattr(costs, name), unit):>12}"


def _table(of: list[Size]) -> Iterator[str]:
    width = max(len(need.name) for need in of[0].needs) + 2
    yield "  " + "agents".ljust(width) + "".join(f"{size.agents:>14,}" for size in of)
    yield "  " + "servers that agents connect to".ljust(width) + "".join(f"{size.servers:>14,}" for size in of)
    for place, need in enumerate(of[0].needs):
        values = (_value(size.needs[place].value, need.unit) for size in of)
        yield "  " + need.name.ljust(width) + "".join(f"{value:>14}" for value in values)
    for size in of:
        yield f"  {size.agents:,}: {size.layout}"


def _origin(name: str) -> str:
    return "computed" if name in _COMPUTED else "measured"


def _value(value: float, unit: str) -> str:
    if unit in ("B", "B/s"):
        return _bytes(value) + unit[1:]
    number = f"{value:,.0f}" if value >= 100 or not value else f"{value:,.3g}"
    return f"{number} {unit}".rstrip()


def _bytes(value: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:,.3g} TB"
