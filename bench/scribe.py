"""The scribe module on 3,000 package tests against `dpkg-query -W`, in the same run; every verdict checked with dpkg.

    .venv/bin/python bench/scribe.py [--tests 3000] [--runs 11] [--no-check]

The tests compare the packages that are installed here with versions nearby. Ours is the run of a warm worker, the
parameters' validation with it; the reference's time is shown with and without the start of its process.
"""

from __future__ import annotations

import argparse
import random
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from typing import Any

from figures import figure
from investigator.modules.interface import Context, load_parameters
from investigator.modules.scribe import MODULE
from investigator.modules.versions.dpkg import sort_key

OPERATIONS = {"<": "lt", ">": "gt", "=": "eq"}


def timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def dpkg_query(*arguments: str) -> str:
    return subprocess.run(["dpkg-query", *arguments], capture_output=True, text=True, check=True).stdout


def nearby(version: str, chance: random.Random) -> str:
    kind = chance.randrange(6)
    if kind == 0:
        return version
    if kind == 1:
        return version + "~rc1"
    if kind == 2:
        return version + chance.choice(("+b1", ".1", "a", "-0"))
    if kind == 3:
        return "1:" + version.partition(":")[2] if ":" in version else version + "0"
    at = chance.randrange(len(version))
    changed = version[:at] + chance.choice("0123456789~") + version[at + 1 :]
    return changed if changed[0].isdigit() and not changed.endswith("-") and "::" not in changed else version


def policy(installed: list[tuple[str, str]], tests: int, chance: random.Random) -> dict[str, Any]:
    document: dict[str, Any] = {
        "objects": [{"object": name, "package": {"name": name}} for name, _ in installed],
        "tests": [],
    }
    for number in range(tests):
        name, version = installed[number % len(installed)]
        evr = {"operation": chance.choice("<><>="), "value": nearby(version, chance)}
        document["tests"].append(
            {"test": f"t{number}", "name": f"{name}-{number}", "object": name, "evr": evr, "description": "one of many"}
        )
    return document


def wrong(document: dict[str, Any], results: list[dict[str, Any]], versions: dict[str, str]) -> tuple[int, int]:
    """How many verdicts differ from dpkg's, and how many versions dpkg itself refuses, which must be errors."""
    differing = refused = 0
    for test, result in zip(document["tests"], results, strict=True):
        relation = OPERATIONS[test["evr"]["operation"]]
        command = ["dpkg", "--compare-versions", versions[test["object"]], relation, test["evr"]["value"]]
        status = subprocess.run(command, capture_output=True, check=False).returncode
        refused += status == 2
        expected = (status == 0, status == 2)
        differing += (result["masterresult"], result["iserror"]) != expected
    return differing, refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--tests", type=int, default=3000)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--no-check", action="store_true")
    arguments = parser.parse_args()
    rows = [line.split("\t") for line in dpkg_query("-W", "-f", "${binary:Package}\t${Version}\t${db:Status-Status}\n").splitlines()]  # fmt: skip
    installed = [(name, version) for name, version, state in rows if state == "installed"]
    document = policy(installed, arguments.tests, random.Random(5))
    asked = {"scribedoc": document}

    started = time.perf_counter()
    result = MODULE.run(load_parameters(MODULE, asked), Context())
    cold_s = time.perf_counter() - started
    times: dict[str, list[float]] = {"start": [], "query": [], "load": [], "run": []}
    for _ in range(arguments.runs):
        times["start"].append(timed(lambda: dpkg_query("--version")))
        times["query"].append(timed(lambda: dpkg_query("-W")))
        times["load"].append(timed(lambda: load_parameters(MODULE, asked)))
        parameters = load_parameters(MODULE, asked)
        sort_key.cache_clear()  # a forked worker's is empty too
        times["run"].append(timed(lambda parameters=parameters: MODULE.run(parameters, Context())))  # type: ignore[misc]
    start_s, query_s, load_s, run_s = (statistics.median(times[name]) for name in ("start", "query", "load", "run"))
    ours_s = load_s + run_s
    print(
        f"{arguments.tests} tests on {len(installed)} packages: dpkg-query -W {query_s * 1000:.1f} ms (start "
        f"{start_s * 1000:.1f}); ours {ours_s * 1000:.1f} ms (load {load_s * 1000:.1f}, run {run_s * 1000:.1f}; the very "
        f"first {cold_s * 1000:.1f}), {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000:.0f} MB: "
        f"run alone {run_s / query_s:.1f} x; {run_s / (query_s - start_s):.1f} x without its start"
    )
    figure("scribe: policy", ours_s / query_s, against="dpkg-query -W", goal=15.0)
    figure("scribe: policy, starts apart", ours_s / (query_s - start_s), against="dpkg-query -W", goal=15.0)
    if not arguments.no_check:
        differing, refused = wrong(document, result.elements["results"], dict(installed))
        note = f"against dpkg --compare-versions; {refused} that dpkg refuses are errors here too"
        figure("scribe: wrong verdicts", differing, unit="", goal=0, note=note)


if __name__ == "__main__":
    main()
