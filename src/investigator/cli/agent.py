"""`investigator agent`: the agent of this host, in the foreground."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from investigator.cli.options import Home, home_folder
from investigator.errors import BadInput


def agent(
    home: Home = None,
    name: Annotated[str, typer.Option(metavar="N", help="This agent's name, instead of the host's.")] = "",
    tag: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A tag beside those of agent.toml; may be given again.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its key and ledger are; default: in the deployment.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what happens.")] = False,
) -> None:
    """Run this host's agent until Ctrl-C or SIGTERM."""
    import asyncio

    from investigator.agent.main import serve

    asyncio.run(serve(home_folder(home), name=name, tags=_tags(tag or []), state=state, verbose=verbose))


def _tags(pairs: list[str]) -> dict[str, str]:
    tags = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise BadInput(f"--tag {pair!r}: not of the form key=value")
        tags[key] = value
    return tags
