"""What one connection, one heartbeat, one answer costs a broker: measured on this machine, by this run."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import psutil

if TYPE_CHECKING:
    from pathlib import Path

TLS_RECORD_BYTES: Final = 22
"""Around each record of TLS 1.3: header, tag, type (RFC 8446 §5.2)."""
PACKET_BYTES: Final = 40
"""IPv4 and TCP without options."""
_SYNCS: Final = 200


class Costs(msgspec.Struct, kw_only=True, frozen=True):
    """Unit costs to a broker, all measured but where it says otherwise."""

    base_memory_bytes: float
    """Of a server that nobody is connected to, with empty streams."""
    connection_memory_bytes: float
    connect_cpu_us: float
    """TLS handshake, the token's check, four subscriptions."""
    connect_cpu_client_us: float
    """The same on the host."""
    poll_cpu_us: float
    """A catch-up that finds nothing."""
    facts_bytes: float
    """On the wire, without headers."""
    facts_stored_bytes: float
    facts_cpu_us: float
    heartbeat_bytes: float
    heartbeat_wire_bytes: float
    """With NATS's line, TLS's record and TCP's packet around it; computed from its size."""
    heartbeat_stored_bytes: float
    heartbeat_cpu_us: float
    action_bytes: float
    result_bytes: float
    """Signed and sealed."""
    result_stored_bytes: float
    result_cpu_us: float
    """With the action's way to the agent."""
    stored_memory_bytes: float
    """Of a restarted server, for each message in its streams: what it keeps in memory whether anybody reads it or not."""
    sync_us: float
    """One `fsync` of 600 bytes on this disk, the median: with `sync_always` every fact and result waits for one."""
    recover_us: float
    """Of a restarted server's time until it listens, beyond that of an empty one, for each message in its streams."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a server's process stood."""

    cpu_s: float
    memory_bytes: int


class Meter:
    """Reads a server's process."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    def read(self) -> Reading:
        """Now."""
        used = self._process.cpu_times()
        return Reading(used.user + used.system, self._process.memory_info().rss)


def each(before: float, after: float, number: int) -> float:
    """What each of so many came to; never less than nothing, where other things shrank meanwhile."""
    return max(0.0, after - before) / max(1, number)


def wire_bytes(subject: str, payload: int) -> int:
    """A message in a packet and a record of its own, as a lone heartbeat is."""
    line = len(f"PUB {subject} {payload}\r\n") + 2
    return line + payload + TLS_RECORD_BYTES + PACKET_BYTES


def sync_us(folder: Path) -> float:
    """What the disk needs for an `fsync` of a small write."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            file.write(bytes(600))
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1e6
