"""Calling back who asked to be told: what fails there is logged, and ends nothing here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

_log = logging.getLogger(__name__)
_Told = TypeVar("_Told")


class Callback(Generic[_Told]):
    """A function that is told one thing at a time; what it returns to be awaited runs as a task."""

    def __init__(self, function: Callable[[_Told], Awaitable[None] | None], what: str) -> None:
        """`what` it is told of, for the log."""
        self._function = function
        self._what = what
        self._running: set[asyncio.Future[None]] = set()

    def tell(self, told: _Told) -> int:
        """Call it; how many tasks of it run now."""
        try:
            outcome = self._function(told)
        except Exception:  # noqa: BLE001 - a defect of one callback must not end the connection of all
            _log.exception("the callback for %s failed", self._what)
            return len(self._running)
        if outcome is not None:
            task = asyncio.ensure_future(outcome)
            self._running.add(task)
            task.add_done_callback(self._finished)
        return len(self._running)

    async def one_finished(self) -> None:
        """Return when one of the running tasks has ended."""
        await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    def cancel(self) -> None:
        """End the tasks that still run."""
        for task in self._running:
            task.cancel()

    def _finished(self, task: asyncio.Future[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the callback for %s failed", self._what, exc_info=task.exception())
