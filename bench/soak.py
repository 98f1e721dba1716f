"""A week of actions in minutes: whether an agent's memory stays flat.

    .venv/bin/python bench/soak.py              20,000 actions, ten minutes or more: at half of them all that is remembered is full
    .venv/bin/python bench/soak.py --quick      1,000 of them, in less than a minute

A real broker, a real agent with its fork server and a worker for each action, which looks for a file in a small tree and
finds it. Each action is signed, sealed, admitted, run, answered and stored as always; some are in flight at a time. PSS of
the agent and its fork server at a tenth, half, and the end, and that of this process, in which the consoles are: programs that
use the library run as long. The second half is to add nothing: before, what an agent remembers
fills up (10,000 messages that it judged, 1,000 lines of the audit, 8 MB of envelopes that it fetches each minute, SQLite's
pages), and each of these has a cap.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from figures import figure
from investigator import Investigator
from lone_agent import family, lone_agent, pss_mb

QUICK = 1000
ACTIONS = 20_000
FLAT = 1.03
LIFE = timedelta(minutes=1)
"""What an agent remembers of an action it lets go of after its end: a minute of actions, as few as a week has, is full by half."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--actions", type=int, default=ACTIONS)
    parser.add_argument("--quick", action="store_const", const=QUICK, dest="actions")
    parser.add_argument("--at-a-time", type=int, default=4, help="consoles that ask, one action each")
    options = parser.parse_args()
    with lone_agent() as (home, agent):
        tree = make_tree(home.parent / "tree")
        asyncio.run(soak(home, agent, tree, options))


def make_tree(folder: Path) -> Path:
    """A few files, one of which is looked for."""
    folder.mkdir()
    for number in range(10):
        (folder / f"setting-{number}.conf").write_text(f"number = {number}\n" * 20)
    return folder


async def soak(home: Path, agent: int, tree: Path, options: argparse.Namespace) -> None:
    """Ask, look at the memory on the way, and tell."""
    marks = [options.actions // 10, options.actions // 2, options.actions]
    seen: dict[int, list[float]] = {}
    consoles: dict[int, float] = {}
    began = time.monotonic()
    for done, mark in zip([0, *marks], marks, strict=False):
        numbers = iter(range(mark - done))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(options.at_a_time):
                tasks.create_task(ask(home, tree, numbers))
        while len(family(agent)) > 2:  # noqa: ASYNC110 - a worker that shares the fork server's pages still ends
            await asyncio.sleep(0.1)
        seen[mark] = [pss_mb(pid) for pid in family(agent)]
        consoles[mark] = pss_mb(os.getpid())
    took_s = time.monotonic() - began
    told = "; ".join(f"{count:,}: {' + '.join(f'{one:.1f}' for one in seen[count])} MB" for count in marks)
    first, half, last = (sum(seen[mark]) for mark in marks)
    figure("soak.growth", last / half, against="after half of them", goal=FLAT, note=told)
    told = "; ".join(f"{count:,}: {consoles[count]:.1f} MB" for count in marks)
    figure("soak.consoles", consoles[marks[2]] / consoles[marks[1]], against="after half of them", goal=FLAT, note=told)
    figure("soak.warming", last / first, against="after a tenth", note="what is remembered is filled up to its cap")
    figure(
        "soak.actions",
        options.actions / took_s,
        unit="/s",
        better="higher",
        note=f"{took_s:.0f} s, {os.cpu_count()} processors",
    )


async def ask(home: Path, tree: Path, numbers: Iterator[int]) -> None:
    """One action after another, until the numbers are used up; each must be answered."""
    search = ("file", ["-path", str(tree), "-name", "setting-4"])
    async with Investigator(home) as console:
        for _ in numbers:
            answers = [answer async for answer in console.run(operations=[search], target="all", life=LIFE)]
            if not answers:
                raise SystemExit("an action was not answered")


if __name__ == "__main__":
    main()
