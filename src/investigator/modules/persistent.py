"""What a module is that runs all the time: started with the agent, asked like other modules, with alerts of its own.

It is declared like every module (`interface.Spec`, `interface.Module`) and has two more parts: `settings`, the struct that
its table `[modules.NAME]` in agent.toml is checked against, and `watch`, which runs until its process is ended. That
process is a worker like any other (limits, low priority, it dies with the agent), but it stays; if it ends it is started
again, later each time. What must outlive it stands in `Host.folder`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from investigator.errors import BadParameters
from investigator.modules.interface import MASK, Context, Spec, load_struct
from investigator.protocol.alert import Alert
from investigator.protocol.result import Result

S_contra = TypeVar("S_contra", bound=msgspec.Struct, contravariant=True)


class NotAvailable(Exception):
    """Raised by `watch`: this host does not let the module run, and why in one line. It is tried again now and then."""


class Host(Protocol):
    """What a running module has of its agent."""

    folder: Path
    """Its own, mode 0700, and what is in it stays."""
    private: bool
    """Extra privacy mode: no alert may name a file, person, peer or host."""

    def alert(self, *alerts: Alert) -> None:
        """Tell these, in this order. On return the agent has them on its disk, and they will reach the broker.

        It returns late where alerts come faster than the agent may tell them, or than its outbox empties: a module that
        notes what it told only afterwards loses nothing, whenever it is killed.
        """

    def beat(self) -> None:
        """Say that `watch` goes on; one that does not for minutes is ended. Waiting in `alert` counts as going on."""


class Persistent(Protocol[S_contra]):
    """The parts that a persistent module has beside those of `interface.Module`."""

    spec: Spec

    @property
    def settings(self) -> type[msgspec.Struct]:
        """The struct of `[modules.NAME]`; every field has a default, so that the table alone turns a module on."""

    def check_settings(self, settings: S_contra) -> None:
        """Raise `BadParameters`, naming the setting; called when the agent starts, before anything else does."""

    def watch(self, settings: S_contra, host: Host) -> None:
        """Run, in a process of its own, for ever. Raising ends the process, and it is started again.

        Raises:
            NotAvailable: this host does not let it.
        """

    def answer(self, parameters: Any) -> Result:
        """What an action is answered that asks this module; called in another thread of the same process."""


class NoParameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """MIG's fswatch, audit and dispatch take none."""


class PersistentModule:
    """What such modules have in common: they take no parameters, answer `{"ok": true}`, and cannot be asked without an agent."""

    spec: Spec

    def check(self, parameters: NoParameters, *, local: bool) -> None:
        """There is nothing that could be wrong."""

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """There are none."""
        return dict(values)

    def run(self, parameters: NoParameters, context: Context) -> Result:  # noqa: ARG002 - the interface's
        """Only an agent that has it running can be asked; MIG pretends to answer here."""
        return Result.failed(
            f"module {self.spec.name} runs all the time within an agent, and only there it can be asked: not with -t local"
        )

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """MIG's line, and with `everything` errors and statistics."""
        elements = result.get("elements")
        if isinstance(elements, Mapping) and elements.get("ok") is True:
            yield "ok:true"
        if everything:
            for text in result.get("errors") or ():
                yield f"[error] {text}"
            for key, value in (result.get("statistics") or {}).items():
                yield f"[stat] {key}: {value}"

    def masked(self, result: Mapping[str, Any], parameters: NoParameters) -> dict[str, Any]:  # noqa: ARG002 - the interface's
        """Numbers stay; texts and lists, which name files and people, do not."""
        statistics = result.get("statistics")
        errors = result.get("errors")
        return {
            **result,
            "statistics": statistics and {key: _masked(value) for key, value in statistics.items()},
            "errors": errors and [MASK for _ in errors],
        }


def load_settings(module: Persistent[Any], table: Mapping[str, Any]) -> Any:
    """A module's table in agent.toml, checked.

    Raises:
        BadParameters: naming the setting as `modules.NAME.SETTING`.
    """
    name = module.spec.name
    try:
        settings = load_struct(dict(table), module.settings, what=f"modules.{name}")
    except BadParameters as error:
        head, path, reason = str(error).split(": ", 2)
        place = head if path == "parameters" else f"{head}.{path}"
        raise BadParameters(f"{place}: {reason.replace('no parameter', 'no setting')}") from None
    module.check_settings(settings)
    return settings


def _masked(value: Any) -> Any:
    if isinstance(value, list):
        return [MASK for _ in value]
    return MASK if isinstance(value, str) else value
