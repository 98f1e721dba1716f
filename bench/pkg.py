"""The pkg module against `dpkg-query -W` on the same database, in the same run: medians, ratio.

    .venv/bin/python bench/pkg.py [--runs 21] [--name '^libc6$']

The reference's time is without its start: that of `dpkg-query --version` is taken off. Ours is the run of a warm worker.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from collections.abc import Callable

from figures import figure
from investigator.modules.interface import Context, load_parameters
from investigator.modules.pkg import MODULE


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def dpkg_query(*arguments: str) -> None:
    subprocess.run(["dpkg-query", *arguments], stdout=subprocess.DEVNULL, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--name", default="^libc6$")
    arguments = parser.parse_args()
    asked = {"pkgmatch": {"matches": [arguments.name]}}

    def ours() -> None:
        MODULE.run(load_parameters(MODULE, asked), Context())

    ours()
    times: dict[str, list[float]] = {"start": [], "query": [], "ours": []}
    for _ in range(arguments.runs):  # alternating, so that what else the machine does meets all
        times["start"].append(timed(lambda: dpkg_query("--version")))
        times["query"].append(timed(lambda: dpkg_query("-W")))
        times["ours"].append(timed(ours))
    start_s, query_s, ours_s = (statistics.median(times[name]) for name in ("start", "query", "ours"))
    count = subprocess.run(["dpkg-query", "-W"], capture_output=True, check=True).stdout.count(b"\n")
    figure(
        "pkg: by name",
        ours_s / query_s,
        against="dpkg-query -W",
        goal=2.0,
        note=f"{ours_s * 1000:.1f} ms of {query_s * 1000:.1f} ms, of that its start {start_s * 1000:.1f} ms; {count} packages",
    )


if __name__ == "__main__":
    main()
