"""`investigator target`: explain a target without sending anything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from investigator.cli.options import Home, Output, home_folder

if TYPE_CHECKING:
    from investigator.protocol.target import Condition

MAX_ROW_BYTES: Final = 1 << 20


def target(
    condition: Annotated[str, typer.Argument(metavar="CONDITION", help="A SQL condition over the agents table.")],
    rows: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Judge these rows (an object per line, the columns as keys), not the fleet's."
        ),
    ] = None,
    output: Annotated[Output, typer.Option(help="How to write it; text or json.")] = Output.TEXT,
    home: Home = None,
) -> None:
    """Explain a target: what agents obey, the subjects that it goes to, and the agents that it means."""
    from investigator.console.condition import compile_target
    from investigator.errors import BadInput
    from investigator.protocol.subjects import route_subject
    from investigator.protocol.target import routes

    if output not in (Output.TEXT, Output.JSON):
        raise BadInput(f"--output {output.value}: a target is explained as text or json")
    folder = home_folder(home)
    tree, compiled = compile_target(condition, _macros(folder, needed=rows is None))
    subjects = [route_subject(route) for route in routes(compiled)]
    agents = _in_file(rows, compiled) if rows is not None else _in_fleet(folder, compiled)
    _write(tree, subjects, agents, output)


def _macros(home: Path, *, needed: bool) -> dict[str, str]:
    """The configuration's macros; where only rows are judged, none is needed."""
    from investigator.config import CONSOLE_FILE, load_console

    return load_console(home).targets if needed or (home / CONSOLE_FILE).exists() else {}


def _in_file(path: Path, condition: Condition) -> list[tuple[str, str]]:
    """(id, name) of the rows for which the condition holds; a row without an id is called by its line."""
    from investigator.protocol.action import utc
    from investigator.protocol.target import judge

    now = utc(time.time())
    return [
        (str(row.get("id") or f"line {number}"), str(row.get("name") or ""))
        for number, row in _read_rows(path)
        if judge(condition, row, now) is True
    ]


def _read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    from investigator.errors import BadInput
    from investigator.protocol.codec import strict_loads
    from investigator.protocol.target import row_from_json

    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                what = f"{path}, line {number}"
                value = strict_loads(line, what=what, max_bytes=MAX_ROW_BYTES)
                try:
                    yield number, row_from_json(value)
                except BadInput as error:
                    raise BadInput(f"{what}: {error}") from None
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None


def _in_fleet(home: Path, condition: Condition) -> list[tuple[str, str]]:
    import asyncio

    return asyncio.run(_ask_inventory(home, condition))


async def _ask_inventory(home: Path, condition: Condition) -> list[tuple[str, str]]:
    from investigator.config import load_console
    from investigator.console.fleet import load_fleet
    from investigator.console.link import console_link
    from investigator.console.rules import rules_in_force
    from investigator.console.session import Session
    from investigator.console.store import Store
    from investigator.protocol.action import utc

    config = load_console(home)
    async with console_link(config) as broker, Store(config.store) as store:
        fleet = await load_fleet(Session(broker, store, rules_in_force(home, _warn), config.enrolment))
    return [(host.id, host.name) for host in fleet.counted(fleet.inventory.matching(condition, utc(time.time())))]


def _warn(line: str) -> None:
    import sys

    from investigator.printable import printable

    print(f"warning: {printable(line)}", file=sys.stderr)


def _write(tree: list[Any], subjects: list[str], agents: list[tuple[str, str]], output: Output) -> None:
    import orjson

    if output is Output.JSON:
        document = {"condition": tree, "subjects": subjects, "ids": [agent for agent, _ in agents]}
        print(orjson.dumps(document).decode())
        return
    print(f"condition  {orjson.dumps(tree).decode()}")
    print(f"subjects   {', '.join(subjects)}")
    print(f"agents     {len(agents)}")
    for agent, name in agents:
        print(f"           {agent}  {name}")
