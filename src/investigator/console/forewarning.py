"""What the targeted agents say of themselves that the asker should know before the action goes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from investigator.console.inventory import Host
from investigator.protocol.action import Action


def forewarnings(targeted: Sequence[Host], action: Action) -> list[str]:
    """A line for each module that some of them cannot run, with one's reason, and one for extra privacy mode.

    They are asked all the same, and answer `unavailable`: what the facts say may be old, or be mended by then.
    """
    told = [(host.name, _environment(host)) for host in targeted]
    lines = []
    for module in dict.fromkeys(operation.module for operation in action.operations):
        lacking = [(name, reason) for name, environment in told if (reason := _why_not(module, environment))]
        if lacking:
            name, reason = lacking[0]
            verb = "says that it" if len(lacking) == 1 else "say that they"
            lines.append(f"{len(lacking)} of {_agents(told)} {verb} cannot run {module}, such as {name}: {reason}")
    private = sum(environment.get("extraprivacymode") is True for _, environment in told)
    if private:
        are = "is" if private == 1 else "are"
        lines.append(f"{private} of {_agents(told)} {are} in extra privacy mode: names and errors come back masked")
    return lines


def _agents(told: Sequence[object]) -> str:
    return f"{len(told)} targeted agent{'' if len(told) == 1 else 's'}"


def _why_not(module: str, environment: Mapping[str, Any]) -> str:
    """Why an agent cannot run it, by its facts; "" where it can, or says nothing of modules (what it says may be anything)."""
    unavailable = environment.get("unavailable")
    if isinstance(unavailable, Mapping) and module in unavailable:
        return str(unavailable[module])
    modules = environment.get("modules")
    return "" if not isinstance(modules, list) or module in modules else "it has no module of that name"


def _environment(host: Host) -> Mapping[str, Any]:
    environment = host.facts.row.get("environment")
    return environment if isinstance(environment, Mapping) else {}
