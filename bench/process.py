"""The process module against psutil's `process_iter` with the same fields, hashes included, in the same run.

    .venv/bin/python bench/process.py [--runs 5] [--processes 200]

Both are asked in one process, turn by turn, for pid, name, executable, user, parent and start of every process, and the SHA-256
of its executable; psutil's side hashes each executable once, as ours does. As many processes are started as are asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import psutil

from figures import figure
from investigator.modules.interface import Context, load_parameters
from investigator.modules.process import MODULE

FIELDS = ["pid", "name", "exe", "username", "ppid", "create_time"]
PROGRAMS = (
    ["/bin/sleep", "600"],
    ["/bin/cat"],
    ["/bin/sh", "-c", "read line"],
    [sys.executable, "-S", "-c", "input()"],
)


def theirs(*, hashes: bool) -> tuple[float, int]:
    began = time.perf_counter()
    digests: dict[str, str] = {}
    count = 0
    for process in psutil.process_iter(FIELDS):
        path = process.info["exe"]
        if hashes and path and path not in digests:
            try:
                with open(path, "rb") as file:
                    digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError:
                digests[path] = ""
        count += 1
    return time.perf_counter() - began, count


def ours(parameters: Any) -> tuple[float, int]:
    began = time.perf_counter()
    result = MODULE.run(parameters, Context())
    return time.perf_counter() - began, result.statistics["totalhits"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--processes", type=int, default=200)
    arguments = parser.parse_args()
    started = [
        subprocess.Popen(PROGRAMS[number % len(PROGRAMS)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for number in range(arguments.processes)
    ]
    try:
        for name, hashes in (("with hashes", True), ("without hashes", False)):
            asked = {"names": ["."], "options": {"matchall": True, "returnsha256": hashes}}
            parameters = load_parameters(MODULE, {"searches": {"s1": asked}})
            rounds = []
            for turn in range(arguments.runs + 1):
                psutil.process_iter.cache_clear()
                pair = theirs(hashes=hashes), ours(parameters)
                rounds += [pair] if turn else []  # the first warms the page cache
            theirs_s = statistics.median(pair[0][0] for pair in rounds)
            ours_s = statistics.median(pair[1][0] for pair in rounds)
            ratio = statistics.median(pair[1][0] / pair[0][0] for pair in rounds)
            figure(
                f"process: {name}",
                ratio,
                against="psutil",
                note=f"{ours_s:.3f} s of {theirs_s:.3f} s, {rounds[-1][1][1]} processes, medians of {arguments.runs}",
            )
        print(
            f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB, on {os.cpu_count()} CPUs"
        )
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
