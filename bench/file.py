"""The file module against find, grep and sha256sum on the same files, in the same run: medians, ratios, peak memory.

    .venv/bin/python bench/file.py [--only names,metadata,listing,contents,hashes] [--runs 5] [--tree /usr] [--content-tree DIR]

Each of ours runs in a fresh process that is as warm as a worker, for which the fork server has loaded modules and libraries and turned
the search for cycles off; it reports its own time and peak memory. The
references are timed with their start, which is a millisecond or two. One unmeasured round warms the page cache.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import orjson

from figures import figure

OURS = """
import gc, resource, sys, time
import msgspec, orjson
from investigator.modules.file import MODULE
from investigator.modules.interface import Context, load_parameters
from investigator.modules.patterns.hyper import library
library()
gc.disable()
parameters = load_parameters(MODULE, orjson.loads(sys.argv[1]))
started = time.perf_counter()
result = MODULE.run(parameters, Context(result_bytes=24 << 20))
hits = result.statistics["totalhits"]
if sys.argv[2] == "list":
    with open("/dev/null", "w") as out:
        document = orjson.dumps(result, default=msgspec.structs.asdict)
        elapsed_s = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        out.writelines(line + "\\n" for line in MODULE.lines(orjson.loads(document), everything=False))
        elapsed_s += time.perf_counter() - started
else:
    elapsed_s = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(elapsed_s, peak, hits)
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One question, asked in two ways."""

    group: str
    name: str
    search: dict[str, Any]
    reference: list[str]
    second: list[str] | None = None
    """Another reference, where it is installed."""
    goals: tuple[float, float | None]
    """At most so many times the references' seconds."""
    stdin: bytes = b""
    mode: str = "run"


def cases(tree: str, content_tree: str) -> list[Case]:
    def content(name: str, pattern: str) -> Case:
        search = {"paths": [content_tree], "contents": [pattern]}
        command = ["grep", "-rlaP", "--devices=skip", pattern, content_tree]
        second = ["rg", "-luuua", pattern, content_tree]
        return Case(group="contents", name=name, search=search, reference=command, second=second, goals=(0.8, 1.3))

    files = subprocess.run(["find", content_tree, "-type", "f", "-print0"], capture_output=True, check=True).stdout
    listed = r"\.(py|pyc|h|so|html|js|json|gz|md|txt|png|svg|mo)$"
    return [
        Case(
            group="names",
            name="names by regex",
            goals=(1.2, None),
            search={"paths": [tree], "names": [r"\.conf$"]},
            reference=["find", tree, "-regex", r".*\.conf"],
        ),
        Case(
            group="metadata",
            name="size, mtime and mode",
            goals=(1.5, None),
            search={"paths": [tree], "sizes": [">100k"], "mtimes": [">1d"], "modes": ["^-rwx"]},
            reference=["find", tree, "-type", "f", "-size", "+102399c", "-mtime", "+0", "-perm", "-u=rwx"],
        ),
        Case(
            group="listing",
            name="many hits, listed",
            goals=(10.0, None),
            search={"paths": [tree], "names": [listed]},
            reference=["find", tree, "-regextype", "posix-extended", "-regex", f".*{listed[:-1]}"],
            mode="list",
        ),
        content("literal", "kernel_secret_key"),
        content("^root:", "^root:"),
        content("(?i) literal", "(?i)private_token"),
        content("alternation", "(ghp|gho)_[0-9A-Za-z]{36}|AKIA[0-9A-Z]{16}"),
        content("class first", "[a-z0-9]+@evil[.]example"),
        Case(
            group="hashes",
            name="sha256 of every file",
            goals=(0.4, None),
            search={"paths": [content_tree], "sha2": ["ab" * 32]},
            reference=["xargs", "-0", "sha256sum"],
            stdin=files,
        ),
    ]


def ours(case: Case) -> tuple[float, int, int]:
    """Seconds, peak KiB, hits."""
    search = {**case.search, "options": {"matchall": True}}
    command = [sys.executable, "-c", OURS, orjson.dumps({"searches": {"s1": search}}).decode(), case.mode]
    elapsed_s, peak_kib, hits = subprocess.run(command, capture_output=True, check=True).stdout.split()
    return float(elapsed_s), int(peak_kib), int(hits)


def reference(command: list[str], case: Case) -> float:
    started = time.perf_counter()
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run(
        command,
        input=case.stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        env=environment,
    )
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", default="names,metadata,listing,contents,hashes")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tree", default="/usr")
    parser.add_argument("--content-tree", default="/usr/lib/x86_64-linux-gnu")
    arguments = parser.parse_args()
    for case in cases(arguments.tree, arguments.content_tree):
        if case.group in arguments.only.split(","):
            compare(case, arguments.runs)


def compare(case: Case, runs: int) -> None:
    """A figure per reference."""
    commands = [command for command in (case.reference, case.second) if command and shutil.which(command[0])]
    theirs: list[list[float]] = [[] for _ in commands]
    measured = []
    for number in range(runs + 1):  # alternating, so that what else the machine does meets all
        taken = [reference(command, case) for command in commands]
        one = ours(case)
        if number:  # the first warms the page cache
            measured.append(one)
            for times, elapsed_s in zip(theirs, taken, strict=True):
                times.append(elapsed_s)
    ours_s = statistics.median(elapsed_s for elapsed_s, _, _ in measured)
    peak_mb = max(peak for _, peak, _ in measured) / 1000
    for command, times, goal in zip(commands, theirs, case.goals, strict=False):
        reference_s = statistics.median(times)
        figure(
            f"file: {case.name}, against {command[0]}",
            ours_s / reference_s,
            against=command[0],
            goal=goal,
            note=f"{ours_s:.3f} s of {reference_s:.3f} s, peak {peak_mb:.0f} MB, {measured[0][2]:,} hits, medians of {runs}",
        )


if __name__ == "__main__":
    main()
