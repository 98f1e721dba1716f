"""MIG's programs by their own names and flags: `mig`, `mig-agent -m`, `mig-agent-search`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from investigator import __version__
from investigator.cli.request import parse_run
from investigator.errors import BadInput
from investigator.modules.flags import Flag, Flags, parse_flags


def mig(words: Sequence[str]) -> int:
    """`mig MODULE …`, `mig -i FILE …`, `mig help`, `mig version`."""
    from investigator.cli.run import ask

    return ask(parse_run(["-V"] if list(words) == ["version"] else words, prog="mig"))


def mig_agent(words: Sequence[str]) -> int:
    """`mig-agent -m MODULE [-p]`: module mode; the agent itself is `investigator agent`.

    Raises:
        BadInput: flags of MIG's agent that have no place here.
    """
    from investigator.cli.module import run_module

    given = parse_flags(words, _AGENT, of="mig-agent")
    if given.get("version"):
        print(__version__)
        return 0
    module = given.get("module", "agent")
    if module in ("agent", "agent-checkin"):
        raise BadInput("mig-agent here only runs one module (-m MODULE)", hint="`investigator agent` runs the agent.")
    return run_module(module, sys.stdin.buffer, text=given.get("text", False))


def mig_agent_search(words: Sequence[str]) -> int:
    """`mig-agent-search -t CONDITION`: MIG's header, then a line per agent."""
    import asyncio

    given = parse_flags(words, _SEARCH, of="mig-agent-search")
    if given.get("version"):
        print(__version__)
        return 0
    if not given.get("target"):
        raise BadInput("mig-agent-search needs a target", hint="For example: -t \"name LIKE '%db%'\"")
    config_file = given.get("config")
    asyncio.run(_search(given["target"], Path(config_file).absolute() if config_file else None))
    return 0


PROGRAMS: Final[dict[str, Callable[[Sequence[str]], int]]] = {
    "mig": mig,
    "mig-agent": mig_agent,
    "mig-agent-search": mig_agent_search,
}

_AGENT: Final = Flags(
    (
        Flag(name="m", help="the module to run", path=("module",), value="MODULE"),
        Flag(name="p", help="print the result as text", path=("text",), kind="switch"),
        Flag(name="d", help="debug", path=("debug",), kind="switch"),
        Flag(name="V", help="print the version", path=("version",), kind="switch"),
    )
)
_SEARCH: Final = Flags(
    (
        Flag(name="t", help="a condition over the agents table", path=("target",), value="TARGET"),
        Flag(name="c", help="console.toml", path=("config",), value="FILE"),
        Flag(name="V", help="print the version", path=("version",), kind="switch"),
    )
)
_SEARCH_COLUMNS: Final = (
    *("name", "id", "status", "version", "mode", "os", "arch", "pid", "starttime", "heartbeattime", "tags"),
    "environment",
)


async def _search(target: str, config_file: Path | None) -> None:
    import time

    from investigator.config import default_home, load_console
    from investigator.console.condition import compile_target
    from investigator.console.inventory_cache import load_inventory
    from investigator.console.link import console_link
    from investigator.protocol.action import utc

    config = load_console(config_file.parent, config_file.name) if config_file else load_console(default_home())
    condition = compile_target(target, config.targets)[1]
    async with console_link(config) as broker:
        inventory = await load_inventory(broker)
    now = utc(time.time())
    print("; ".join(_SEARCH_COLUMNS))
    for host in inventory.matching(condition, now):
        row = host.row(now)
        print("; ".join(_cell(row.get(column)) for column in _SEARCH_COLUMNS))


def _cell(value: Any) -> str:
    from investigator.console.render_parts import json_text
    from investigator.printable import printable

    if isinstance(value, str):
        return printable(value)
    return "" if value is None else printable(json_text(value).strip('"'))
