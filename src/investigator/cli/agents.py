"""`investigator agents`: the fleet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from investigator.cli.options import Home, Output, home_folder


def agents(
    home: Home = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="CONDITION", help="Only those that this target means.")
    ] = None,
    output: Annotated[Output, typer.Option(help="How to write them.")] = Output.TEXT,
) -> None:
    """List the agents: name, os, tags, version, last seen, status."""
    import asyncio

    asyncio.run(_list(home_folder(home), target, output))


async def _list(home: Path, target: str | None, output: Output) -> None:
    import sys
    import time

    from investigator.console.investigator import Investigator
    from investigator.console.table import broken_trust, write_agents
    from investigator.protocol.action import utc

    def warn(line: str) -> None:
        print(f"investigator: {line}", file=sys.stderr)

    async with Investigator(home, on_warning=warn) as console:
        rows = [agent.row for agent in await console.agents(target)]
    for line in broken_trust(rows):
        warn(line)
    write_agents(rows, output=output.value, now=utc(time.time()))
