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
    from investigator.console.passphrase import Passphrase
    from investigator.console.results import Asked

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

    from investigator.config import load_console

    config = load_console(home_folder(home))
    return asyncio.run(_results(config, action, key, show, output, follow=follow))


async def _results(
    config: ConsoleConfig, word: str, key: Path | None, show: Show, output: Output, *, follow: bool
) -> int:
    from investigator.cli.signals import stop_event
    from investigator.console.keys import quiet_signer, signer_fingerprint
    from investigator.console.link import console_link
    from investigator.console.passphrase import Passphrase
    from investigator.console.recording import Recorder
    from investigator.console.render import renderer
    from investigator.console.results import find_asked, follow_results
    from investigator.console.store import Store

    passphrase = Passphrase("the investigator's key", config.passphrase_command)
    async with console_link(config) as broker, Store(config.store) as store:
        asked = await find_asked(word, store, broker, own=_own_sealto(config, passphrase))
        private_key = _private_key(asked, config, key, passphrase)
        modules = [operation.module for operation in asked.prepared.action.operations]
        audience = renderer(output.value, show=show.value, modules=modules)
        summary = await follow_results(
            asked,
            broker,
            store,
            audience,
            private_key=private_key,
            follow=follow,
            stop=stop_event(),
            recorder=Recorder(
                broker, by=signer_fingerprint(config.signer), signer=quiet_signer(config.signer, passphrase)
            ),
        )
    _say_sealed(asked, config, summary, audience)
    return _exit_code(summary)


def _own_sealto(config: ConsoleConfig, passphrase: Passphrase) -> tuple[str, ...]:
    import base64

    from investigator.console.keys import load_sealto

    if config.sealing_key is None:
        return ()
    return (base64.b64encode(load_sealto(config.sealing_key, passphrase)).decode(),)


def _private_key(asked: Asked, config: ConsoleConfig, key: Path | None, passphrase: Passphrase) -> bytes | None:
    """The key to open answers with; no passphrase is asked for where it opens nothing of this action."""
    import base64

    from investigator.console.keys import load_sealing_key, load_sealto
    from investigator.console.passphrase import Passphrase as Another

    file, phrase = (config.sealing_key, passphrase) if key is None else (key, Another(str(key)))
    if file is None or asked.prepared.action.sealto is None:
        return None
    if base64.b64encode(load_sealto(file, phrase)).decode() != asked.prepared.action.sealto:
        return None
    return load_sealing_key(file, phrase)


def _say_sealed(asked: Asked, config: ConsoleConfig, summary: Summary, audience: Audience) -> None:
    from investigator.console.people_file import owners, read_people

    if not summary.sealed:
        return
    sealto = asked.prepared.action.sealto or ""
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
