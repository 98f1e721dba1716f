"""The agentdestroy module: end one agent of this host, and remove the file that it runs from.

`presence` is what agents leave in their lock files, `proof` recognises one by it, `ending` acts. MIG's JSON and printed
lines. Unlike MIG's it executes nothing to find out what a process is, and takes only a proven agent's.
"""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from investigator.errors import BadParameters
from investigator.modules.agentdestroy.ending import end, remove_program
from investigator.modules.agentdestroy.proof import NotProven, acting_agent, other_agents, prove
from investigator.modules.interface import MASK, Context, Need, Spec
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.modules.agentdestroy.presence import Presence

PID_MAX_LIMIT: Final = 1 << 22
"""Linux's largest pid (proc(5), pid_max)."""
MAX_CHARACTERS: Final = 256
_REMOVED: Final = " and its executable removed from "


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which agent: by its process and version, which must both fit."""

    pid: Annotated[int, msgspec.Meta(ge=2, le=PID_MAX_LIMIT, description="the agent's process")]
    version: Annotated[
        str, msgspec.Meta(min_length=1, max_length=MAX_CHARACTERS, description="the version that it runs")
    ]
    agent: Annotated[
        str, msgspec.Meta(max_length=MAX_CHARACTERS, description="its id, which must then fit too; empty: not compared")
    ] = ""
    remove: Annotated[bool, msgspec.Meta(description="whether the file that it runs from is removed")] = True


class AgentDestroyModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="agentdestroy",
        summary="end one agent of a host, and remove the file that it runs from",
        parameters=Parameters,
        flags=None,
        platforms=frozenset(("linux",)),
        needs=(Need(kind="root", why="end an agent that runs as root", essential=False),),
        details=(
            "Ends the agent whose process id and version the parameters name (`investigator agents` tells both), and nothing "
            "else: the process must hold the lock of an agent's state folder that only root or the acting agent's user can "
            "write, and the record in it must name that very process. A process for which this cannot be shown is left alone, "
            "and so is one whose version or id is another. Nothing is executed to find out.\n\n"
            "Another agent is told to stop, and killed after five seconds. An agent that is told to end itself answers first: "
            "it takes no more actions, stays until the broker has acknowledged this answer, and then stops.\n\n"
            "The file that is removed is the one that the agent was started from, where it is one file (the zipapp) and no "
            'other agent of the host runs from it; an installed package stays, and `"remove": false` leaves any file. '
            "State and key stay too. A supervisor that restarts whatever ended starts an agent from a file that is left.\n\n"
            "Where an ACL has no entry `agentdestroy`, the action needs the highest weight that there can be: that of all "
            "investigators of `default` together.\n\n"
            "It has no flags: parameters come from an action file."
        ),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:  # noqa: ARG002 - the interface's
        """Raise `BadParameters` for a version or id that is none."""
        for name in ("version", "agent"):
            if re.search(r"[\x00-\x1f\x7f]", getattr(parameters, name)):
                raise BadParameters(f"{name}: control characters stand in no {name}")

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """There are none."""
        return dict(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Prove, compare, end, remove; the own agent is left to end itself when this answer was acknowledged."""
        pid = parameters.pid
        if pid == os.getpid():
            return Result.failed(f"PID '{pid}' is mine. Refusing to suicide.")
        try:
            presence = _the_agent(parameters)
            own = pid == acting_agent()
            others = list(other_agents(pid)) if parameters.remove else []
            if not own and not end(presence, deadline_s=min(context.deadline_s, time.monotonic() + 3600)):
                return Result.failed(f"PID '{pid}' was killed and does not end: the kernel holds it")
        except NotProven as error:
            return Result.failed(f"PID '{pid}' is not proven to be an agent: {error}. Refusing to kill it.")
        except OSError as error:
            return Result.failed(f"PID '{pid}' cannot be killed: {(error.strerror or str(error)).lower()}")
        kept = remove_program(presence, others) if parameters.remove else "asked to be kept"
        told = f"PID {pid} from agent {presence.version} "
        told += "stops once this answer is acknowledged" if own else "has been killed"
        if not kept:
            told += f"{_REMOVED}{presence.program}"
        errors = [kept] if kept and parameters.remove else None
        return Result(foundanything=True, success=True, elements=told, errors=errors)

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """MIG's lines."""
        if result.get("elements"):
            yield result["elements"]
        if everything:
            for text in result.get("errors") or ():
                yield f"[error] {text}"
            yield f"agentdestroy module has {'succeeded' if result.get('success') else 'failed'}"

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002 - the interface's
        """The result for extra privacy mode: no file's path and no error's text."""
        elements, errors = result.get("elements"), result.get("errors")
        told, removed, _ = (elements or "").partition(_REMOVED)
        return {
            **result,
            "elements": f"{told}{removed}{MASK}" if removed else elements,
            "errors": errors and [MASK for _ in errors],
        }


def _the_agent(parameters: Parameters) -> Presence:
    """The proven agent, if it is the one that is meant.

    Raises:
        NotProven: it is none, or another.
    """
    presence = prove(parameters.pid)
    if presence.version != parameters.version:
        raise NotProven(f"it runs version '{presence.version}', not '{parameters.version}'")
    if parameters.agent not in ("", presence.agent):
        raise NotProven(f"its id is '{presence.agent}', not '{parameters.agent}'")
    return presence


MODULE = AgentDestroyModule()
