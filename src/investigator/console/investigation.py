"""One investigation from the console, stage 3 to 7: publish, collect, and hand what comes to whoever shows it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Coroutine
from typing import Any

from investigator.broker.connection import Broker
from investigator.console.audience import Audience, Summary
from investigator.console.collect import Collection, awaited
from investigator.console.dispatch import Prepared, publish
from investigator.console.enrolled import Enrolled, load_fleet
from investigator.console.forewarning import forewarnings
from investigator.console.heads import keep_heads
from investigator.console.inventory import Host, Inventory
from investigator.console.rules import Rules
from investigator.console.standing import Policy
from investigator.console.store import Store
from investigator.errors import BrokerError
from investigator.protocol.action import utc
from investigator.protocol.result import Outcome
from investigator.protocol.tally import count


async def investigate(
    prepared: Prepared,
    broker: Broker,
    store: Store,
    audience: Audience,
    *,
    rules: Rules | None,
    policy: Policy,
    private_key: bytes | None,
    wait: bool,
    stop: asyncio.Event,
) -> Summary:
    """Publish an action and follow it until every awaited agent is final, or `stop` is set (Ctrl-C).

    Agents that are not enrolled by `rules` and `policy` are named, not expected, and not believed.

    Raises:
        BrokerError: the broker went away for good; the audience has the summary of what had arrived.
        DeploymentError: the store's disk is full.
    """
    started = time.monotonic()
    targeted, collection = await _open(
        prepared, broker, store, audience, private_key, *await load_fleet(broker, store, rules, policy)
    )
    for line in forewarnings(targeted, prepared.action):
        audience.warn(line)
    expected = awaited(targeted, utc(time.time()))
    await store.keep_action(prepared.action.id, prepared.action.name, prepared.envelope, published_s=time.time())
    await collection.listen()
    await publish(prepared, broker, now_s=time.time())
    audience.started(prepared.action, targeted=len(targeted), expected=len(expected))

    def tick() -> None:
        counts = collection.tally.counts()
        audience.progress(
            targeted=len(collection.tally.names()),
            answered=len(collection.tally.outcomes),
            found=counts.get("found", 0),
            failed=sum(counts.get(state, 0) for state in ("failed", "timeout", "refused", "cancelled")),
            elapsed_s=time.monotonic() - started,
        )

    problem: BrokerError | None = None
    try:
        await until_stopped(stop, collection.until_over(awaited=expected, wait=wait, tick=tick))
    except BrokerError as error:
        problem = error
    cut_short = stop.is_set() or problem is not None
    await collection.finish()
    summary = _close(
        collection,
        audience,
        working=collection.tally.waiting(expected) if cut_short else set(),
        elapsed_s=time.monotonic() - started,
        interrupted=stop.is_set(),
    )
    if problem is not None:
        raise problem
    if collection.store_problem is not None:
        raise collection.store_problem
    return summary


async def _open(  # noqa: PLR0917 - what an open console consists of
    prepared: Prepared,
    broker: Broker,
    store: Store,
    audience: Audience,
    private_key: bytes | None,
    inventory: Inventory,
    enrolled: Enrolled,
) -> tuple[list[Host], Collection]:
    for line in [*inventory.dropped, *await keep_heads(store, inventory)]:
        audience.warn(line)
    now = utc(time.time())
    matching = inventory.matching(prepared.condition, now, await store.who_came_to())
    for line in enrolled.warnings(matching, inventory.hosts.values()):
        audience.warn(line)
    targeted = [host for host in matching if enrolled.counts(host)]

    def tell(agent: str, name: str, outcome: Outcome) -> None:
        audience.outcome(agent, name, outcome.state, outcome)

    collection = Collection(
        action=prepared.action,
        digest=prepared.envelope.digest,
        envelope=hashlib.sha256(prepared.envelope.encode()).hexdigest(),
        broker=broker,
        store=store,
        inventory=inventory,
        targeted=targeted,
        private_key=private_key,
        on_outcome=tell,
        on_warning=audience.warn,
        on_piece=audience.piece,
        enrolled=enrolled,
    )
    return targeted, collection


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
    if task.done() and not task.cancelled():
        task.result()


def _close(
    collection: Collection, audience: Audience, *, working: set[str], elapsed_s: float, interrupted: bool
) -> Summary:
    """Tell the agents that said nothing, or nothing final, and sum up; those that still work have no state yet."""
    states = collection.states()
    for agent in sorted(states, key=lambda agent: (collection.name_of(agent), agent)):
        if agent not in working and not collection.tally.is_final(agent):
            outcome, lacks = collection.unshown(agent), len(collection.tally.missing(agent))
            audience.outcome(agent, collection.name_of(agent), states[agent], outcome)
            if lacks:
                audience.warn(f"{collection.name_of(agent)}: {lacks} pieces of its findings did not arrive")
    summary = Summary(
        action=collection.action.id,
        targeted=len(states),
        states=count(state for agent, state in states.items() if agent not in working),
        working=len(working),
        elapsed_s=elapsed_s,
        interrupted=interrupted,
        dropped=collection.dropped,
    )
    audience.summary(summary)
    return summary
