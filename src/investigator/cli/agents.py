"""`investigator agents`: the fleet, and hosts that are no more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from investigator.cli.options import Home, Output, home_folder

app = typer.Typer(name="agents", help="The fleet.", invoke_without_command=True)


@app.callback()
def agents(
    context: typer.Context,
    home: Home = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", metavar="CONDITION", help="Only those that this target means.")
    ] = None,
    output: Annotated[Output, typer.Option(help="How to write them.")] = Output.TEXT,
) -> None:
    """List the agents: name, os, tags, version, last seen, status, whether they are proven to be ours, whose clock is off."""
    import asyncio

    if context.invoked_subcommand is not None:
        return
    asyncio.run(_list(home_folder(home), target, output))


@app.command()
def forget(
    names: Annotated[list[str], typer.Argument(metavar="AGENT", help="Agents that are no more, by id or name.")],
    force: Annotated[bool, typer.Option("--force", help="Also those that were seen in the last minutes.")] = False,
    home: Home = None,
) -> None:
    """Take hosts that are no more out of the inventory, for all consoles; their results and records stay.

    An agent that is there after all comes back with its next facts: at its next start, or when something changes on it.
    """
    import asyncio

    asyncio.run(_forget(home_folder(home), names, force=force))


async def _forget(home: Path, names: list[str], *, force: bool) -> None:
    import time

    from investigator.config import load_console
    from investigator.console.fleet import known_inventory
    from investigator.console.forgetting import chosen, forget_agent
    from investigator.console.link import console_link
    from investigator.console.store import Store
    from investigator.printable import printable
    from investigator.protocol.action import utc

    config = load_console(home)
    async with console_link(config) as broker, Store(config.store) as store:
        inventory = await known_inventory(broker, store)
        for host in chosen(inventory, names, now=utc(time.time()), force=force):
            await forget_agent(broker, store, host.id)
            print(
                f"forgot {printable(host.name)} ({host.id}), last seen {host.last_seen.isoformat(timespec='seconds')}"
            )


async def _list(home: Path, target: str | None, output: Output) -> None:
    import gc
    import sys
    import time

    from investigator.console.investigator import Investigator
    from investigator.console.table import broken_trust, write_agents
    from investigator.protocol.action import utc

    def warn(line: str) -> None:
        print(f"investigator: {line}", file=sys.stderr)

    gc.disable()  # the process ends with the list, and its rows are no garbage
    async with Investigator(home, on_warning=warn) as console:
        rows = [agent.row for agent in await console.agents(target)]
    for line in broken_trust(rows):
        warn(line)
    write_agents(rows, output=output.value, now=utc(time.time()))
