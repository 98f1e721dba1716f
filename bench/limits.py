"""What a neighbour of an investigation feels: a small service on the same processor, with a content search beside it and without.

    .venv/bin/python bench/limits.py [--pairs 9] [--seconds 2]

The neighbour is two processes, each in a session of its own as services are: a client that sends a request every
millisecond, on a clock, and a server that works 0.2 ms for its answer. Latency is from the moment at which the request was due
to its answer, so that time spent waiting for the processor counts. The search is the real one: `file` for a text that is
nowhere in /usr/lib, by a Runner's worker, as the agent runs it by default. All are held on one processor. Alone and
beside the search take turns; the figure is the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from typing import Any

from figures import figure
from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from investigator.modules import get_module

NEIGHBOUR = """
import json, os, socket, sys, time
processor, seconds = int(sys.argv[1]), float(sys.argv[2])
os.sched_setaffinity(0, {processor})
ours, theirs = socket.socketpair()
if os.fork() == 0:
    os.setsid()
    ours.close()
    text = b"GET /item/4711 HTTP/1.1 host: shop.example " * 4
    while request := theirs.recv(64):
        began, found = time.thread_time(), 0
        while time.thread_time() - began < 0.0002:
            found += sum(text[:64])
        theirs.sendall(request)
    os._exit(0)
theirs.close()
taken, due = [], time.monotonic() + 0.01
ends = due + seconds
while due < ends:
    pause = due - time.monotonic()
    if pause > 0:
        time.sleep(pause)
    ours.sendall(b"request")
    ours.recv(64)
    now = time.monotonic()
    taken.append(now - due)
    due = max(due + 0.001, now)
taken.sort()
print(json.dumps({"p50": taken[len(taken) // 2], "p99": taken[len(taken) * 99 // 100], "requests": len(taken)}))
ours.close()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--processor", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--tree", default="/usr/lib")
    parser.add_argument(
        "--set", action="append", default=[], metavar="LIMIT=VALUE", help="other limits than the defaults"
    )
    options = parser.parse_args()
    given = {name: json.loads(value) for name, _, value in (one.partition("=") for one in options.set)}
    asyncio.run(measure(options, Limits(wall_clock_s=60, **given)))


async def measure(options: argparse.Namespace, limits: Limits) -> None:
    """The pairs, and what the search got through meanwhile."""
    search = {"paths": [options.tree], "contents": ["no-such-text-[0-9]{3}-anywhere"]}
    asked = get_module("file").from_flags({**search, "options": {"matchall": True}})
    pairs: list[tuple[dict[str, float], dict[str, float]]] = []
    async with Runner(limits) as runner:
        os.sched_setaffinity(runner.server_pid or 0, {options.processor})
        await runner.run("file", asked, deadline_s=time.monotonic() + 60)  # what it reads is cached from here on
        cpu = []
        for _ in range(options.pairs):
            alone = await neighbour(options)
            searching = asyncio.create_task(search_on(runner, asked))
            await asyncio.sleep(0.1)
            before = search_cpu_s(runner)
            beside = await neighbour(options)
            cpu.append((search_cpu_s(runner) - before) / options.seconds)
            searching.cancel()
            await asyncio.gather(searching, return_exceptions=True)
            pairs.append((alone, beside))
    report(pairs, cpu)


def report(pairs: list[tuple[dict[str, float], dict[str, float]]], cpu: list[float]) -> None:
    for name, goal in (("p50", None), ("p99", 1.3)):
        ratio = statistics.median(beside[name] / alone[name] for alone, beside in pairs)
        alone_ms = 1000 * statistics.median(alone[name] for alone, _ in pairs)
        beside_ms = 1000 * statistics.median(beside[name] for _, beside in pairs)
        note = f"{beside_ms:.3f} ms of {alone_ms:.3f} ms; {len(pairs)} pairs"
        figure(f"limits.neighbour_{name}", ratio, against="no search beside it", goal=goal, note=note)
    figure(
        "limits.search_share",
        100 * statistics.median(cpu),
        unit="%",
        better="higher",
        note="of the processor, to the search",
    )


async def search_on(runner: Runner, asked: Any) -> None:
    while True:
        await runner.run("file", asked, deadline_s=time.monotonic() + 60)


def search_cpu_s(runner: Runner) -> float:
    """Processor seconds of the fork server's children, the ended ones included."""
    with open(f"/proc/{runner.server_pid}/stat") as file:
        ended = sum(map(int, file.read().rpartition(")")[2].split()[13:15]))
    with open(f"/proc/{runner.server_pid}/task/{runner.server_pid}/children") as file:
        living = [int(pid) for pid in file.read().split()]
    total = ended / os.sysconf("SC_CLK_TCK")
    for pid in living:
        total += time.clock_gettime((~pid << 3) | 2)  # its processor clock: clock_getcpuclockid(3)
    return total


async def neighbour(options: argparse.Namespace) -> dict[str, float]:
    """Its latencies, in seconds."""
    words = [sys.executable, "-c", NEIGHBOUR, str(options.processor), str(options.seconds)]
    child = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, start_new_session=True)
    told, _ = await child.communicate()
    found: dict[str, float] = json.loads(told)
    return found


if __name__ == "__main__":
    main()
