"""A program's loop over an investigation: each outcome once, so many at a time, and nobody waits for a loop that has left."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, cast

import pytest

from investigator.console.audience import Audience, Summary
from investigator.console.following import MAX_WAITING, Investigation
from investigator.errors import BadInput, BrokerError
from investigator.protocol.action import Action
from investigator.protocol.result import Outcome

BATCH = 10
ACTION = cast(Any, type("A", (), {"id": "a" * 32}))
SUMMARY = Summary(action="a" * 32, targeted=0, states={}, elapsed_s=0.0)


class Work:
    """Tells outcomes in batches, as `console.intake` does."""

    def __init__(self, agents: int, *, fails: bool = False) -> None:
        self.agents = agents
        self.fails = fails
        self.told = 0
        self.much_waits = asyncio.Event()
        self.ended = asyncio.Event()

    async def follow(self, _: Any, audience: Audience, stop: asyncio.Event) -> Summary:
        audience.started(cast(Action, ACTION), targeted=self.agents, expected=self.agents)
        while self.told < self.agents and not stop.is_set():
            for _ in range(BATCH):
                audience.outcome(f"a{self.told}", "n", "found", Outcome(state="found", name="n"))
                self.told += 1
            if self.told > MAX_WAITING:
                self.much_waits.set()
            await audience.room()
        await audience.room()  # as who reads the stream once more at the end
        audience.summary(SUMMARY)
        self.ended.set()
        if self.fails:
            raise BrokerError("it went away")
        return SUMMARY


def investigation(work: Work) -> Investigation:
    return Investigation(cast(Action, ACTION), lambda: cast(Any, None), work.follow, lambda _: None)


async def test_a_loop_that_is_slower_than_the_answers_holds_a_bounded_number_of_them():
    work, taken = Work(5000), []
    async with asyncio.timeout(60):
        async for outcome in (made := investigation(work)):
            taken.append(outcome.agent)
            assert work.told - len(taken) <= MAX_WAITING + BATCH
            if len(taken) % 100 == 0:
                await asyncio.sleep(0)
    assert taken == [f"a{number}" for number in range(5000)]
    assert made.summary is SUMMARY


async def test_whoever_leaves_a_loop_in_which_much_waits_ends_the_work():
    work = Work(10**9)
    made = investigation(work)
    async with asyncio.timeout(60):
        async with made:
            async for _ in made:
                if work.told > MAX_WAITING:
                    break
        await work.ended.wait()
    assert work.told < 2 * MAX_WAITING
    assert made.summary is SUMMARY


async def test_the_loop_waits_for_no_room_once_it_was_closed():
    work = Work(10**9)
    made = investigation(work)
    async with asyncio.timeout(60), contextlib.aclosing(cast(Any, aiter(made))) as outcomes:
        await anext(outcomes)
        await work.much_waits.wait()  # nobody takes it
        await made.aclose()
    assert work.ended.is_set()


async def test_what_went_wrong_comes_after_what_was_told():
    outcomes = aiter(investigation(Work(1000, fails=True)))
    for number in range(1000):
        assert (await anext(outcomes)).agent == f"a{number}"
    with pytest.raises(BrokerError):
        await anext(outcomes)


async def test_it_is_iterated_over_once():
    made = investigation(Work(10))
    assert len([one async for one in made]) == 10
    with pytest.raises(BadInput):
        aiter(made)
