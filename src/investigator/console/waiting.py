"""Waiting for an action's answers, until they are all there, the broker is gone for good, or the person has enough."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from investigator.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from investigator.console.audience import Audience
    from investigator.console.collect import Collection


async def wait_for_answers(
    collection: Collection, audience: Audience, *, awaited: set[str], wait: bool, began: float, stop: asyncio.Event
) -> BrokerError | None:
    """Collect as `Collection.until_over` does, or until `stop` is set, and show how it stands.

    A broker that is gone for good is returned, not raised: what had arrived is told first.

    Args:
        collection: where it comes.
        audience: is shown the progress.
        awaited: the agents that are waited for.
        wait: for all, to the end of the action's life.
        began: when it did, on `time.monotonic()`'s scale.
        stop: Ctrl-C.
    """

    def tick() -> None:
        tell_progress(collection, audience, began=began)

    try:
        await until_stopped(stop, collection.until_over(awaited=awaited, wait=wait, tick=tick))
        await collection.read_stream()  # what was heard live is counted as it stands in the stream
    except BrokerError as error:
        return error
    return None


def tell_progress(collection: Collection, audience: Audience, *, began: float) -> None:
    """How it stands; `began` is on `time.monotonic()`'s scale."""
    counts = collection.tally.answered()
    audience.progress(
        targeted=len(collection.tally.agents()),
        answered=len(collection.tally.said),
        found=counts.get("found", 0),
        failed=sum(counts.get(state, 0) for state in ("failed", "timeout", "refused", "cancelled")),
        elapsed_s=time.monotonic() - began,
    )


async def until_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Let the work end by itself, or by `stop`."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    if task.done() and not task.cancelled():
        task.result()
