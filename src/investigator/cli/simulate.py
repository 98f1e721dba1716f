"""`investigator simulate`: what a deployment of some size needs."""

from __future__ import annotations

import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    import asyncio

    from investigator.simulation.run import Found, Simulation, Wanted

MAX_AGENTS: Final = 1_000_000


class SizingOutput(StrEnum):
    """How it is written."""

    TEXT = "text"
    JSON = "json"


def simulate(
    *,
    agents: Annotated[int, typer.Option(min=1, max=MAX_AGENTS, metavar="N", help="How many.")] = 100_000,
    stay: Annotated[
        bool, typer.Option("--stay", help="Only fill, then answer whoever asks from another terminal, until Ctrl-C.")
    ] = False,
    answer_bytes: Annotated[
        int, typer.Option(min=0, max=100_000, metavar="B", help="How much each answer holds, beside what all do.")
    ] = 300,
    found: Annotated[
        float, typer.Option(min=0.0, max=1.0, metavar="SHARE", help="How many of them find something.")
    ] = 0.01,
    output: Annotated[SizingOutput, typer.Option(help="How to write it.")] = SizingOutput.TEXT,
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            help="Keep the simulation's deployment here, in an empty folder or one that a simulation made.",
        ),
    ] = None,
) -> None:
    """Fill a broker of its own with simulated agents, ask them one question, and say what so many real ones would need."""
    import asyncio
    import logging
    import tempfile

    from investigator.simulation.run import Wanted

    logging.getLogger("investigator.broker").setLevel(logging.ERROR)  # its broker is restarted, as it should be
    wanted = Wanted(agents=agents, answer_bytes=answer_bytes, found=found)
    if home is not None:
        asyncio.run(_simulate(home.absolute(), wanted, stay=stay, output=output))
        return
    with tempfile.TemporaryDirectory(prefix="investigator-simulate-") as scratch:
        asyncio.run(_simulate(Path(scratch) / "home", wanted, stay=stay, output=output))


async def _simulate(home: Path, wanted: Wanted, *, stay: bool, output: SizingOutput) -> None:
    """Until it is over, or Ctrl-C or SIGTERM: then what was made is taken away just the same."""
    import asyncio

    from investigator.cli.signals import stop_event
    from investigator.simulation.run import Simulation

    stop, progress = stop_event(), _Progress()
    stopping = asyncio.create_task(stop.wait())
    working = asyncio.create_task(_work(Simulation(home, wanted, progress), stop, progress, stay=stay))
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done() and not stay:
            working.cancel()
        found = await working
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        progress.end()
        stopping.cancel()
    if found is not None:
        _tell(found, output)


async def _work(simulation: Simulation, stop: asyncio.Event, progress: _Progress, *, stay: bool) -> Found | None:
    async with simulation:
        if not stay:
            return await simulation.run()
        await simulation.fill(stop)
        progress.end()
        if not stop.is_set():
            print(f"{simulation.wanted.agents:,} simulated agents are there; ask them from another terminal:")
            print(f"export INVESTIGATOR_HOME={shlex.quote(str(simulation.home))}")
            print("investigator run -t all -e 10m file -path /etc -name '^passwd$'", flush=True)
        await simulation.live(stop, lambda line: print(line, flush=True))
    return None


def _tell(found: Found, output: SizingOutput) -> None:
    from investigator.simulation.render import as_json, lines

    if output is SizingOutput.JSON:
        from investigator.console.render_parts import json_text

        print(json_text(as_json(found)))
    else:
        print("\n".join(lines(found)))


class _Progress:
    """One line on a terminal that is written over; elsewhere a line for each new thing."""

    def __init__(self) -> None:
        self._shown = ""
        self._on_terminal = sys.stderr.isatty()

    def __call__(self, line: str) -> None:
        what = line.partition(":")[0]
        if self._on_terminal:
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        elif what != self._shown:
            print(what, file=sys.stderr, flush=True)
        self._shown = what

    def end(self) -> None:
        """Take the line away."""
        if self._on_terminal and self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
