"""How long a console takes to know its fleet: a first time, again, and after changes; and to say whom a target means.

    python bench/inventory.py                   100,000 agents, each with its own key, facts and heartbeat: three minutes
    python bench/inventory.py --quick           20,000
    python bench/inventory.py --proven          each enrolled by a token, whose signature is verified too

The reference is a bare batched get of the same messages in the same run. A real broker holds them; it lets anybody publish, so
that one client can fill it. `agents` is the command in a process of its own, from its start to its end, into a pipe.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from figures import figure
from investigator.broker.batch import Stored
from investigator.broker.connection import Broker, connect
from investigator.broker.credentials import Credentials
from investigator.broker.scopes import Scope
from investigator.broker.streams import ensure_streams, stream_state
from investigator.config import load_console
from investigator.console.condition import compile_target
from investigator.console.deployment import create_deployment
from investigator.console.enrolling import make_token
from investigator.console.fleet import Fleet, load_fleet
from investigator.console.keys import load_signer
from investigator.console.passphrase import Passphrase
from investigator.console.rules import load_rules
from investigator.console.session import Session
from investigator.console.store import Store
from investigator.program import own_command
from investigator.protocol.action import utc
from investigator.protocol.facts import Heartbeat, encode_facts, encode_heartbeat
from investigator.protocol.identity import Identity
from investigator.protocol.subjects import (
    ALL_FACTS,
    ALL_HEARTBEATS,
    FACTS,
    HEARTBEATS,
    facts_subject,
    heartbeat_subject,
)
from investigator.protocol.token import SecretToken, prove
from open_broker import OpenServer, fill

TARGET = "os='windows' AND name LIKE 'host-%3' AND tags->>'site'='ber' AND status='online'"
WATCHED = """
import resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
Agent = tuple[bytes, int]
Made = list[tuple[bytes, str, bytes, bytes]]


