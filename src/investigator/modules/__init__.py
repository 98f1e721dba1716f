"""What can be asked of a host: one module a file or folder, all of them in this catalogue.

`MODULES` maps a module's name to where it lives; nothing is discovered, so what an agent can run is what stands here.
A module is imported when it is first asked for (the console's help needs none, the fork server warms all).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

from investigator.errors import BadInput
from investigator.modules.interface import Module

MODULES: Final[dict[str, str]] = {
    "agentdestroy": "investigator.modules.agentdestroy",
    "audit": "investigator.modules.audit",
    "file": "investigator.modules.file",
    "fswatch": "investigator.modules.fswatch",
    "memory": "investigator.modules.memory",
    "netstat": "investigator.modules.netstat",
    "ping": "investigator.modules.ping",
    "pkg": "investigator.modules.pkg",
    "process": "investigator.modules.process",
    "scribe": "investigator.modules.scribe",
    "sshkey": "investigator.modules.sshkey",
    "status": "investigator.modules.status",
    "timedrift": "investigator.modules.timedrift",
    "user": "investigator.modules.user",
    "yara": "investigator.modules.yara",
}

PERSISTENT: Final = ("audit", "fswatch")
"""Those that run all the time, on hosts whose agent.toml has a table `[modules.NAME]`; see `modules.persistent`."""


def get_module(name: str) -> Module[Any]:
    """The module of that name.

    Raises:
        BadInput: there is none; the message lists those that there are.
    """
    try:
        place = MODULES[name]
    except KeyError:
        raise BadInput(
            f"module '{name}' is not available", hint=f"The modules are: {', '.join(sorted(MODULES))}."
        ) from None
    module: Module[Any] = import_module(place).MODULE
    return module
