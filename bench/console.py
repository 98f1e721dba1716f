"""How many results a second a console verifies, opens, stores, counts and shows, and what an answer leaves in its memory.

    python bench/console.py                     30,000 results for the rate, 10,000 and 100,000 for the memory: two minutes
    python bench/console.py --quick             20,000; 5,000 and 20,000

Each result is signed by one of many agents' keys and sealed to the console, stands in the stream of a real broker, and is read
as `results` reads it: by `Collection`, in `--output ndjson`. References in the same run: the bare Ed25519 verification and HPKE
opening in a loop of one process, and a bare batched get of the same messages. The memory is of a process that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from figures import figure
from investigator.broker import operator
from investigator.broker.connection import Broker, connect
from investigator.broker.credentials import Credentials
from investigator.broker.scopes import Scope
from investigator.broker.streams import ensure_streams, stream_state
from investigator.console.checks import Answers, check
from investigator.console.collect import Collection
from investigator.console.inventory import Inventory
from investigator.console.render import renderer
from investigator.console.store import Store
from investigator.protocol.action import Action, Operation
from investigator.protocol.answer import pack
from investigator.protocol.identity import OUTCOME, Identity, signable
from investigator.protocol.result import Outcome, Result
from investigator.protocol.sealing import public_sealing_key
from investigator.protocol.subjects import RESULTS, result_subject, results_of
from open_broker import OpenServer, fill

ACTION_ID = "ab" * 16
DIGEST = "d" * 64
PRIVATE = bytes(range(1, 33))
SEALTO = base64.b64encode(public_sealing_key(PRIVATE)).decode()
NOW = datetime.now(UTC)
ACTION = Action(
    id=ACTION_ID, name="bench", target="all", condition=[], validfrom=NOW - timedelta(minutes=1),
    expireafter=NOW + timedelta(hours=1), operations=(Operation(module="file"),), sealto=SEALTO,
)  # fmt: skip
SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def answer(private: bytes) -> tuple[str, bytes]:
    """An agent's id, and what it answers: one file found, as `file` tells it."""
    identity = Identity(private)
    info = {"size": 1234, "mode": "-rw-r--r--", "lastmodified": "2026-01-02 03:04:05 +0000 UTC"}
    search = {"paths": ["/etc"], "names": ["^passwd$"], "options": {"matchall": True}}
    result = Result(
        foundanything=True, success=True,
        elements={"s1": [{"file": "/etc/passwd", "search": search, "fileinfo": info}]},
        statistics={"filescount": 123, "openfailed": 0, "totalhits": 1, "exectime": "1ms"},
    )  # fmt: skip
    told = Outcome(state="found", name=identity.id, results=[result], started_s=1.0, finished_s=2.0)
    (payload,) = pack(told, identity, action=ACTION_ID, digest=DIGEST, sealto=SEALTO)
    return identity.id, payload


