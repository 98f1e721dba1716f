"""A deployment's status as one screen, or as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from investigator.console.table import aligned
from investigator.printable import printable

if TYPE_CHECKING:
    from investigator.broker.service_stats import ServiceStats
    from investigator.broker.streams import StreamState
    from investigator.console.status import Status

MAX_SAID: Final = 3


def status_lines(status: Status) -> list[str]:
    """What needs care comes first, and each thing has its line."""
    lines = ["all is well"] if not status.care else [f"needs care: {_things(len(status.care))}"]
    lines += [f"  ! {printable(line)}" for line in status.care]
    lines += ["", f"broker   {_broker(status)}"]
    if len(status.servers) > 1:
        lines += [
            f"  {printable(url)}  {'answers' if here else 'DOES NOT ANSWER'}" for url, here in status.servers.items()
        ]
    if status.streams:
        rows = [_row(state) for state in status.streams]
        heads = [("stream", 24), ("messages", 14), ("bytes", 10), ("of", 10), ("full", 6), ("kept by", 40)]
        lines += ["", *aligned(rows, heads)]
    if status.expiries:
        lines.append("")
        rows = [(one.what, one.name, f"{one.days_left:,.0f} days left") for one in status.expiries]
        lines += aligned(rows, [("what ends", 24), ("whose", 40), ("when", 20)])
    if status.services:
        rows = [(one.name, one.version, _since(one), _work(one)) for one in status.services]
        lines += ["", *aligned(rows, [("service", 16), ("version", 12), ("since", 17), ("what it did", 50)])]
        lines += [
            f"  ! {printable(one.name)} {printable(part.name)}: {printable(part.last_error)[:200]}"
            for one in status.services
            for part in one.endpoints
            if part.last_error
        ]
        lines += [
            f"  {printable(one.name)} {printable(said.time[:19])} {printable(said.level)}: {printable(said.text)[:200]}"
            for one in status.services
            for said in one.problems[-MAX_SAID:]
            if said.level != "warning"
        ]
    if status.answers:
        counted = ", ".join(f"{count} {name}" for name, count in status.agents.items())
        lines += [
            "",
            f"agents   {sum(status.agents.values()):,}" + (f": {counted}" if any(status.agents.values()) else ""),
        ]
    return lines


def status_json(status: Status) -> dict[str, Any]:
    """The same for programs; `ok` is whether nothing needs care."""
    return {
        "ok": not status.care,
        **asdict(status),
        "services": [msgspec.to_builtins(one) for one in status.services],
        "streams": [{**asdict(state), "full": round(state.full, 4)} for state in status.streams],
    }


def _broker(status: Status) -> str:
    if not status.answers:
        return f"{printable(status.url)} does not answer"
    where = f", cluster {status.cluster}" if status.cluster else ""
    how = "TLS" if status.encrypted else "plain text"
    told = f"nats-server {status.version} ({status.server}{where}), {how}"
    if len(status.servers) == 1:
        told = f"{status.url}  {told}"
    return f"{printable(told)}, answers in {status.round_trip_s * 1000:.1f} ms"


def _row(state: StreamState) -> tuple[str, ...]:
    if not state.exists:
        return state.name, "missing", "", "", "", ""
    kept = f"{state.replicas} servers, leader {state.leader or 'none'}" if state.in_cluster else "this server"
    limit = size(state.max_bytes) if state.max_bytes else "-"
    return state.name, f"{state.messages:,}", size(state.bytes), limit, f"{state.full:.0%}", kept


def _since(service: ServiceStats) -> str:
    return service.started[:16].replace("T", " ") + "Z" if service.started else ""


def _work(service: ServiceStats) -> str:
    """Every number that is not 0, by its part."""
    told = []
    for part in service.endpoints:
        counts = {name: count for name, count in part.numbers().items() if count}
        if part.num_errors:
            counts["failed"] = part.num_errors
        if not counts and part.num_requests:
            counts["answered"] = part.num_requests
        told += [f"{part.name}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())] if counts else []
    return "; ".join(told) or "nothing yet"


def _things(number: int) -> str:
    return "1 thing" if number == 1 else f"{number} things"


def size(count: int) -> str:
    """Bytes as people read them, in powers of 1024."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
