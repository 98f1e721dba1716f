"""`investigator results`: an action's answers again, later or elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from investigator.cli.options import Home, Output, home_folder
from investigator.errors import Incomplete, Refused

if TYPE_CHECKING:
    from investigator.config import ConsoleConfig
    from investigator.console.audience import Audience, Summary
    from investigator.console.author import Author
    from investigator.protocol.action import Action

INTERRUPTED = 130


class Show(StrEnum):
    """Which agents' results."""

    FOUND = "found"
    NOTFOUND = "notfound"
    ALL = "all"


def results(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="An id, the start of one, or `last`.")],
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Stay until the action expires, also for agents that are away.")
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The private key that opens them, where it is not this console's own."),
    ] = None,
    show: Annotated[Show, typer.Option("--show", help="Which agents' results.")] = Show.FOUND,
    output: Annotated[Output, typer.Option(help="How to write them.")] = Output.TEXT,
    home: Home = None,
) -> int:
    """Show what came of an action: what `run` showed, and what came since.

    Leaves with 0 if every targeted agent answered, with 6 if some did not, with 3 if answers are sealed to a key that is not
    at hand, and with 130 after Ctrl-C.
    """
    import asyncio

    from investigator.cli.console_log import console_log
    from investigator.config import load_console

    config = load_console(home_folder(home))
    with console_log(config):
        return asyncio.run(_results(home_folder(home), config, action, key, show, output, follow=follow))


async def _results(  # noqa: PLR0917 - what was typed
    home: Path, config: ConsoleConfig, word: str, key: Path | None, show: Show, output: Output, *, follow: bool
) -> int:
    from investigator.cli.signals import stop_event
    from investigator.console.author import Author
    from investigator.console.investigator import Investigator
    from investigator.console.passphrase import Passphrase
    from investigator.console.render import renderer

    author = Author(home, config, Passphrase("the investigator's key", config.passphrase_command))
    opener = author if key is None else _with_key(author, key)
    async with Investigator(author=author) as console:
        investigation = await console.results(word, follow=follow, key=opener.key_for)
        opener.key_for(investigation.action)  # a person who is asked for its passphrase can still leave with Ctrl-C
        modules = [operation.module for operation in investigation.action.operations]
        audience = renderer(output.value, show=show.value, modules=modules)
        summary = await investigation.follow(audience, stop_event())
    _say_sealed(investigation.action, config, summary, audience)
    return _exit_code(summary)


def _with_key(author: Author, key: Path) -> Author:
    """The same, who opens results with another key."""
    import msgspec

    from investigator.console.author import Author
    from investigator.console.passphrase import Passphrase

    return Author(author.home, msgspec.structs.replace(author.config, sealing_key=key), Passphrase(str(key)))


def _say_sealed(action: Action, config: ConsoleConfig, summary: Summary, audience: Audience) -> None:
    from investigator.console.people_file import owners, read_people

    if not summary.sealed:
        return
    sealto = action.sealto or ""
    owner = owners(read_people(config.people)).get(sealto)
    whose = f"{owner}'s key {sealto}" if owner else f"a key that nobody here is known by: {sealto}"
    agents = "agent has" if summary.sealed == 1 else "agents have"
    audience.warn(f"{summary.sealed} {agents} answered; the answers are sealed to {whose}; --key FILE opens them")


def _exit_code(summary: Summary) -> int:
    if summary.interrupted:
        return INTERRUPTED
    if summary.sealed:
        return Refused.exit_code
    answered = summary.states.get("found", 0) + summary.states.get("notfound", 0)
    return 0 if answered == summary.targeted else Incomplete.exit_code
