"""The memory module against one plain read of the same regions through /proc/PID/mem, in the same run: medians, ratios, peak.

    .venv/bin/python bench/memory.py [--runs 5] [--megabytes 500]

The process that is read holds random bytes and text, half each. Both run turn by turn in a fresh process for each question; the
reference is a loop of preadv into one buffer of 1 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from figures import figure

HELD = """
import mmap, os, sys
size = int(sys.argv[1]) << 20
memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
text = b"".join(b"line %d: the quick brown fox, user%d@mail.test, /usr/lib/x, 0x%08x\\n" % (n, n, n * 2654435761 % 2**32)
                for n in range(9000))[:1 << 19]
for place in range(0, size, 1 << 20):
    memory[place:place + (1 << 20)] = os.urandom(1 << 19) + text
print(os.getpid(), flush=True)
sys.stdin.read()
"""

BOTH = """
import json, os, resource, sys, time
from investigator.modules.interface import Context, load_parameters
from investigator.modules.memory import MODULE

def plain(pid):
    regions = []
    with open(f"/proc/{pid}/maps") as maps:
        for line in maps:
            fields = line.split(None, 5)
            if fields[1][0] == "r" and "[v" not in line:
                regions.append([int(part, 16) for part in fields[0].split("-")])
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    buffer = memoryview(bytearray(1 << 20))
    began = time.perf_counter()
    for start, end in regions:
        while start < end:
            start += os.preadv(memory, [buffer[:end - start]], start)
    elapsed_s = time.perf_counter() - began
    os.close(memory)
    return elapsed_s

pid, asked, runs = int(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
parameters = load_parameters(MODULE, asked)
rounds = []
for _ in range(runs + 1):
    plain_s = plain(pid)
    began = time.perf_counter()
    result = MODULE.run(parameters, Context())
    rounds.append((plain_s, time.perf_counter() - began))
    assert not result.foundanything, result
print(json.dumps({
    "rounds": rounds[1:], "first": rounds[0], "read": result.statistics["memoryread"],
    "peak_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
}))
"""

CASES: list[tuple[str, dict[str, Any], float]] = [
    ("bytes", {"bytes": [b"never-there-42".hex()]}, 2.0),
    ("bytes, eight", {"bytes": ["deadbeef00112233"]}, 2.0),
    ("literal", {"contents": ["never-there-42"]}, 2.0),
    ("literal, any case", {"contents": ["(?i)never-there-kernel"]}, 2.0),
    ("class first", {"contents": ["[0-9a-f]{8}-beef-[0-9a-f]{4}"]}, 2.5),
    ("class first, words", {"contents": [r"[a-z]+\d+@[a-z]+\.example"]}, 2.5),
    ("negated class first", {"contents": ["[^a]foobarbaz"]}, 2.5),
]


def measure(pid: int, asked: str, runs: int) -> dict[str, Any]:
    """What a fresh process says of both, turn by turn; a first turn, which loads libraries, is not counted."""
    ran = subprocess.run(
        [sys.executable, "-c", BOTH, str(pid), asked, str(runs)], capture_output=True, check=True, text=True
    )
    measured: dict[str, Any] = json.loads(ran.stdout)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = shutil.copy(os.path.realpath(sys.executable), f"{folder}/held")  # a name that no other process has
        held = subprocess.Popen(
            [program, "-c", HELD, str(arguments.megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHOME": sys.base_prefix},
        )
        assert held.stdout is not None
        try:
            run(int(held.stdout.readline()), f"^{program}$", arguments)
        finally:
            held.kill()
            held.wait()


def run(pid: int, name: str, arguments: argparse.Namespace) -> None:
    for case, search, goal in CASES:
        asked = json.dumps({"searches": {"s1": {**search, "names": [name], "options": {"matchall": True}}}})
        measured = measure(pid, asked, arguments.runs)
        plain_s = statistics.median(plain for plain, _ in measured["rounds"])
        ours_s = statistics.median(ours for _, ours in measured["rounds"])
        ratio = statistics.median(ours / plain for plain, ours in measured["rounds"])
        assert measured["read"] > arguments.megabytes << 20, measured
        figure(
            f"memory: {case}",
            ratio,
            against="a plain read",
            goal=goal,
            note=f"{ours_s:.3f} s of {plain_s:.3f} s, peak {measured['peak_kb'] / 1000:.0f} MB, medians of {arguments.runs}; "
            f"the first {measured['first'][1] / measured['first'][0]:.2f} x",
        )


if __name__ == "__main__":
    main()
