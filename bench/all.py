"""All benches one after another, one table, and what became slower than it was.

    make bench                                  prints the table, and writes it to build/bench.md; about seven minutes
    .venv/bin/python bench/all.py --record      also makes it the one of docs/performance.md and of bench/recorded.json
    .venv/bin/python bench/all.py --only file,memory

Exit code 1: a bench failed, or a ratio is more than 1.3 times the recorded one. Goals that are missed are named; whether the
recorded run missed them too is for docs/performance.md to say. Ratios come first, because they hold on other machines.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from figures import VARIABLE, Figure

HERE: Final = Path(__file__).resolve().parent
RECORDED: Final = HERE / "recorded.json"
PAGE: Final = HERE.parent / "docs" / "performance.md"
TABLE: Final = HERE.parent / "build" / "bench.md"
WITHIN_S: Final = 600.0
WORSE: Final = 1.3
MARKS: Final = ("<!-- table: bench/all.py writes it -->", "<!-- end of the table -->")
PARTS: Final = (
    "fleet.py --quick",
    "console.py --quick",
    "inventory.py --quick",
    "reconnect.py --quick",
    "simulate.py",
    "limits.py --seconds 1.5",
    "idle.py",
    "soak.py --quick",
    "start.py --quick",
    "watching.py",
    "file.py",
    "memory.py",
    "netstat.py",
    "pkg.py",
    "process.py",
    "scribe.py",
    "yara.py",
    "pgp.py 0.2",
    "tls.py 200",
    "credentials.py --users 300 --runs 3",
)


class Recorded(msgspec.Struct, frozen=True):
    """A run to compare with."""

    date: str
    machine: str
    figures: list[Figure]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NAMES", help="these benches, by comma")
    parser.add_argument("--record", action="store_true", help="make this run the one to compare with")
    options = parser.parse_args()
    only = {name.removesuffix(".py") for name in options.only.split(",") if name}
    parts = [part.split() for part in PARTS if not only or part.split()[0].removesuffix(".py") in only]
    if not parts:
        parser.error(f"no bench of these: {options.only}")
    found, failed = run_all(parts)
    before = msgspec.json.decode(RECORDED.read_bytes(), type=Recorded) if RECORDED.exists() else None
    now = Recorded(date=f"{dt.datetime.now(tz=dt.UTC).date()}", machine=machine(), figures=found)
    table = "\n".join(rows(found, {one.name: one for one in before.figures} if before else {}))
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(f"{now.machine}, {now.date}\n\n{table}\n")
    print(f"\n{table}\n\n{TABLE}")
    slower = regressions(found, before)
    for line in (*slower, *(f"{name}: failed" for name in failed)):
        print(line)
    if options.record and not failed:
        record(now, before, table, whole=not only)
    return 1 if slower or failed else 0


def run_all(parts: Sequence[Sequence[str]]) -> tuple[list[Figure], list[str]]:
    """What all of them found, and which failed."""
    ends_s = time.monotonic() + WITHIN_S
    failed = []
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as folder:
        records = Path(folder, "figures")
        records.touch()
        environment = {**os.environ, VARIABLE: str(records)}
        for script, *words in parts:
            print(f"--- {script} {' '.join(words)}".rstrip(), flush=True)
            began_s = time.monotonic()
            command = [sys.executable, str(HERE / script), *words]
            try:
                ran = subprocess.run(command, env=environment, check=False, timeout=max(1.0, ends_s - began_s))
                failed += [script] if ran.returncode else []
            except subprocess.TimeoutExpired:
                failed.append(f"{script} (the {WITHIN_S:.0f} s of all were over)")
            print(f"    {time.monotonic() - began_s:.0f} s", flush=True)
        return [msgspec.json.decode(line, type=Figure) for line in records.read_bytes().splitlines()], failed


def rows(figures: Iterable[Figure], before: Mapping[str, Figure]) -> Iterable[str]:
    """A table in Markdown: ratios, then what has a unit of its own."""
    yield "| figure | value | goal | recorded | of what |"
    yield "|---|---:|---:|---:|---|"
    for one in sorted(figures, key=lambda one: one.unit != "x"):
        old = before.get(one.name)
        limit = "≤" if one.better == "lower" else "≥"
        goal = "" if one.goal is None else f"{limit} {one.goal:g}{'' if one.met else ' **missed**'}"
        against = f"against {one.against}; " if one.against else ""
        yield (
            f"| {one.name} | {value(one)} | {goal} | {value(old) if old else ''} | {(against + one.note).rstrip('; ')} |"
        )


def value(one: Figure) -> str:
    """With its unit."""
    number = f"{one.value:,.0f}" if abs(one.value) >= 1000 else f"{one.value:.3g}"
    return f"{number} {'×' if one.unit == 'x' else one.unit}".rstrip()


def regressions(figures: Iterable[Figure], before: Recorded | None) -> list[str]:
    """A line for each ratio that is worse than the recorded one by more than noise."""
    old = {one.name: one for one in before.figures} if before else {}
    found = []
    for one in figures:
        was = old.get(one.name)
        if was is None or one.unit != "x" or was.unit != "x":
            continue
        worse = one.value / was.value if one.better == "lower" else was.value / one.value
        if worse > WORSE:
            found.append(f"SLOWER {one.name}: {value(one)}, {worse:.2f} times the recorded {value(was)}")
    return found


def record(now: Recorded, before: Recorded | None, table: str, *, whole: bool) -> None:
    """Into bench/recorded.json; of a whole run also the page's table."""
    if not whole and before is not None:
        new = {one.name: one for one in now.figures}
        kept = [new.pop(one.name, one) for one in before.figures]
        now = Recorded(now.date, now.machine, [*kept, *new.values()])
    RECORDED.write_bytes(msgspec.json.format(msgspec.json.encode(now), indent=1) + b"\n")
    if whole:
        page = PAGE.read_text()
        head, _, rest = page.partition(MARKS[0])
        _, _, tail = rest.partition(MARKS[1])
        PAGE.write_text(f"{head}{MARKS[0]}\n{now.machine}, {now.date}.\n\n{table}\n{MARKS[1]}{tail}")


def machine() -> str:
    """What it ran on."""
    with open("/proc/meminfo") as memory, open("/proc/cpuinfo") as processors:
        total_gib = int(memory.readline().split()[1]) / (1 << 20)
        model = next((line.partition(":")[2].strip() for line in processors if line.startswith("model name")), "")
    system = f"{platform.system()} {platform.release()}, CPython {platform.python_version()}"
    return f"{os.cpu_count()} × {model or platform.machine()}, {total_gib:.0f} GiB, {system}"


if __name__ == "__main__":
    sys.exit(main())
