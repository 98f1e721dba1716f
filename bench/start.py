"""What starting costs: help and the zipapp above the bare interpreter, and the memory of an idle agent.

    .venv/bin/python bench/start.py [--runs 21] [--zipapp dist/investigator.pyz] [--no-agent]

Each line is a ratio or a difference against a reference measured in the same run, starts interleaved so that a busy
machine slows both. The agent is a real one, connected to a real broker, both installed in this environment.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).parents[1]
PROGRAM = [str(Path(sys.executable).with_name("investigator"))]
READY_S = 20.0
SETTLE_S = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--zipapp", type=Path, default=ROOT / "dist/investigator.pyz")
    parser.add_argument("--no-agent", action="store_true", help="do not start a broker and an agent")
    arguments = parser.parse_args()
    starts(arguments.runs, arguments.zipapp.absolute())
    if not arguments.no_agent:
        idle_agent()


def starts(runs: int, zipapp: Path) -> None:
    """Median seconds of each kind of start."""
    commands = {
        "interpreter": [sys.executable, "-c", "pass"],
        "installed": [*PROGRAM, "--help"],
    }
    if zipapp.exists():
        commands["zipapp"] = [sys.executable, "-sES", str(zipapp), "--help"]
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}  # root's zipapp ignores it, and unpacks under /var/lib
        for command in commands.values():
            seconds(command, environment)
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(runs):
            for name, command in commands.items():
                taken[name].append(seconds(command, environment))
    median = {name: statistics.median(values) for name, values in taken.items()}
    bare, installed = median["interpreter"], median["installed"]
    print(f"{bare * 1e3:8.1f} ms  bare interpreter ({sys.version.split()[0]}), median of {runs}")
    print(f"{(installed - bare) * 1e3:8.1f} ms  above it: investigator --help (goal 120)")
    if "zipapp" in median:
        print(f"{median['zipapp'] / installed:8.2f} x   warm zipapp --help, of the installed one's (goal 1.5)")
    else:
        print(f"           no {zipapp}: make zipapp")


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """How long the command takes."""
    start = time.perf_counter()
    subprocess.run(command, env=dict(environment), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def idle_agent() -> None:
    """The proportional set size (PSS) of an agent that is connected and has nothing to do, all its processes together."""
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as folder:
        home = ["--home", f"{folder}/home"]
        subprocess.run([*PROGRAM, "init", *home, "--port", "0"], stdout=subprocess.DEVNULL, check=True)
        with running("broker", *home), running("agent", *home, "--name", "idle", "--state", f"{folder}/state") as agent:
            time.sleep(SETTLE_S)  # the first heartbeats and the warmed fork server are part of being idle
            processes = [agent, *agent.children(recursive=True)]
            sizes = [process.memory_full_info().pss / 1e6 for process in processes]
            parts = " + ".join(f"{size:.1f}" for size in sizes)
            print(f"{sum(sizes):8.1f} MB  idle agent, PSS of its {len(sizes)} processes: {parts} (goal 60)")


@contextmanager
def running(*words: str) -> Iterator[psutil.Process]:
    """A long-running command, from its first line of output (it is ready) to SIGTERM."""
    started = subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert started.stdout is not None
        if not started.stdout.readline():
            sys.exit(f"investigator {words[0]} ended with {started.wait(READY_S)}")
        yield psutil.Process(started.pid)
    finally:
        started.terminate()
        started.wait(READY_S)


if __name__ == "__main__":
    main()
