"""One investigation as a program follows it: an outcome per agent as it becomes final, and a summary at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from investigator.console.audience import Audience, Shown, Summary, Unmoved
from investigator.console.dispatch import Prepared
from investigator.errors import BadInput
from investigator.protocol.action import Action
from investigator.protocol.result import Outcome, Result

MAX_WAITING: Final = 256
"""Outcomes that the loop has not taken yet; then no further answers are taken."""


@dataclass(frozen=True, slots=True)
class AgentOutcome:
    """What one targeted agent came to."""

    agent: str
    """The agent's id, which its key proves."""
    name: str
    """What it calls itself."""
    state: Shown
    """`working` where it had none yet when the investigation was cut short, and some of its findings had come."""
    code: str = ""
    """Why it failed, timed out or refused: docs/protocol.md lists the codes. Empty where there is nothing to say."""
    reason: str = ""
    results: tuple[Result, ...] = ()
    """One for each operation that ran, in the action's order; none of an agent that said nothing."""
    unfinished: bool = False
    """Some of its answer came, and not all of it."""


Follow = Callable[[Prepared, Audience, asyncio.Event], Awaitable[Summary]]
"""Stages 3 to 7 of one action, until it is over or the event is set: `console.investigation`."""


class Investigation:
    """What `Investigator.run` and `results` give: iterate over it once.

        investigation = console.run(target="all", operations=[("file", ["-path", "/etc", "-name", "^passwd$"])])
        async for outcome in investigation:
            print(outcome.name, outcome.state)
        print(investigation.summary.states)

    The action goes out with the first step of the loop. Every targeted agent is told exactly once, those that said nothing
    when it is over. Leaving the loop early ends the waiting, and nothing else: what arrived is kept, and the agents go on
    (`Investigator.cancel` stops them). `async with` around the loop makes that happen at its end, whatever happens in it. A loop that
    is slower than the answers holds few of them: the others wait in the stream, and nothing is lost.

    The loop raises `BrokerError` when the broker goes away for good, and `DeploymentError` when answers could not be kept,
    after all that had arrived was told.
    """

    def __init__(
        self,
        action: Action,
        prepare: Callable[[], Prepared],
        follow: Follow,
        warn: Callable[[str], None],
    ) -> None:
        """`prepare` signs, where that is not done yet, in a thread; `warn` is told what the asker should know."""
        self.action = action
        """What is asked; its `id` is what `cancel` takes."""
        self._prepare = prepare
        self._follow = follow
        self._warn = warn
        self._summary: Summary | None = None
        self._begun = False
        self._stop = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._told = _Told(warn)

    @property
    def summary(self) -> Summary:
        """How many agents came to which state, once the loop is over.

        Raises:
            BadInput: it is not.
        """
        if self._summary is None:
            raise BadInput(f"action {self.action.id}: the investigation is not over yet")
        return self._summary

    def __aiter__(self) -> AsyncIterator[AgentOutcome]:
        """The outcomes; once, since an action is sent once, and what was told is not kept here.

        Raises:
            BadInput: it was iterated over before.
        """
        if self._begun:
            raise BadInput(
                f"action {self.action.id}: was followed already; `run` makes another one, `results` tells this one again"
            )
        self._begun = True
        return self._outcomes()

    async def aclose(self) -> None:
        """Wait for nothing more; what had arrived is kept. Does nothing to one that is over, or was never begun."""
        self._begun = True
        task = self._following
        if task is None or task.done():
            return
        self._stop.set()
        self._told.let_go()
        await asyncio.wait({task})

    async def __aenter__(self) -> Self:
        """The same."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the waiting, if it goes on."""
        await self.aclose()

    async def follow(self, audience: Audience, stop: asyncio.Event) -> Summary:
        """For whoever shows more than outcomes: tell an audience, until it is over or `stop` is set.

        Raises:
            BrokerError, DeploymentError: as the loop.
            BadInput: it was begun before.
        """
        if self._begun:
            raise BadInput(f"action {self.action.id}: was followed already")
        self._begun, self._stop = True, stop
        return await self._go(audience)

    async def _go(self, audience: Audience) -> Summary:
        prepared = await asyncio.to_thread(self._prepare)
        return await self._follow(prepared, audience, self._stop)

    async def _outcomes(self) -> AsyncGenerator[AgentOutcome, None]:
        told = self._told
        self._following = asyncio.create_task(self._tell(told), name=f"investigation {self.action.id}")
        try:
            while (outcome := await told.next_one()) is not None:
                yield outcome
            await self._following
        finally:
            if not told.published:
                self._following.cancel()  # nobody waits for it any more: it must not go out now
            await self.aclose()

    async def _tell(self, told: _Told) -> None:
        try:
            await self._go(told)
        finally:
            self._summary = told.whole
            told.end()


class _Told(Unmoved):
    """The audience that the loop is behind."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(warn)
        self.published = False
        self.whole: Summary | None = None
        self._waiting: asyncio.Queue[AgentOutcome | None] = asyncio.Queue()  # a batch beyond MAX_WAITING; see `room`
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._wanted = True

    async def next_one(self) -> AgentOutcome | None:
        """The next agent's; None: that was all."""
        outcome = await self._waiting.get()
        if self._waiting.qsize() < MAX_WAITING:
            self._has_room.set()
        return outcome

    def let_go(self) -> None:
        """The loop takes no more: nobody is to wait for it, least of all whoever ends the work."""
        self._wanted = False
        self._has_room.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._waiting.put_nowait(None)

    async def room(self) -> None:
        """A loop that is slower than the answers slows down how they are taken from the stream, which has them all.

        What is told at the end, of agents that said nothing, waits without a bound, and holds nothing.
        """
        if self._wanted and self._waiting.qsize() >= MAX_WAITING:
            self._has_room.clear()
        await self._has_room.wait()

    def started(self, action: Action, *, targeted: int, expected: int) -> None:  # noqa: ARG002 - the audience's
        """From now on agents work on it."""
        self.published = True

    def outcome(
        self, agent: str, name: str, state: Shown, outcome: Outcome | None, *, unfinished: bool = False
    ) -> None:
        """Into the loop."""
        code, reason, results = (outcome.code, outcome.reason, outcome.results) if outcome is not None else ("", "", [])
        self._waiting.put_nowait(AgentOutcome(agent, name, state, code, reason, tuple(results), unfinished))

    def summary(self, summary: Summary) -> None:
        """It is over."""
        self.whole = summary
