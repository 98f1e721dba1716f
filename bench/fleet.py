"""How long a fleet takes to answer one `file` investigation: from its publication until the last answer is stored.

    python bench/fleet.py --agents 1000            coroutines: real admission, ledger in memory, real signing, sealing,
                                                   publishing; the module runs in their process
    python bench/fleet.py --agents 1000 --real     real agents, each forked from one warm parent, each with a fork server
                                                   and a forked worker of its own
    python bench/fleet.py --quick                  1,000 coroutines and 300 real ones, within a minute: for `make bench`
    python bench/fleet.py --growth                 how the time grows with the fleet, as JSON and a picture

The whole stack is on: JWT accounts, OpenPGP at every agent, results signed and sealed, JetStream's acknowledgements, proofs of
a token checked at the console; TLS by --tls. Beside it, in the same run, the floor: as many bare NATS connections, each
answering one message with 500 bytes. Broker, agents and console are separate processes of this machine. `--folder` is where
everything lies; the agents' own disks are in memory by default, since a thousand hosts have a thousand disks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from figures import figure
from fleet_cost import cpu_s, own_and_children_s, pss_bytes, tree
from fleet_cryptography import cryptography_s
from fleet_deployment import Deployment, deployment, fsync_ms, make_tree, raise_open_files
from fleet_floor import bare_floor
from fleet_real import real_fleet
from fleet_simulated import simulated_fleet
from fleet_stages import report
from investigator import Investigator
from investigator.broker.connection import Broker
from investigator.broker.streams import stream_state
from investigator.config import load_console
from investigator.console import investigation as following
from investigator.console.audience import Shown, Unmoved
from investigator.console.link import console_link
from investigator.console.store import Store
from investigator.modules import get_module
from investigator.protocol.action import Operation
from investigator.protocol.result import Outcome
from investigator.protocol.subjects import RESULTS, results_of

PUBLISH = vars(following)["publish"]
STORED_WITHIN_S = 30.0
MEASURED = 20
"""Agents whose memory is looked at."""


@dataclass(slots=True)
class Times:
    """Of each run, in seconds from the moment when the action went out to the stream."""

    asked: list[float] = field(default_factory=list)
    """Before that: signing, reading the inventory."""
    first: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    stored: list[float] = field(default_factory=list)
    published: dict[str, float] = field(default_factory=dict)
    """Action id to the moment of publication, on the monotonic clock."""


@dataclass(slots=True)
class Found:
    """What one fleet came to."""

    agents: int
    connected_s: float
    times: Times
    floor: list[float]
    stages: list[str]
    lines: list[str]
    missing: int = 0

    @property
    def stored_s(self) -> float:
        """The median."""
        return statistics.median(self.times.stored)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--real", action="store_true", help="real agent processes")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2, help="that the coroutines are spread over")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--stages", action="store_true", help="where an agent's time goes")
    parser.add_argument("--max-s", type=float, help="exit 1 if the median took longer, or an answer is missing")
    parser.add_argument("--folder", type=Path, help="where broker and console keep what they keep")
    parser.add_argument("--states", type=Path, default=default_states(), help="where the agents do")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio", help="of the agents")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--growth", nargs="?", const="all", metavar="KIND:AGENTS,…", help="real:1000,coroutines:3000 …")
    options = parser.parse_args()
    raise_open_files()
    if options.growth:
        from fleet_growth import growth

        return growth(options)
    if options.quick:
        found = [measure(options, agents, real=real, runs=3) for agents, real in ((1000, False), (300, True))]
    else:
        found = [measure(options, options.agents, real=options.real, runs=options.runs)]
    limit = options.max_s
    return int(any(one.missing or (limit is not None and one.stored_s > limit) for one in found))


def default_states() -> Path:
    """Memory, where there is some as a folder."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else Path(tempfile.gettempdir())


