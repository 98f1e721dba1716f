"""`investigator alerts`: what persistent modules noticed, until somebody acknowledges it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from investigator.cli.options import Home, Output, home_folder
from investigator.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from investigator.console.alerts import Wanted

INTERRUPTED = 130


class AtLeast(StrEnum):
    """The severities, from the least."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


def alerts(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay, and show what comes, until Ctrl-C.")] = False,
    ack: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID|all",
            help="Acknowledge: nobody sees it any more. An id's start is enough; may be given again. `all` is all that the other options leave.",
        ),
    ] = None,
    agent: Annotated[str, typer.Option(metavar="AGENT", help="Only this agent's, by id or name.")] = "",
    module: Annotated[str, typer.Option(metavar="NAME", help="Only this module's.")] = "",
    severity: Annotated[AtLeast, typer.Option(help="Only these and worse.")] = AtLeast.LOW,
    output: Annotated[Output, typer.Option(help="How to write them.")] = Output.TEXT,
    home: Home = None,
) -> int:
    """Show the alerts that nobody has acknowledged, oldest first: id, time, severity, agent, module, what.

    Alerts that were raised together have one id, and are acknowledged together. With --ack those are shown that are.
    Leaves with 130 after Ctrl-C, and with 3 where a message in the stream is no agent's alert.
    """
    import asyncio

    from investigator.console.alerts import Wanted

    if follow and ack:
        raise BadInput("--follow shows what comes, --ack ends what was shown: one at a time")
    wanted = Wanted(agent=agent, module=module, severity=severity.value)
    return asyncio.run(_alerts(home_folder(home), wanted, ids=ack or (), follow=follow, output=output))


async def _alerts(home: Path, wanted: Wanted, *, ids: Sequence[str], follow: bool, output: Output) -> int:
    import sys

    from investigator.cli.signals import stop_event
    from investigator.config import load_console
    from investigator.console.alerts import AlertReader, chosen, take_out
    from investigator.console.fleet import Believed
    from investigator.console.link import console_link
    from investigator.console.render_alerts import AlertWriter
    from investigator.console.rules import rules_in_force
    from investigator.console.session import Session
    from investigator.console.store import Store
    from investigator.errors import Refused
    from investigator.printable import printable

    config = load_console(home)
    warned = False

    def warn(text: str) -> None:
        nonlocal warned
        warned = True
        print(f"investigator: {printable(text)}", file=sys.stderr)

    async with console_link(config) as broker, Store(config.store) as store:
        believed = Believed(Session(broker, store, rules_in_force(home, warn), config.enrolment))
        reader = AlertReader(broker, wanted, known=await store.acknowledged(), warn=warn, why_not=believed.why_not)
        if follow:
            with AlertWriter(output.value) as writer:
                async for kept in reader.follow(stop_event()):
                    writer.write(kept, kept.alerts(wanted))
            return INTERRUPTED
        letters = [kept async for kept in reader.waiting()]
        with AlertWriter(output.value) as writer:
            for kept in chosen(letters, ids) if ids else letters:
                if ids:
                    await take_out(broker, kept)
                    await store.acknowledge(kept.id)
                writer.write(kept, kept.letter.alerts if ids else kept.alerts(wanted))
    return Refused.exit_code if warned else 0
