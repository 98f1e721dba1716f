"""`investigator status`: is this deployment well? With agents' names or a target: how do these fare?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from investigator.cli.options import Home, home_folder
from investigator.errors import BadInput

NEEDS_CARE: Final = 7
MAX_AGENTS: Final = 200


class StatusOutput(StrEnum):
    """How it is written."""

    TEXT = "text"
    JSON = "json"
    PROMETHEUS = "prometheus"


def status(  # noqa: PLR0917 - what can be typed
    agents: Annotated[
        list[str] | None, typer.Argument(metavar="[AGENT]...", help="Agents by name or id, instead of the deployment.")
    ] = None,
    target: Annotated[
        str, typer.Option("--target", "-t", metavar="TARGET", help="Agents by a condition, as `run -t` takes it.")
    ] = "",
    output: Annotated[StatusOutput, typer.Option(help="How to write it.")] = StatusOutput.TEXT,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="The same as --output prometheus.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Replace this file with it, as node_exporter's reader needs."),
    ] = None,
    home: Home = None,
) -> int:
    """Say whether broker, streams, services, certificates and agents are well, what needs care first.

    Leaves with 0 when all is well, with 7 when something needs care, and with 4 when the broker does not answer.

    With agents, these are asked by a signed action (the module `status`) and answer for themselves, as `run` shows it.
    """
    import asyncio

    from investigator.cli.files import write_out
    from investigator.config import load_console
    from investigator.console.render_parts import json_text
    from investigator.console.render_status import status_json, status_lines
    from investigator.console.status import ask_status
    from investigator.console.status_page import status_page

    if prometheus:
        output = StatusOutput.PROMETHEUS
    folder = home_folder(home)
    if agents or target:
        if output is StatusOutput.PROMETHEUS or out is not None:
            raise BadInput(
                "--prometheus and --out tell of the deployment, not of agents",
                hint="On its host, `investigator agent status --prometheus` tells of one.",
            )
        return _ask_agents(agents or [], target, output, folder)
    found = asyncio.run(ask_status(folder, load_console(folder)))
    match output:
        case StatusOutput.JSON:
            text = json_text(status_json(found)) + "\n"
        case StatusOutput.PROMETHEUS:
            text = status_page(found)
        case StatusOutput.TEXT:
            text = "\n".join(status_lines(found)) + "\n"
    write_out(text, out)
    if not found.answers:
        return 4
    return NEEDS_CARE if found.care else 0


def _ask_agents(agents: list[str], target: str, output: StatusOutput, home: Path) -> int:
    """`investigator run -t … status`, by names or by a condition."""
    from investigator.cli.request import parse_run
    from investigator.cli.run import ask

    if agents and target:
        raise BadInput("agents by name, or by --target: one of the two")
    words = ["-t", target or named(agents), "-output", output.value, "-home", str(home), "status"]
    return ask(parse_run(words, prog="investigator status"))


def named(agents: list[str]) -> str:
    """The condition that means agents of these names or ids.

    Raises:
        BadInput: too many for one.
    """
    if len(agents) > MAX_AGENTS:
        raise BadInput(f"{len(agents):,} agents; {MAX_AGENTS} at most, --target takes a condition")
    listed = ", ".join("'{}'".format(agent.replace("'", "''")) for agent in agents)
    return f"name IN ({listed}) OR id IN ({listed})"
