"""`investigator agent`: the agent of this host, in the foreground; and how the one that runs here fares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from investigator.cli.light import LightCommand, LightGroup
from investigator.cli.options import Home, home_folder
from investigator.errors import BadInput

app = typer.Typer(name="agent", cls=LightGroup, invoke_without_command=True)
State = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where its key and ledger are; default: in the deployment.")
]
Name = Annotated[str, typer.Option(metavar="N", help="This agent's name, instead of the host's.")]


@app.callback()
def agent(  # noqa: PLR0917 - what can be typed
    ctx: typer.Context,
    home: Home = None,
    name: Name = "",
    tag: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A tag beside those of agent.toml; may be given again.")
    ] = None,
    state: State = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more of what happens.")] = False,
) -> None:
    """Run this host's agent until Ctrl-C or SIGTERM."""
    import asyncio

    if ctx.invoked_subcommand is not None:
        return
    from investigator.agent.main import serve

    asyncio.run(serve(home_folder(home), name=name, tags=_tags(tag or []), state=state, verbose=verbose))


@app.command("status", cls=LightCommand)
def status(  # noqa: PLR0917 - likewise
    home: Home = None,
    name: Name = "",
    state: State = None,
    prometheus: Annotated[bool, typer.Option("--prometheus", help="As Prometheus' text format.")] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Replace this file with it at once, as node_exporter's textfile reader needs.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Ask the agent that runs on this host how it fares: no broker, no key; for the user whose agent it is, and root."""
    from investigator.agent.status_page import read_report, report_page
    from investigator.agent.status_socket import ask_agent
    from investigator.cli.files import write_out
    from investigator.modules.status.report import report_lines

    if prometheus and json:
        raise BadInput("--prometheus and --json: one of the two")
    raw = ask_agent(state or _state_folder(home_folder(home), name))
    report = read_report(raw)
    if prometheus:
        text = report_page(report)
    elif json:
        text = raw.decode() + "\n"
    else:
        from investigator.printable import printable

        text = "".join(f"{printable(line)}\n" for line in report_lines(report))
    write_out(text, output)


def _state_folder(home: Path, name: str) -> Path:
    """The agent's of that name, by default of the name that it would have if it were started so."""
    from investigator.agent.facts import host_name
    from investigator.agent.main import state_folder
    from investigator.config import load_agent

    return state_folder(home, name or load_agent(home).name or host_name())


def _tags(pairs: list[str]) -> dict[str, str]:
    tags = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise BadInput(f"--tag {pair!r}: not of the form key=value")
        tags[key] = value
    return tags
