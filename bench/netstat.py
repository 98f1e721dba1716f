"""The netstat module with 800 sockets against `ss -tan` on the same sockets, in the same run: medians, ratios, memory.

    .venv/bin/python bench/netstat.py [--sockets 800] [--runs 15]

Neither counts the start of its process: ours times itself in a warm process, from `ss` the time of `ss -V` is taken off.
Ours looks at UDP too. `listed` is with every socket in the result, its owner included, which `ss` tells with `-p`.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from figures import figure
from investigator.modules.interface import Context, load_parameters
from investigator.modules.netstat import MODULE

QUESTIONS = {
    "one network, no hit": ({"connectedip": ["198.51.100.0/24"]}, "-tan"),
    "30 networks, no hit": ({"connectedip": [f"198.51.{number}.0/24" for number in range(30)]}, "-tan"),
    "listening port": ({"listeningport": ["65535"]}, "-tlan"),
    "all, listed": ({"connectedip": ["0.0.0.0/0"]}, "-tanp"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sockets", type=int, default=800)
    parser.add_argument("--runs", type=int, default=15)
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, options.sockets + 200)), hard))
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1024))
        for _ in range(options.sockets // 2):
            stack.enter_context(socket.create_connection(listener.getsockname()))
            stack.enter_context(listener.accept()[0])
        found = MODULE.run(load_parameters(MODULE, {"connectedip": ["198.51.100.0/24"]}), Context()).statistics
        print(f"{options.sockets} TCP sockets on loopback, {found['examined']} in all; medians of {options.runs}")
        for name, (parameters, flags) in QUESTIONS.items():
            loaded = load_parameters(MODULE, parameters)
            ours_s, theirs_s, start_s = medians(
                options.runs, partial(MODULE.run, loaded, Context()), run("ss", flags), run("ss", "-V")
            )
            theirs_s -= start_s
            figure(
                f"netstat: {name}",
                ours_s / theirs_s,
                against=f"ss {flags}",
                goal=3.0,
                note=f"{ours_s * 1e3:.2f} ms of {theirs_s * 1e3:.2f} ms",
            )
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")
    return 0


def run(*command: str) -> Callable[[], object]:
    environment = {"PATH": os.defpath + ":/usr/sbin:/sbin"}
    return lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env=environment)


def medians(runs: int, *things: Callable[[], object]) -> list[float]:
    """Of each, in turns; the first round is not counted."""
    times: list[list[float]] = [[] for _ in things]
    for number in range(runs + 1):
        for thing, taken in zip(things, times, strict=True):
            started = time.perf_counter()
            thing()
            if number:
                taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


if __name__ == "__main__":
    sys.exit(main())