def answers(count: int) -> list[tuple[str, bytes]]:
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        return pool.map(answer, [os.urandom(32) for _ in range(count)], chunksize=500)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=30_000)
    parser.add_argument("--memory", type=int, nargs=2, default=(10_000, 100_000), metavar=("FEW", "MANY"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--alone", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        asyncio.run(alone(options.alone))
        return
    results, memory = (20_000, (5_000, 20_000)) if options.quick else (options.results, options.memory)
    stages(answers(500))
    asyncio.run(rates(answers(results)))
    peaks = [asyncio.run(peak_bytes(answers(count))) for count in memory]
    per_agent = (peaks[1] - peaks[0]) / (memory[1] - memory[0])
    for count, peak in zip(memory, peaks, strict=True):
        print(f"  {peak / 1e6:8.1f} MB at most with {count:,} results of {count:,} agents")
    figure("console.bytes_per_agent", per_agent, unit="B", goal=3000, note="of peak memory, however much each answers")


def stages(made: list[tuple[str, bytes]]) -> None:
    """What each stage of one result costs, in one process."""
    opened = check(Answers(ACTION_ID, PRIVATE, made))
    crypto = timed(lambda: bare_cryptography(made)) / len(made)
    checks = timed(lambda: check(Answers(ACTION_ID, PRIVATE, made))) / len(made)
    fold = timed(lambda: asyncio.run(folded(made, opened))) / len(made)
    figure("console.cryptography_us", crypto * 1e6, unit="us", note="Ed25519 verified, HPKE opened: bare, per result")
    figure("console.check", checks / crypto, against="bare cryptography", goal=1.4, note="decoded, verified, opened")
    figure("console.fold", fold / crypto, against="bare cryptography", goal=0.8, note="counted and shown")


def bare_cryptography(made: list[tuple[str, bytes]]) -> None:
    key = X25519PrivateKey.from_private_bytes(PRIVATE)
    for agent, payload in made:
        frame = SUITE.decrypt(payload[1:], key, info=f"investigator/1 outcome {ACTION_ID} {agent}".encode())
        public = base64.b64decode(frame.partition(b'"key":"')[2].partition(b'"')[0])
        Ed25519PublicKey.from_public_bytes(public).verify(frame[:64], signable(OUTCOME, frame[64:]))


async def folded(made: list[tuple[str, bytes]], opened: list[Any]) -> None:
    collection = await collecting(made, cast(Any, None), cast(Any, None))
    for (agent, payload), part in zip(made, opened, strict=True):
        collection.accept(agent, payload, part, kept=True)
    if collection.tally.answered() != {"found": len(made)}:
        sys.exit("not all were counted")


def timed(work: Any) -> float:
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return best


async def collecting(made: list[tuple[str, bytes]], broker: Broker, store: Store) -> Collection:
    inventory = Inventory()
    for agent, _ in made:
        inventory.hosts[agent] = cast(Any, SimpleNamespace(id=agent, name=agent, stopped=False, heartbeat=None))
    return watching(inventory, broker, store)


def watching(inventory: Inventory, broker: Broker, store: Store) -> Collection:
    shown = renderer("ndjson", modules=["file"], stdout=Nowhere(), stderr=Nowhere())
    shown.started(ACTION, targeted=len(inventory.hosts), expected=len(inventory.hosts))
    return Collection(
        action=ACTION, digest=DIGEST, envelope="", broker=broker, store=store, inventory=inventory,
        targeted=list(inventory.hosts.values()), private_key=PRIVATE, on_warning=sys.exit,
        on_outcome=lambda agent, name, outcome: shown.outcome(agent, name, outcome.state, outcome),
    )  # fmt: skip


class Nowhere(io.StringIO):
    """Takes text, and keeps none."""

    def write(self, text: str) -> int:
        return len(text)


class Stand:
    """A broker whose stream of results is full."""

    def __init__(self, made: list[tuple[str, bytes]]) -> None:
        self.made = made

    async def __aenter__(self) -> str:
        self._scratch = tempfile.TemporaryDirectory(prefix="investigator-bench-")
        folder = Path(self._scratch.name)
        operator.create(folder, now_s=int(time.time()))
        self._server = OpenServer(folder, port=0, sync_always=False)
        await self._server.start()
        async with await anybody(self._server.url) as broker:
            await ensure_streams(broker)
            await fill(self._server.url, self._messages())
            while (await stream_state(broker, RESULTS)).messages < len(self.made):  # noqa: ASYNC110 - a stream tells nobody
                await asyncio.sleep(0.05)
        return self._server.url

    def _messages(self) -> Iterator[tuple[str, bytes]]:
        for agent, payload in self.made:
            yield result_subject(ACTION_ID, agent), payload

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop()
        self._scratch.cleanup()


async def anybody(url: str) -> Broker:
    return await connect(url, Credentials.generate(str(Scope.INVESTIGATOR)), name="bench")


async def rates(made: list[tuple[str, bytes]]) -> None:
    """All of it, from a real broker's stream."""
    async with Stand(made) as url, await anybody(url) as broker:
        began = time.perf_counter()
        read = [stored async for stored in broker.read_stream(RESULTS, results_of(ACTION_ID))]
        bare_s = time.perf_counter() - began
        del read
        took: list[tuple[float, float, float]] = []
        for _ in range(3):
            with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch:
                async with Store(Path(scratch) / "console.sqlite") as store:
                    took.append(await one_run(made, broker, store))
    whole_s, here_us, there_us = min(took)
    crypto_s = timed(lambda: bare_cryptography(made[:1000])) / 1000 * len(made)
    cores = len(os.sched_getaffinity(0))
    figure("console.results_per_s", len(made) / whole_s, unit="/s", goal=10_000, better="higher", note="of all, stored")
    figure("console.whole", whole_s / (crypto_s / cores), against=f"bare cryptography on {cores} cores", goal=2.0)
    figure("console.here_us", here_us, unit="us", note="CPU of a result: read, decoded, counted, shown, stored")
    figure("console.there_us", there_us, unit="us", note="CPU of a result: opened, verified, read strictly, passed on")
    figure("console.bare_get_per_s", len(made) / bare_s, unit="/s", better="higher", note="a batched get, nothing done")


async def one_run(made: list[tuple[str, bytes]], broker: Broker, store: Store) -> tuple[float, float, float]:
    """Seconds, and microseconds of CPU for each result: of this process, and of those that verify."""
    collection = await collecting(made, broker, store)
    began, here_s, there_s = time.perf_counter(), time.process_time(), children_s()
    await collection.read_stream()
    took, here_s = time.perf_counter() - began, time.process_time() - here_s
    await collection.close()
    there_s = children_s() - there_s
    if collection.tally.answered() != {"found": len(made)}:
        sys.exit(f"{collection.tally.answered()} instead of {len(made)} found")
    return took, here_s / len(made) * 1e6, there_s / len(made) * 1e6


def children_s() -> float:
    """The CPU of those that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def peak_bytes(made: list[tuple[str, bytes]]) -> int:
    """Of a console in a process of its own."""
    async with Stand(made) as url:
        command = [sys.executable, __file__, "--alone", url]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    if done.returncode:
        sys.exit(done.stderr.decode())
    return int(done.stdout)


async def alone(url: str) -> None:
    """Targets nobody, so that what is counted is what answers leave behind, names and all."""
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch:
        async with await anybody(url) as broker, Store(Path(scratch) / "console.sqlite") as store:
            collection = watching(Inventory(), broker, store)
            await collection.read_stream()
            await collection.close()
    if not collection.tally.answered().get("found"):
        sys.exit("nothing was counted")
    print(own_peak_bytes())


def own_peak_bytes() -> int:
    """Of this program alone: `ru_maxrss` is that of who started it, if that is more."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) * 1024


if __name__ == "__main__":
    main()
