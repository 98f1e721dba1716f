"""The persistent modules of this host: started with the agent, looked after, asked by actions like other modules."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final, Self

from investigator.agent.keeper import Keeper
from investigator.agent.survey import Survey
from investigator.agent.verdict import failed
from investigator.config import AGENT_FILE
from investigator.errors import BadInput
from investigator.modules import PERSISTENT, get_module
from investigator.modules.persistent import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from investigator.agent.runner import Runner
    from investigator.agent.state import AgentState
    from investigator.agent.verdict import Ran
    from investigator.config import AgentConfig
    from investigator.protocol.action import AskedLimits

FOLDER: Final = "modules"
"""In the agent's state folder: a folder for each persistent module."""
SURVEYED_S: Final = 3600.0
"""How old the answer to which modules can run may be before a fork server is started only to ask again."""
_log = logging.getLogger(__name__)


class Persistence:
    """What runs all the time here by agent.toml; as a runner of operations it also answers for these modules."""

    def __init__(self, runner: Runner, config: AgentConfig, state: AgentState, *, name: str) -> None:
        """Nothing is started yet.

        Raises:
            BadInput: agent.toml has a table of a module that is none, or that does not run all the time, or a setting is wrong.
        """
        self._runner = runner
        state.alerts.per_minute = config.alerts_per_minute
        self._found: Survey | None = None
        self._found_s = 0.0
        self._keepers: dict[str, Keeper] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._off = "agent.toml says nopersistmods" if config.nopersistmods else ""
        for module, table in config.modules.items():
            try:
                _check(module, table)
            except BadInput as error:
                raise BadInput(f"{AGENT_FILE}: {error}", hint=error.hint) from None
            if not config.nopersistmods and state.folder is not None:
                folder = state.folder / FOLDER / module
                self._keepers[module] = Keeper(module, table, runner, state.alerts, folder=folder, name=name)

    async def __aenter__(self) -> Self:
        """Start them; on leaving, none of them is left."""
        for module, keeper in self._keepers.items():
            task = asyncio.create_task(keeper.run(), name=f"module {module}")
            task.add_done_callback(_must_not_end)
            self._tasks.append(task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def run(
        self,
        module: str,
        parameters: Any,
        *,
        deadline_s: float,
        take: Callable[[bytes], None] | None = None,
        limits: AskedLimits | None = None,
    ) -> Ran:
        """Run an operation; one that asks a persistent module is answered by its running process, all at once.

        That one has limits of its own, and answers from what it knows: of the action's limits, the one of time holds.
        """
        keeper = self._keepers.get(module)
        if keeper is not None:
            if limits is not None and limits.wall_clock_s is not None:
                deadline_s = min(deadline_s, time.monotonic() + limits.wall_clock_s)
            return await keeper.ask(parameters, deadline_s=deadline_s)
        if module in PERSISTENT:
            return failed("unavailable", self._why_not(module))
        return await self._runner.run(module, parameters, deadline_s=deadline_s, take=take, limits=limits)

    async def survey(self) -> Survey:
        """Which modules can run here; a persistent one can if it does.

        Raises:
            DeploymentError: no worker answers.
        """
        now_s = time.monotonic()
        if self._found is None or self._runner.server_pid is not None or now_s - self._found_s >= SURVEYED_S:
            self._found, self._found_s = await self._runner.survey(), now_s
        found = self._found
        unavailable = dict(found.unavailable)
        for module in PERSISTENT:
            keeper = self._keepers.get(module)
            why_not = self._why_not(module) if keeper is None else keeper.unavailable
            if why_not and module not in unavailable:
                unavailable[module] = why_not
        modules = tuple(module for module in found.modules if module not in unavailable)
        return Survey(modules, dict(sorted(unavailable.items())), found.held_by)

    def _why_not(self, module: str) -> str:
        return f"module {module} does not run on this host: {self._off or f'agent.toml has no [modules.{module}]'}"


def _must_not_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        _log.critical("the supervision of a module ended: a defect", exc_info=task.exception())


def _check(module: str, table: dict[str, Any]) -> None:
    if module not in PERSISTENT:
        raise BadInput(
            f"modules.{module}: there is no module of that name that runs all the time",
            hint=f"Those are {', '.join(PERSISTENT)}.",
        )
    load_settings(get_module(module), table)  # type: ignore[arg-type]
