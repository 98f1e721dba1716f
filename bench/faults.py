"""What survives what: each fault of `tests/integration/fault_fleet.py` played on real processes while a fleet answers, and counted.

    python bench/faults.py                      all of them, a few minutes
    python bench/faults.py --only killed        those with this word in their names

lost: agents without an answer; double: answers beyond an agent's first; twice: runs beyond an agent's first. Seconds are from the
question to the last agent's answer in the stream, the fault and its mending included: compare with the first line. Exits 1 if
anything was lost, double or run twice, or a fault could not be played to its end.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

_TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(_TESTS / "integration"), str(_TESTS)]

from cluster_fleet import leader_of_three_brokers_killed  # noqa: E402 - likewise
from clustered import Clustered  # noqa: E402 - likewise
from fault_fleet import FAULTS, SLOW, Count, Fleet, many_come_back_at_once  # noqa: E402 - the suite's own harness

WITHIN_S = 900.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=5, help="real agent processes")
    parser.add_argument("--crowd", type=int, default=200, help="agents of one process that come back at once")
    parser.add_argument("--rounds", type=int, default=3, help="of each fault; one that takes its time is played once")
    parser.add_argument("--only", default="", metavar="WORD")
    options = parser.parse_args()
    ends_s = time.monotonic() + WITHIN_S
    print(f"{'fault':<54}{'agents':>7}{'rounds':>7}{'lost':>6}{'double':>8}{'twice':>7}{'seconds':>9}")
    good = True
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch:
        for faults, fleet in groups(Path(scratch), options):
            chosen = [fault for fault in faults if options.only in fault.__name__]
            if chosen:
                with fleet:
                    for fault in chosen:
                        good = play(fault, fleet, options.rounds, ends_s) and good
    return 0 if good else 1


def groups(folder: Path, options: argparse.Namespace) -> list[tuple[Sequence[Callable[..., Count]], Fleet]]:
    """What is played on which fleet."""
    return [
        (FAULTS, Fleet(folder / "processes", options.agents)),
        ([many_come_back_at_once], Fleet(folder / "crowd", options.crowd, in_one_process=True)),
        ([leader_of_three_brokers_killed], Fleet(folder / "cluster" / "home", options.agents, kind=Clustered)),
    ]


def play(fault: Callable[..., Count], fleet: Fleet, rounds: int, ends_s: float) -> bool:
    """One line of the table; whether nothing was lost, double or run twice."""
    counts: list[Count] = []
    name = fault.__name__.replace("_", " ")
    for _ in range(1 if fault in SLOW else rounds):
        if time.monotonic() > ends_s:
            print(f"{name:<54}not played: {WITHIN_S:.0f} s are over")
            return False
        try:
            counts.append(fault(fleet))
        except AssertionError as error:
            print(f"{name:<54}failed: {(str(error) or repr(error)).splitlines()[0]}")
            return False
    lost, double, twice = (sum(getattr(count, what) for count in counts) for what in ("lost", "double", "twice"))
    seconds = statistics.median(count.seconds for count in counts)
    print(
        f"{name:<54}{fleet.size:>7}{len(counts):>7}{lost:>6}{double:>8}{twice:>7}{seconds:>9.2f}",
        flush=True,
    )
    return not (lost or double or twice)


if __name__ == "__main__":
    sys.exit(main())