def measure(options: argparse.Namespace, agents: int, *, real: bool, runs: int, quiet: bool = False) -> Found:
    """One fleet, asked so many times."""
    with contextlib.ExitStack() as stack:
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="investigator-bench-", dir=options.folder))
        )
        states = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="investigator-bench-", dir=options.states))
        )
        stamps = states / "stages" if options.stages else None
        disk_ms = fsync_ms(folder)
        tree_folder = make_tree(folder / "tree")
        made = stack.enter_context(deployment(folder, tls=options.tls))
        started = time.monotonic()
        if real:
            fleet = real_fleet(made.home, made.token, agents, states=states, stages=stamps, loop=options.loop)
        else:
            fleet = simulated_fleet(
                made.home, made.token, agents, processes=options.processes, stages=stamps, loop=options.loop
            )
        pids = stack.enter_context(fleet)
        connected_s = time.monotonic() - started
        before = costs(made, pids, agents, real=real)
        times, missing = asyncio.run(ask_repeatedly(made.home, tree_folder, agents, runs))
        after = costs(made, pids, agents, real=real)
        lines = list(told(made, pids, before, after, agents, runs, real=real, disk_ms=disk_ms))
        stages = list(report(stamps, times.published)) if stamps is not None else []
        stack.close()
        bare = Path(tempfile.mkdtemp(prefix="investigator-bench-", dir=options.folder))
        try:
            floor = bare_floor(bare / "bare", agents, processes=options.processes, runs=max(runs, 3))
        finally:
            import shutil

            shutil.rmtree(bare)
    found = Found(agents, connected_s, times, floor, stages, lines, missing)
    if not quiet:
        show(found, real=real, options=options)
    return found


def costs(made: Deployment, pids: Sequence[int], agents: int, *, real: bool) -> dict[str, float]:
    """Processor seconds so far: of each part, or what a real agent's processes have, theirs."""
    parts = {"broker": cpu_s(tree(made.broker)), "agent": cpu_s(pids), "console": time.process_time()}
    if real:
        servers, workers = own_and_children_s(pids[agents:])
        parts |= {"of which fork server": servers, "worker": workers}
    return parts


def told(
    made: Deployment,
    pids: Sequence[int],
    before: dict[str, float],
    after: dict[str, float],
    agents: int,
    runs: int,
    *,
    real: bool,
    disk_ms: float,
) -> list[str]:
    """What broker, agents and console cost; a run more than was counted was made, to warm up."""
    each_ms = {part: 1000 * (after[part] - before[part]) / (runs + 1) / agents for part in before}
    each = len(pids) // agents if real else 1
    count = len(pids) // each
    some = [pids[number + place * count] for number in range(min(MEASURED, count)) for place in range(each)]
    of = min(MEASURED, count) if real else agents
    return [
        "  CPU per agent and run: " + ", ".join(f"{part} {took:.2f} ms" for part, took in each_ms.items()),
        f"  memory (PSS): {pss_bytes(some) / of / 1e6:.2f} MB an agent, broker {pss_bytes(tree(made.broker)) / 1e6:.0f} MB",
        f"  one fsync where the broker's store is: {disk_ms:.2f} ms",
    ]


def show(found: Found, *, real: bool, options: argparse.Namespace) -> None:
    """For people, and for the table."""
    kind = "real" if real else "coroutines"
    where = f"{options.processes} processes of coroutines" if not real else "real processes"
    link = "TLS" if options.tls else "plain text"
    print(
        f"{found.agents:,} agents ({where}, {link}, {options.loop}), {os.cpu_count()} cores: ready in {found.connected_s:.1f} s"
    )
    times = found.times
    for name, took in (
        ("asked before", times.asked),
        ("first result", times.first),
        ("last result", times.last),
        ("all stored", times.stored),
    ):
        print(f"  {name:<13} median {statistics.median(took):.3f} s   largest {max(took):.3f} s   of {len(took)} runs")
    print(f"  {'bare floor':<13} median {statistics.median(found.floor):.3f} s   largest {max(found.floor):.3f} s")
    for line in (*found.lines, *found.stages):
        print(line)
    if found.missing:
        print(f"  {found.missing} answers are not stored")
    name = f"fleet.{kind}-{found.agents}"
    goal = 2.0 if real and found.agents == 1000 else 6.0 if not real and found.agents == 10_000 else None
    figure(f"{name}.stored", found.stored_s, unit="s", goal=goal, note="published to all stored, stream and console")
    if real:
        return
    floor_s = statistics.median(found.floor)
    figure(
        name, found.stored_s / floor_s, against="bare nats-py echo clients", goal=3.0, note="published to all stored"
    )
    least_s = floor_s + cryptography_s() * found.agents / (os.cpu_count() or 1)
    figure(
        f"{name}.least",
        found.stored_s / least_s,
        against="bare echo and the bare cryptography",
        note="published to all stored",
    )


