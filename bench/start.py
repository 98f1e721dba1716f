"""What starting costs: the command line, the zipapp, an agent until it is connected; and how large the files are.

    .venv/bin/python bench/start.py [--quick] [--runs 21] [--zipapp dist/investigator.pyz]

Each ratio is against a reference measured in the same run, starts interleaved so that a busy machine slows both. The agent
is a real one, enrolled before, and connects to a real broker by TLS: from exec to its line `connected`, which it says when it has
subscribed, told its facts and asked for what it missed. Without --zipapp the files are built first, in a scratch folder.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from figures import figure
from lone_agent import lone_agent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
PROGRAM = [str(Path(sys.executable).with_name("investigator"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--zipapp", type=Path, help="one that is there, instead of building it")
    arguments = parser.parse_args()
    runs = 11 if arguments.quick else arguments.runs
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch:
        zipapp = (arguments.zipapp or build(Path(scratch))).absolute()
        sizes(zipapp, build(Path(scratch), "--agent-only"))
        environment = {**os.environ, "XDG_CACHE_HOME": scratch}  # root's zipapp ignores it, and unpacks under /var/lib
        help_and_version(zipapp, environment, runs)
        agents(zipapp, environment, max(5, runs // 3))


def build(folder: Path, *words: str) -> Path:
    """A zipapp for all versions."""
    path = folder / ("-".join(["investigator", *words]) + ".pyz")
    command = [sys.executable, str(ROOT / "tools/zipapp.py"), *words, "--output", str(path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def sizes(zipapp: Path, agent_only: Path) -> None:
    """What each file weighs; for one version it is what all share and the largest version's own part."""
    shared, own = parts(zipapp)
    if len(own) > 1:
        figure("size.all", zipapp.stat().st_size / 1e6, unit="MB", goal=60, note=f"for {len(own)} CPython versions")
    figure("size.one", (shared + max(own.values())) / 1e6, unit="MB", goal=35, note="for one version")
    figure("size.agent", agent_only.stat().st_size / 1e6, unit="MB", goal=25, note="agent only, for all versions")


def parts(zipapp: Path) -> tuple[int, dict[str, int]]:
    """Bytes that all versions share, and those of each version beside them."""
    own: dict[str, int] = {}
    with zipfile.ZipFile(zipapp) as archive:
        for entry in archive.infolist():
            folder = entry.filename.partition("/")[0]
            if folder.startswith("site-packages-"):
                for version in folder.split("-")[2:]:
                    own[version] = own.get(version, 0) + entry.compress_size
    return zipapp.stat().st_size - sum(own.values()), own or {"": 0}


def help_and_version(zipapp: Path, environment: Mapping[str, str], runs: int) -> None:
    """`--help` above the bare interpreter, and from the warm zipapp."""
    start = [sys.executable, "-sES", str(zipapp), "--help"]
    first_s = seconds(start, environment)
    commands = {"interpreter": [sys.executable, "-c", "pass"], "installed": [*PROGRAM, "--help"], "zipapp": start}
    median = medians(commands, runs, lambda command: seconds(command, environment))
    bare, installed = median["interpreter"], median["installed"]
    note = f"{installed * 1e3:.0f} ms beside {bare * 1e3:.0f} ms, medians of {runs}"
    figure("start.help", (installed - bare) * 1e3, unit="ms", goal=100, note=f"above the bare interpreter: {note}")
    figure("start.zipapp", median["zipapp"] / installed, against="installed", goal=1.5, note="--help, unpacked before")
    figure("start.zipapp_first", first_s, unit="s", note="--help, unpacking first where it was not yet")


def agents(zipapp: Path, environment: Mapping[str, str], runs: int) -> None:
    """An agent from exec to connected."""
    with lone_agent() as (home, _), tempfile.TemporaryDirectory(prefix="investigator-bench-") as states:
        environment = {**environment, "INVESTIGATOR_HOME": str(home)}
        programs = {"installed": PROGRAM, "zipapp": [sys.executable, "-sES", str(zipapp)]}
        commands = {
            name: [*program, "agent", "--name", name, "--state", f"{states}/{name}"]
            for name, program in programs.items()
        }
        for command in commands.values():
            connected(command, environment)  # enrols it, and compiles what is imported
        median = medians(commands, runs, lambda command: connected(command, environment))
    note = f"from exec to connected by TLS, median of {runs}"
    figure("start.agent", median["installed"], unit="s", goal=0.5, note=note)
    figure("start.agent_zipapp", median["zipapp"] / median["installed"], against="installed", goal=1.5)


def medians(
    commands: Mapping[str, Sequence[str]], runs: int, measure: Callable[[Sequence[str]], float]
) -> dict[str, float]:
    """Median seconds of each, after one round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, command in commands.items():
            took_s = measure(command)
            if number:
                taken[name].append(took_s)
    return {name: statistics.median(values) for name, values in taken.items()}


def seconds(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """How long the command takes."""
    start = time.perf_counter()
    subprocess.run(command, env=dict(environment), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def connected(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """How long it takes until it says that it is connected; it is ended then."""
    start = time.perf_counter()
    with subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        line = agent.stdout.readline()
        took_s = time.perf_counter() - start
        agent.terminate()
    if "connected" not in line:
        sys.exit(f"{command!r} said {line!r}")
    return took_s


if __name__ == "__main__":
    main()