def signed(agent: Agent, token: SecretToken | None) -> tuple[bytes, str, bytes, bytes]:
    """Its key, id, facts and first heartbeat."""
    private, number = agent
    identity = Identity(private)
    name, proof = f"host-{number:06}", None
    if token is not None:
        proof = prove(token, key=identity.public_key, name=name, machine="", now_s=int(time.time()))
    row = {
        "id": identity.id, "name": name, "queueloc": f"linux.{identity.id}", "arch": "amd64",
        "os": ("linux", "linux", "linux", "windows", "darwin")[number % 5], "ident": "Debian GNU/Linux 12 (bookworm)",
        "mode": "daemon", "version": "1.0.0", "pid": 1000 + number % 30_000, "publicip": "192.0.2.1",
        "addresses": [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/8", "fe80::1/64"],
        "environment": {"init": "systemd", "ident": "Debian 12", "os": "linux", "arch": "amd64", "isproxied": False,
                        "modules": ["file", "memory", "netstat", "pkg", "process", "user"]},
        "tags": {"operator": "IT", "site": ("ber", "par", "nyc")[number % 3]}, "starttime": "2026-11-24T03:00:00Z",
    }  # fmt: skip
    facts, digest = encode_facts(identity, row, heartbeat_s=3600, proof=proof)
    return private, identity.id, facts, beat(private, digest)


def beat(private: bytes, digest: str) -> bytes:
    told = Heartbeat(t=round(time.time(), 3), f=digest, s=7, n=12, h="0123456789abcdef01234567")
    return encode_heartbeat(Identity(private), told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="20,000 agents")
    parser.add_argument("--proven", action="store_true", help="enrolled by a token")
    options = parser.parse_args()
    agents = 20_000 if options.quick else options.agents
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch:
        home = Path(scratch) / "home"
        create_deployment(home, port=0, passphrase=None)
        console = home / "console.toml"
        console.write_text(console.read_text().replace("tls://", "nats://"))
        token = None
        if options.proven:
            signer = load_signer(load_console(home).signer, Passphrase("no passphrase", ()))
            token, _ = make_token(signer, count=agents, life=timedelta(days=1), now_s=time.time())
        else:
            console.write_text(console.read_text().replace('enrolment = "token"', 'enrolment = "open"'))
        asyncio.run(measure(home, make(agents, token)))


def make(agents: int, token: SecretToken | None) -> Made:
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        whose = [(os.urandom(32), number) for number in range(agents)]
        made = pool.map(partial(signed, token=token), whose, chunksize=500)
    print(f"{agents:,} agents made in {time.perf_counter() - began:.1f} s")
    return made


async def measure(home: Path, made: Made) -> None:
    config = load_console(home)
    port = int(config.broker.url.rpartition(":")[2])
    async with OpenServer(home / "broker", port=port, sync_always=False) as server:
        broker = await connect(server.url, Credentials.load(home / "broker" / f"{Scope.INVESTIGATOR}.creds"), name="b")
        await ensure_streams(broker)
        began = time.perf_counter()
        await fill(server.url, messages(made))
        await settled(broker, 2 * len(made))
        print(f"published in {time.perf_counter() - began:.1f} s")
        try:
            await loads(broker, home, server.url, made)
            await commands(home, broker, len(made))
        finally:
            await broker.close()


def messages(made: Made) -> Iterator[tuple[str, bytes]]:
    for _, agent, facts, _ in made:
        yield facts_subject(agent), facts
    for _, agent, _, heartbeat in made:
        yield heartbeat_subject(agent), heartbeat


async def settled(broker: Broker, messages: int) -> None:
    while sum([(await stream_state(broker, each)).messages for each in (FACTS, HEARTBEATS)]) < messages:  # noqa: ASYNC110 - a stream tells nobody
        await asyncio.sleep(0.05)


async def loads(broker: Broker, home: Path, url: str, made: Made) -> None:
    """Nothing known, everything known, one in a hundred new, every heartbeat new."""
    bare_s = await timed(bare(broker))
    first_s = await timed(load(broker, home))
    again_s = min([await timed(load(broker, home)) for _ in range(3)])
    few = made[::100]
    await fill(url, ((facts_subject(agent), facts) for _, agent, facts, _ in few))
    await fill(url, ((heartbeat_subject(agent), beat(private, "0" * 16)) for private, agent, _, _ in few))
    delta_s = await timed(load(broker, home))
    await fill(url, ((heartbeat_subject(agent), beat(private, "1" * 16)) for private, agent, _, _ in made))
    beats_s = await timed(load(broker, home))
    figure("inventory.bare_s", bare_s, unit="s", note=f"batched get of {2 * len(made):,} messages")
    figure(
        "inventory.first_load_s", first_s, unit="s", goal=5 * len(made) / 100_000, note="facts and heartbeats verified"
    )
    figure("inventory.first_load", first_s / bare_s, against="bare batched get")
    figure("inventory.later_load_s", again_s, unit="s", goal=1.0, note="nothing new")
    figure("inventory.later_load", again_s / bare_s, against="bare batched get")
    figure("inventory.delta_load_s", delta_s, unit="s", goal=1.0, note="1 % of facts and heartbeats are new")
    figure("inventory.all_heartbeats_new_s", beats_s, unit="s", note="after a minute's pause")


async def bare(broker: Broker) -> list[Stored]:
    return [
        stored
        for stream, subjects in ((FACTS, ALL_FACTS), (HEARTBEATS, ALL_HEARTBEATS))
        async for stored in broker.read_stream(stream, subjects)
    ]


async def load(broker: Broker, home: Path) -> Fleet:
    config = load_console(home)
    rules = load_rules(home) if config.enrolment == "token" else None
    async with Store(config.store) as store:
        fleet = await load_fleet(Session(broker, store, rules, config.enrolment))
    if fleet.warnings:
        raise SystemExit(fleet.warnings[0])
    hosts = list(fleet.inventory.hosts.values())
    if len(fleet.counted(hosts)) != len(hosts):
        raise SystemExit(f"not every host counts: {hosts[0].judged}")
    return fleet


async def timed(work: Awaitable[object]) -> float:
    began = time.perf_counter()
    await work
    return time.perf_counter() - began


async def commands(home: Path, broker: Broker, agents: int) -> None:
    fleet = await load(broker, home)
    condition = compile_target(TARGET, {})[1]
    now = utc(time.time())
    took = []
    for _ in range(5):
        began = time.perf_counter()
        means = fleet.inventory.matching(condition, now)
        took.append(time.perf_counter() - began)
    figure("inventory.target_s", min(took), unit="s", goal=1.0, note=f"{len(means):,} of {agents:,} rows meant")
    for name, words in (("agents_command_s", []), ("agents_of_target_command_s", ["--target", TARGET])):
        ran = [await asyncio.to_thread(run, home, ["agents", *words]) for _ in range(3)]
        figure(
            f"inventory.{name}", min(wall_s for wall_s, _ in ran), unit="s", goal=1.0, note="exec to end, nothing new"
        )
        if not words:
            figure(
                "inventory.agents_command_bytes", max(peak for _, peak in ran) / agents, unit="B", note="a host, peak"
            )


def run(home: Path, words: list[str]) -> tuple[float, int]:
    """How long a command takes, and the most memory that it has, in bytes: a small process starts it, and looks."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *own_command(), *words],
        env={**os.environ, "INVESTIGATOR_HOME": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    wall_s, peak_kb = done.stdout.split()
    return float(wall_s), int(peak_kb) * 1024


if __name__ == "__main__":
    main()
