"""What TLS costs: connections per second, and a message's round trip, each beside plain text in the same run.

    .venv/bin/python bench/tls.py [CONNECTIONS]

Broker and clients share this machine, so both ends of every handshake are paid for here.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from figures import figure
from investigator.broker import certificates, operator
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.server import EmbeddedServer
from investigator.broker.server_tls import ServerTls

ROUNDS = 3
AT_ONCE = 50
ROUND_TRIPS = 500


async def connects_per_s(server: EmbeddedServer, number: int) -> float:
    """Connections that are made, let in and subscribed, some at a time."""
    turn = asyncio.Semaphore(AT_ONCE)
    user = Credentials.load(server.folder / "enrol.creds")
    tls = server.tls.as_client() if server.tls is not None else None

    async def one() -> None:
        async with turn:
            broker = await connect(server.url, user, name="bench", tls=tls, give_up_after_s=60)
        opened.append(broker)

    opened: list[object] = []
    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(number)))
    took_s = time.perf_counter() - began
    await asyncio.gather(*(broker.close() for broker in opened))  # type: ignore[attr-defined]  # Brokers
    return number / took_s


async def round_trip_us(server: EmbeddedServer) -> float:
    tls = server.tls.as_client() if server.tls is not None else None
    async with await connect(
        server.url, Credentials.load(server.folder / "enrol.creds"), name="bench", tls=tls
    ) as broker:
        began = time.perf_counter()
        for _ in range(ROUND_TRIPS):
            await broker.flush()
        return (time.perf_counter() - began) / ROUND_TRIPS * 1e6


async def main(number: int) -> None:
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch:
        folder = Path(scratch)
        operator.create(folder, now_s=int(time.time()))
        certificates.make_authority(folder, name="bench", now_s=time.time())
        encrypted = ServerTls.of_deployment(folder, names=())
        best: dict[str, list[float]] = {"plain": [0.0, 1e9], "TLS": [0.0, 1e9]}
        for _ in range(ROUNDS):
            for name, tls in (("plain", None), ("TLS", encrypted)):
                async with EmbeddedServer(folder, port=0, tls=tls) as server:
                    best[name][0] = max(best[name][0], await connects_per_s(server, number))
                    best[name][1] = min(best[name][1], await round_trip_us(server))
        for name, (per_s, trip_us) in best.items():
            print(f"{name:6} {per_s:8.0f} connections/s {trip_us:8.0f} µs a round trip")
        plain, tls_best = best["plain"], best["TLS"]
        figure("tls: connecting", plain[0] / tls_best[0], against="plain text")
        figure("tls: a round trip", tls_best[1] / plain[1], against="plain text")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
