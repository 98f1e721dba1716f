"""One real broker and one real agent beside it, as `investigator init` makes them, for benches of what an agent costs."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from investigator.console.deployment import create_deployment
from investigator.program import own_command


@contextlib.contextmanager
def lone_agent(*words: str, settings: str = "") -> Iterator[tuple[Path, int]]:
    """The deployment's home, and the agent's process id once it is connected.

    `words` go on its command line, `settings` into its agent.toml.
    """
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch, contextlib.ExitStack() as stack:
        home = Path(scratch) / "home"
        create_deployment(home, port=0, passphrase=None)
        (home / "agent.toml").write_text(settings + (home / "agent.toml").read_text())
        environment = {**os.environ, "INVESTIGATOR_HOME": str(home)}
        stack.enter_context(_process([*own_command(), "broker"], environment, until="broker ready"))
        command = [*own_command(), "agent", "--name", "alone", *words]
        yield home, stack.enter_context(_process(command, environment, until="connected"))


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str], *, until: str) -> Iterator[int]:
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            assert child.stdout is not None
            if not any(until in line.decode() for line in child.stdout):
                sys.exit(f"{command!r} ended without saying {until!r}")
            yield child.pid
        finally:
            child.terminate()


def family(pid: int) -> list[int]:
    """The process and all below it, itself first."""
    found = [pid]
    for one in found:
        for task in os.listdir(f"/proc/{one}/task"):
            found += map(int, Path(f"/proc/{one}/task/{task}/children").read_text().split())
    return found


def private_mb(pid: int) -> float:
    """What it alone holds of the memory, in millions of bytes: the part that does not depend on who else runs here."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Private_")) * 1024 / 1e6


def pss_mb(pid: int) -> float:
    """What it holds of the memory, in millions of bytes: pages that others map too count in parts."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024 / 1e6
