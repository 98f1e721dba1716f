"""What an agent costs its host while nobody asks anything: memory, processor time, wake-ups, all its processes together.

    .venv/bin/python bench/idle.py [--seconds 40] [--settle 12]

A real agent beside a real broker, with the settings that `investigator init` writes, but that the fork server goes when it had
nothing to do for 20 s, not 300 (`module_warm_s`). `warm` is before that, the rest after it. Memory is PSS: of pages that others map
too, Python's and OpenSSL's, a part, so that it is less the more programs in Python run here. What is theirs alone is told beside it. A wake-up is a voluntary context switch of any thread:
it slept, and there was something to do.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from figures import figure
from lone_agent import family, lone_agent, private_mb, pss_mb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--settle", type=float, default=12.0, help="seconds after it connected before measuring")
    options = parser.parse_args()
    with lone_agent(settings="module_warm_s = 20\n") as (_, agent):
        time.sleep(options.settle)
        warm = family(agent)
        memory = [pss_mb(pid) for pid in warm]
        figure("idle.warm_pss", sum(memory), unit="MB", note=f"agent, fork server: {numbers(memory, '.1f')}")
        give_up_s = time.monotonic() + 60
        while len(family(agent)) > 1 and time.monotonic() < give_up_s:
            time.sleep(0.5)
        time.sleep(options.settle)
        report(family(agent), options.seconds)


def report(pids: list[int], seconds: float) -> None:
    """The figures of an agent and what it started."""
    before, began = [spent(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - began
    after = [spent(pid) for pid in pids]
    memory = [pss_mb(pid) for pid in pids]
    figure("idle.pss", sum(memory), unit="MB", goal=40, note=f"of {len(pids)} process: {numbers(memory, '.1f')}")
    private = [private_mb(pid) for pid in pids]
    figure("idle.private", sum(private), unit="MB", note=f"of it theirs alone: {numbers(private, '.1f')}")
    cpu = [100 * (one[0] - other[0]) / took_s for one, other in zip(after, before, strict=True)]
    figure("idle.cpu", sum(cpu), unit="%", goal=0.1, note=f"of a processor, over {took_s:.0f} s: {numbers(cpu, '.4f')}")
    wakes = [(one[1] - other[1]) / took_s for one, other in zip(after, before, strict=True)]
    figure("idle.wakeups", sum(wakes), unit="/s", goal=0.2, note=f"over {took_s:.0f} s: {numbers(wakes, '.3f')}")


def numbers(values: list[float], form: str) -> str:
    return " + ".join(format(value, form) for value in values)


def spent(pid: int) -> tuple[float, int]:
    """Processor seconds, and voluntary context switches, of all its threads."""
    cpu_ns = switches = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        cpu_ns += int((task / "schedstat").read_text().split()[0])
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                switches += int(line.split()[1])
    return cpu_ns / 1e9, switches


if __name__ == "__main__":
    main()
