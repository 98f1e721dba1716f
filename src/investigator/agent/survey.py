"""Which modules can run on this host: asked of a worker, told in the agent's facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from investigator.modules import MODULES, get_module
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_REASON_CHARACTERS: Final = 300
"""Of each reason: facts are small."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The modules that can run here, sorted, and for each other one the reason why not."""

    modules: tuple[str, ...]
    unavailable: Mapping[str, str]
    held_by: str = ""
    """What holds operations to their limits: cgroup v2, or signals."""

    @classmethod
    def of(cls, result: Result) -> Survey:
        """From what `survey` returned, as it came from the worker."""
        elements = result.read().elements
        return cls(tuple(elements["modules"]), elements["unavailable"])

    def environment(self) -> dict[str, Any]:
        """What of it stands in the facts; `modules` is MIG's."""
        told: dict[str, Any] = {"modules": [*self.modules], "unavailable": {**self.unavailable}}
        return {**told, "limitedby": self.held_by} if self.held_by else told


def survey() -> Result:
    """Look at every module of the catalogue, in this process."""
    from investigator.modules.needs import missing

    unavailable = {}
    for name in sorted(MODULES):
        try:
            reason = missing(get_module(name).spec)
        except Exception as error:  # noqa: BLE001 - a module that cannot be loaded must not hide the others
            reason = f"module {name} cannot be loaded: {type(error).__name__}: {error}"
        if reason is not None:
            unavailable[name] = " ".join(reason.split())[:MAX_REASON_CHARACTERS]
    modules = [name for name in sorted(MODULES) if name not in unavailable]
    return Result(success=True, elements={"modules": modules, "unavailable": unavailable})
