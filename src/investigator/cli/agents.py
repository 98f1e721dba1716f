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
    """List the agents: name, os, tags, version, last seen, status, and whether they are proven to be ours."""
    import asyncio

    asyncio.run(_list(home_folder(home), target, output))


async def _list(home: Path, target: str | None, output: Output) -> None:
    import sys
    import time

    from investigator.config import load_console
    from investigator.console.condition import compile_target
    from investigator.console.enrolled import load_fleet
    from investigator.console.heads import keep_heads
    from investigator.console.link import console_link
    from investigator.console.rules import rules_in_force
    from investigator.console.store import Store
    from investigator.console.table import broken_trust, write_agents
    from investigator.printable import printable
    from investigator.protocol.action import utc

    config = load_console(home)
    told: list[str] = []
    condition = compile_target(target, config.targets)[1] if target is not None else None
    async with console_link(config) as broker, Store(config.store) as store:
        inventory, enrolled = await load_fleet(broker, store, rules_in_force(home, told.append), config.enrolment)
        problems = await keep_heads(store, inventory)
    now = utc(time.time())
    hosts = inventory.matching(condition, now)
    rows = [enrolled.row(host, now) for host in hosts]
    told += [*enrolled.problems, *inventory.dropped, *problems, *enrolled.warnings(hosts, inventory.hosts.values())]
    for line in [*map(printable, told), *broken_trust(rows)]:
        print(f"investigator: {line}", file=sys.stderr)
    write_agents(rows, output=output.value, now=now)
