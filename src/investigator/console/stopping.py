"""A cancel goes out, and is followed until what it stops has said so."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from investigator.broker.connection import Broker
from investigator.console.audience import Audience, Summary
from investigator.console.cancelling import Cancelling, publish_cancel
from investigator.console.collect import Collection
from investigator.console.dispatch import Prepared
from investigator.console.expecting import awaited
from investigator.console.fleet import load_fleet
from investigator.console.investigation import until_stopped
from investigator.console.rules import Rules
from investigator.console.standing import Policy
from investigator.console.store import Store
from investigator.protocol.action import utc
from investigator.protocol.result import Outcome


@dataclass(slots=True)
class Stopped:
    """What became of it."""

    ended_before: int
    """Agents that had answered before the cancel went out."""
    running: int
    """Agents that are there and had not."""
    refused: dict[str, str] = field(default_factory=dict)
    """Names of agents that refuse the cancel, each with the reason."""
    working: int = 0
    """Agents that neither ended nor refused in time."""
    unfollowed: str = ""
    """Why nobody was waited for, where the cancel was published and nothing else; the numbers say nothing then."""


async def stop_and_follow(
    cancelling: Cancelling,
    action: Prepared,
    broker: Broker,
    store: Store,
    audience: Audience,
    *,
    rules: Rules | None,
    policy: Policy,
    private_key: bytes | None,
    started: Callable[[Stopped], None],
    follow_s: float,
    stop: asyncio.Event,
) -> Stopped:
    """Publish the cancel, and tell what each agent comes to that had not ended, for `follow_s` seconds at most.

    Agents that are off learn of it when they come, and are not waited for. `started` is called once it is published.

    Raises:
        BrokerError: the stream did not take it, or the broker went away for good.
        DeploymentError: the store's disk is full.
    """
    began = time.monotonic()
    fleet = await load_fleet(broker, store, rules, policy)
    for line in fleet.warnings:
        audience.warn(line)
    now = utc(time.time())
    targeted = fleet.counted(fleet.inventory.matching(action.condition, now, await store.who_came_to()))
    stopped, envelope = Stopped(0, 0), cancelling.envelope

    def tell(agent: str, name: str, outcome: Outcome) -> None:
        if agent in remaining:  # what had ended before is known to whoever asked
            audience.outcome(agent, name, outcome.state, outcome)

    def refused(agent: str, outcome: Outcome) -> None:
        remaining.discard(agent)
        stopped.refused[collection.name_of(agent)] = outcome.reason
        audience.warn(f"{collection.name_of(agent)} refuses the cancel: {outcome.code}: {outcome.reason}")

    remaining: set[str] = set()
    collection = Collection(
        action=action.action,
        digest=action.envelope.digest,
        envelope=hashlib.sha256(action.envelope.encode()).hexdigest(),
        broker=broker,
        store=store,
        inventory=fleet.inventory,
        targeted=targeted,
        private_key=private_key,
        on_outcome=tell,
        on_warning=audience.warn,
        cancel=frozenset(hashlib.sha256(each.encode()).hexdigest() for each in (envelope, envelope.bare())),
        on_cancel_refused=refused,
        enrolled=fleet.enrolled,
    )
    try:
        await collection.listen()
        await collection.read_stream()
        remaining |= collection.tally.waiting(awaited(targeted, now))
        stopped.running, stopped.ended_before = len(remaining), len(collection.tally.said)
        await publish_cancel(cancelling, broker, now_s=time.time())
        started(stopped)
        audience.started(action.action, targeted=len(targeted), expected=stopped.running)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(follow_s):
                await until_stopped(stop, collection.until_over(awaited=remaining, wait=False, tick=lambda: None))
        await collection.finish()
    finally:
        await collection.close()
    stopped.working = len(collection.tally.waiting(remaining))
    audience.summary(
        Summary(
            action=action.action.id,
            targeted=len(targeted),
            states=collection.tally.answered(),
            working=stopped.working + len(stopped.refused),
            elapsed_s=time.monotonic() - began,
            interrupted=stop.is_set(),
            dropped=collection.dropped,
        )
    )
    return stopped
