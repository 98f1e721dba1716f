"""`investigator actions`: what was asked, by everybody."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from investigator.cli.options import Home, Output, home_folder


def actions(
    everything: Annotated[bool, typer.Option("--all", help="Everything on record, however old.")] = False,
    output: Annotated[Output, typer.Option(help="How to write them.")] = Output.TEXT,
    home: Home = None,
) -> None:
    """List what was asked, by everybody, oldest first: when, by whom, modules, target, how it stands.

    Of the last seven days, and what is valid still. Who asked is told by signatures that this console's keyring verifies;
    where none does, UNVERIFIED stands in the place of a name, with the reason.
    """
    import asyncio

    asyncio.run(_list(home_folder(home), output, everything=everything))


async def _list(home: Path, output: Output, *, everything: bool) -> None:
    import sys
    import time

    from investigator.config import load_console
    from investigator.console.link import console_link
    from investigator.console.recorded import load_signatures, recorded_actions
    from investigator.console.render_records import write_actions
    from investigator.console.store import Store
    from investigator.protocol.action import utc

    config, now_s = load_console(home), time.time()
    signatures = load_signatures(home, now_s=now_s)
    async with console_link(config) as broker, Store(config.store) as store:
        lines, problems = await recorded_actions(store, broker, signatures, now=utc(now_s), everything=everything)
    for problem in problems:
        print(f"investigator: {problem}", file=sys.stderr)
    write_actions(lines, output=output.value)