class Stopwatch(Unmoved):
    """When an action was published, and when each agent's answer was there."""

    def __init__(self) -> None:
        super().__init__(lambda line: print(f"  {line}", file=sys.stderr))
        self.published_s = 0.0
        self.found_s: dict[str, float] = {}

    async def publish(self, *words: Any, **more: Any) -> Any:
        """In place of the console's: on two busy cores the console hears long after the agents that the stream has it."""
        self.published_s = self.published_s or time.monotonic()
        return await PUBLISH(*words, **more)

    def outcome(
        self,
        agent: str,
        name: str,  # noqa: ARG002 - the audience's
        state: Shown,
        outcome: Outcome | None,  # noqa: ARG002 - likewise
        *,
        unfinished: bool = False,  # noqa: ARG002 - likewise
    ) -> None:
        if state == "found":
            self.found_s[agent] = time.monotonic()


async def ask_repeatedly(home: Path, tree_folder: Path, agents: int, runs: int) -> tuple[Times, int]:
    """Ask, once to warm up and then so many times; and how many answers are not both in the stream and in the store."""
    module = get_module("file")
    nested = {"paths": [str(tree_folder)], "names": ["^passwd$"], "options": {"matchall": True}}
    operation = Operation(module="file", parameters=module.from_flags(nested))
    times, missing, config = Times(), 0, load_console(home)
    async with contextlib.AsyncExitStack() as stack:
        with contextlib.redirect_stderr(None):  # that the link is in plain text
            console = await stack.enter_async_context(Investigator(home))
            broker = await stack.enter_async_context(console_link(config))
        store = await stack.enter_async_context(Store(config.store))
        for number in range(runs + 1):
            asked_s, watch = time.monotonic(), Stopwatch()
            setattr(following, "publish", watch.publish)  # noqa: B010 - mypy need not follow
            investigation = console.run(
                name=f"bench {number}", target="all", operations=[operation], life=timedelta(seconds=120)
            )
            summary = await investigation.follow(watch, asyncio.Event())
            action = investigation.action.id
            in_stream = await stored(broker, action, agents)  # what was heard live may not be on the broker's disk yet
            ended_s = time.monotonic()
            if summary.states != {"found": agents}:
                print(f"  run {number}: {summary.states} instead of {agents} found", file=sys.stderr)
            in_store = len({agent async for some in store.answers(action) for agent, _ in some})
            missing += agents - min(in_stream, in_store, len(watch.found_s))
            if number:  # the first one warms caches
                times.asked.append(watch.published_s - asked_s)
                times.first.append(min(watch.found_s.values(), default=ended_s) - watch.published_s)
                times.last.append(max(watch.found_s.values(), default=ended_s) - watch.published_s)
                times.stored.append(ended_s - watch.published_s)
                times.published[action] = watch.published_s
            await asyncio.sleep(0.5)
    return times, missing


async def stored(broker: Broker, action: str, agents: int) -> int:
    """How many agents' answers the stream has, once it has all of them, or after a while."""
    give_up_s = time.monotonic() + STORED_WITHIN_S
    while True:
        found = len((await stream_state(broker, RESULTS, subjects_filter=results_of(action))).subjects)
        if found >= agents or time.monotonic() > give_up_s:
            return found
        await asyncio.sleep(0.02)


if __name__ == "__main__":
    sys.exit(main())
