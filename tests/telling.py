"""What an audience is told, as an iterator: for tests of what stands below the library, which has its own (`console.following`).

    told = Outcomes(lambda audience: follow_results(asked, session, audience, private_key=key, follow=True, stop=stop))
    async for one in told: …
    told.over       # the Summary

Who may leave early does so within `contextlib.aclosing(aiter(told))`, which ends the work before the broker is closed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from investigator.console.audience import Audience, Shown, Summary
    from investigator.protocol.action import Action
    from investigator.protocol.piece import Piece
    from investigator.protocol.result import Outcome


@dataclass(frozen=True, slots=True)
class Told:
    """One agent's final state."""

    agent: str
    name: str
    state: Shown
    outcome: Outcome | None
    """None where it said nothing."""


@dataclass(slots=True)
class Outcomes:
    """What `work` tells its audience, agent by agent; iterate over it once."""

    work: Callable[[Audience], Awaitable[Summary]]
    warnings: list[str] = field(default_factory=list)
    """What whoever asks should know."""
    over: Summary | None = None
    """How it ended, once the iteration is over."""
    _told: asyncio.Queue[Told | None] = field(default_factory=asyncio.Queue)

    async def __aiter__(self) -> AsyncGenerator[Told, None]:
        """Each agent once, when it is final; the work's own errors come last. Who leaves early ends the work."""
        task = asyncio.ensure_future(self.work(self))
        task.add_done_callback(lambda _: self._told.put_nowait(None))
        try:
            while (told := await self._told.get()) is not None:
                yield told
            self.over = task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})

    def started(self, action: Action, *, targeted: int, expected: int) -> None:
        """Nothing: the iteration has begun."""

    def piece(self, agent: str, name: str, piece: Piece) -> bool:
        """Nothing: an outcome comes whole."""
        return False

    def outcome(
        self,
        agent: str,
        name: str,
        state: Shown,
        outcome: Outcome | None,
        *,
        unfinished: bool = False,
    ) -> None:
        """The next item."""
        self._told.put_nowait(Told(agent, name, state, outcome))

    async def room(self) -> None:
        """There always is: a test is told little."""

    def progress(self, *, targeted: int, answered: int, found: int, failed: int, elapsed_s: float) -> None:
        """Nothing."""

    def summary(self, summary: Summary) -> None:
        """Nothing: it is what `work` returns."""

    def warn(self, text: str) -> None:
        """Kept."""
        self.warnings.append(text)
