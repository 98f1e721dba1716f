"""Which of its names the program was started by, and how to start it again.

`mig`, `mig-agent` and `mig-agent-search` are links to the zipapp (or console scripts) that take MIG's command line.
"""

from __future__ import annotations

import sys
from pathlib import PurePath
from typing import Final

MIG_NAMES: Final = frozenset(("mig", "mig-agent", "mig-agent-search"))


def program_name(argv0: str) -> str:
    """`mig`, `mig-agent`, `mig-agent-search`, or `investigator` for every other name; suffixes do not count."""
    name = PurePath(argv0).name.lower()
    for suffix in (".exe", ".pyz", ".py"):
        name = name.removesuffix(suffix)
    return name if name in MIG_NAMES else "investigator"


def own_command() -> list[str]:
    """The command that starts this program again, installed or zipapp; arguments go behind it."""
    start = sys.modules.get("_bootstrap.start")
    if start is not None:
        return [sys.executable, start.ISOLATED, start.archive_path]
    return [sys.executable, "-m", "investigator"]


def archive_path() -> str:
    """The absolute path of the zipapp that this is; empty for an installation."""
    start = sys.modules.get("_bootstrap.start")
    return "" if start is None else str(start.archive_path)
