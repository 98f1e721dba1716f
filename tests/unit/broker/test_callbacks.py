"""Callbacks: told in order, their tasks kept, their defects logged."""

from __future__ import annotations

import asyncio

from investigator.broker.callbacks import Callback


async def test_a_plain_function_is_called_in_order_and_leaves_nothing_running():
    heard: list[int] = []
    callback = Callback(heard.append, "numbers")
    assert [callback.tell(number) for number in range(3)] == [0, 0, 0]
    assert heard == [0, 1, 2]


async def test_what_is_awaited_runs_beside_and_is_counted_until_it_ends():
    release = asyncio.Event()

    async def waits(_):
        await release.wait()

    callback = Callback(waits, "numbers")
    assert [callback.tell(number) for number in range(3)] == [1, 2, 3]
    release.set()
    await callback.one_finished()
    while callback._running:
        await callback.one_finished()
    assert callback.tell(0) == 1
    callback.cancel()


async def test_a_defect_is_logged_and_the_next_is_told_all_the_same(caplog):
    heard = []

    def fails(number):
        heard.append(number)
        raise RuntimeError("at once")

    async def fails_later(number):
        heard.append(number)
        raise RuntimeError("in its task")

    for function, said in ((fails, "at once"), (fails_later, "in its task")):
        callback = Callback(function, "mig.hb.*")
        callback.tell(1)
        if callback.tell(2):
            await asyncio.wait(callback._running)
            await asyncio.sleep(0)
        assert caplog.text.count("the callback for mig.hb.* failed") == 2
        assert said in caplog.text
        assert heard == [1, 2]
        caplog.clear()
        heard.clear()


async def test_cancelled_tasks_end_and_are_no_defect(caplog):
    ended = asyncio.Event()

    async def waits(_):
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    callback = Callback(waits, "numbers")
    callback.tell(0)
    await asyncio.sleep(0)
    callback.cancel()
    async with asyncio.timeout(20):
        await ended.wait()
    assert caplog.text == ""
