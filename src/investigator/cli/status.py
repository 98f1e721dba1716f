"""`investigator status`: is this deployment well?"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from investigator.cli.options import Home, home_folder

NEEDS_CARE: Final = 7


class StatusOutput(StrEnum):
    """How it is written."""

    TEXT = "text"
    JSON = "json"


def status(
    output: Annotated[StatusOutput, typer.Option(help="How to write it.")] = StatusOutput.TEXT,
    home: Home = None,
) -> int:
    """Say whether broker, streams, certificates and agents are well, what needs care first.

    Leaves with 0 when all is well, with 7 when something needs care, and with 4 when the broker does not answer.
    """
    import asyncio

    from investigator.config import load_console
    from investigator.console.render_parts import json_text
    from investigator.console.render_status import status_json, status_lines
    from investigator.console.status import ask_status

    folder = home_folder(home)
    found = asyncio.run(ask_status(folder, load_console(folder)))
    if output is StatusOutput.JSON:
        print(json_text(status_json(found)))
    else:
        print("\n".join(status_lines(found)))
    if not found.answers:
        return 4
    return NEEDS_CARE if found.care else 0
