"""One investigation from the console, stage 3 to 7: publish, collect, and hand what comes to whoever shows it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import time
from collections.abc import Coroutine
from typing import Any, Final

import msgspec

from investigator.broker.connection import Broker
from investigator.broker.streams import takes_nothing_more
from investigator.console.audience import Audience, Summary
from investigator.console.collect import Collection
from investigator.console.counting import Relay
from investigator.console.dispatch import Prepared, publish
from investigator.console.expecting import awaited, placed_for
from investigator.console.fleet import Fleet, load_fleet
from investigator.console.forewarning import forewarnings
from investigator.console.inventory import Host
from investigator.console.recording import Recorder
from investigator.console.rules import Rules
from investigator.console.standing import Policy
from investigator.console.store import Store, Targeted
from investigator.errors import BadInput, BrokerError
from investigator.logs import about
from investigator.protocol.action import utc
from investigator.protocol.answer import MAX_PART_BYTES
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome
from investigator.protocol.subjects import ACTIONS, RESULTS
from investigator.protocol.tally import count

MAX_NAMED: Final = 20
_log = logging.getLogger(__name__)


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
    recorder: Recorder | None = None,
    relay: Relay | None = None,
) -> Summary:
    """Publish an action and follow it until every awaited agent is final, or `stop` is set (Ctrl-C).

    Agents that are not enrolled by `rules` and `policy` are named, not expected, and not believed. `recorder` puts on record
    how it stood at the end; `relay` is told every payload.

    Raises:
        BrokerError: the broker went away for good; the audience has the summary of what had arrived.
        DeploymentError: the store's disk is full.
    """
    fleet = await load_fleet(broker, store, rules, policy)
    targeted, collection = await _open(prepared, broker, store, audience, private_key, fleet)
    collection.relay = relay
    try:
        return await _follow(prepared, collection, targeted, audience, wait=wait, stop=stop, recorder=recorder)
    finally:
        await collection.close()


async def _follow(
    prepared: Prepared,
    collection: Collection,
    targeted: list[Host],
    audience: Audience,
    *,
    wait: bool,
    stop: asyncio.Event,
    recorder: Recorder | None,
) -> Summary:
    started, broker, store = time.monotonic(), collection.broker, collection.store
    for line in forewarnings(targeted, prepared.action):
        audience.warn(line)
    expected = awaited(targeted, utc(time.time()))
    asked_s = time.time()

    def show_piece(agent: str, name: str, piece: Piece) -> bool:
        expected.add(agent)  # who was not there, and has begun to answer, is awaited like the others
        return audience.piece(agent, name, piece)

    collection.on_piece = show_piece
    collection.on_broker_back = functools.partial(_publish_again, prepared, broker, collection, audience)
    await store.keep_action(prepared.action.id, prepared.action.name, prepared.envelope, published_s=asked_s)
    await collection.listen(hold=True)
    await store.keep_targeted(prepared.action.id, [Targeted(host.id, host.name) for host in targeted])
    collection.placed = placed_for(targeted, await publish(prepared, broker, now_s=asked_s))
    await store.keep_targeted(
        prepared.action.id,
        [Targeted(host.id, host.name, sequence=collection.placed.get(host.id, 0)) for host in targeted],
    )
    _log.info(
        "action %s published on %s, %d agents are targeted",
        prepared.action.id,
        ", ".join(prepared.subjects[:MAX_NAMED]),
        len(targeted),
        extra=about(
            "published",
            action=prepared.action.id,
            digest=prepared.envelope.digest,
            target=prepared.action.target,
            modules=[operation.module for operation in prepared.action.operations],
            targeted=len(targeted),
            expected=len(expected),
        ),
    )
    audience.started(prepared.action, targeted=len(targeted), expected=len(expected))
    collection.begin()

    problem: BrokerError | None = None
    try:
        await until_stopped(
            stop,
            collection.until_over(
                awaited=expected, wait=wait, tick=lambda: tell_progress(collection, audience, began=started)
            ),
        )
        await collection.read_stream()  # what was heard live is counted as it stands in the stream
    except BrokerError as error:
        problem = error
    cut_short = stop.is_set() or problem is not None
    await collection.finish()
    await _warn_of_full_stream(broker, audience)
    summary = conclude(
        collection,
        audience,
        working=collection.tally.waiting(expected) if cut_short else set(),
        elapsed_s=time.monotonic() - started,
        interrupted=stop.is_set(),
    )
    if recorder is not None and problem is None:
        await recorder.record(collection, summary, audience, asked_s=asked_s)
    if problem is not None:
        raise problem
    if collection.store_problem is not None:
        raise collection.store_problem
    return summary


async def _warn_of_full_stream(broker: Broker, audience: Audience) -> None:
    """What was heard live is told all the same; who asks later, or elsewhere, has it once there is room again."""
    with contextlib.suppress(BrokerError):
        if broker.is_connected and await takes_nothing_more(broker, RESULTS, room_bytes=MAX_PART_BYTES):
            audience.warn(
                f"stream {RESULTS} takes nothing more: answers wait on their hosts; `investigator enrol list` says who "
                "sends how much, and `enrol revoke` shuts out who floods"
            )


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


async def _open(  # noqa: PLR0917 - what an open console consists of
    prepared: Prepared, broker: Broker, store: Store, audience: Audience, private_key: bytes | None, fleet: Fleet
) -> tuple[list[Host], Collection]:
    matching = fleet.inventory.matching(prepared.condition, utc(time.time()), await store.who_came_to())
    for line in [*fleet.warnings, *fleet.standings(matching)]:
        audience.warn(line)
    targeted = fleet.counted(matching)

    def tell(agent: str, name: str, outcome: Outcome) -> None:
        if _log.isEnabledFor(logging.INFO):
            log_arrival(prepared, agent, name, outcome)
        audience.outcome(agent, name, outcome.state, outcome)

    collection = Collection(
        action=prepared.action,
        digest=prepared.envelope.digest,
        envelope=hashlib.sha256(prepared.envelope.encode()).hexdigest(),
        broker=broker,
        store=store,
        inventory=fleet.inventory,
        targeted=targeted,
        private_key=private_key,
        on_outcome=tell,
        on_warning=audience.warn,
        enrolled=fleet.enrolled,
    )
    return targeted, collection


def log_arrival(prepared: Prepared, agent: str, name: str, outcome: Outcome) -> None:
    """That an agent's outcome is here: its state, and nothing of what it found."""
    _log.info(
        "action %s: the answer of %s arrived: %s",
        prepared.action.id,
        name,
        outcome.state,
        extra=about(
            "arrived",
            action=prepared.action.id,
            digest=prepared.envelope.digest,
            agent=agent,
            name=name,
            state=outcome.state,
            code=outcome.code,
        ),
    )


async def _publish_again(prepared: Prepared, broker: Broker, collection: Collection, audience: Audience) -> None:
    """Where the broker has lost the action with its store, only this console has it for agents that did not hear it yet.

    Agents that did hear it say so, and run nothing again. Where somebody cancelled it, the cancel is lost too: nothing is sent.

    Raises:
        BrokerError: the broker went away again.
    """
    present = {stored.subject async for stored in broker.batch_get(ACTIONS, subjects=prepared.subjects)}
    lost = [subject for subject in prepared.subjects if subject not in present]
    if not lost:
        return
    if "cancelled" in collection.tally.answered():
        audience.warn("the broker lost its store: agents that have not heard this action will not")
        return
    with contextlib.suppress(BadInput):  # it has expired
        await publish(prepared, broker, now_s=time.time(), only=lost)
        audience.warn("the broker lost its store: the action was published again")


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


def conclude(
    collection: Collection, audience: Audience, *, working: set[str], elapsed_s: float, interrupted: bool
) -> Summary:
    """Tell the agents that said nothing, or nothing final, and sum up; those that still work have no state yet.

    Nor have those whose answers are sealed to somebody else.
    """
    states, tally = collection.states(), collection.tally
    sealed = collection.sealed - tally.said.keys()
    stateless = working | sealed
    for agent in sorted(states, key=lambda agent: (collection.name_of(agent), agent)):
        if tally.is_final(agent) or agent in sealed:
            continue
        name, outcome, lacks = collection.name_of(agent), collection.unshown(agent), collection.lacking(agent)
        unfinished = bool(lacks) or (outcome is not None and agent not in tally.said)
        if agent not in working:
            audience.outcome(agent, name, states[agent], outcome, unfinished=unfinished)
        elif outcome is not None and unfinished:
            if agent not in tally.said:
                outcome = msgspec.structs.replace(outcome, reason="it began to answer, and had not ended yet")
            audience.outcome(agent, name, "working", outcome, unfinished=True)
        if lacks:
            audience.warn(f"{name}: {lacks}")
    withheld = collection.withheld()
    if withheld:
        audience.warn(_withheld(withheld))
    summary = Summary(
        action=collection.action.id,
        targeted=len(states.keys() | sealed),
        states=count(state for agent, state in states.items() if agent not in stateless),
        working=len(working - sealed),
        elapsed_s=elapsed_s,
        interrupted=interrupted,
        dropped=collection.dropped,
        sealed=len(sealed),
    )
    _log.info(
        "action %s: %d of %d agents have a final state",
        summary.action,
        sum(summary.states.values()),
        summary.targeted,
        extra=about(
            "tallied",
            action=summary.action,
            digest=collection.digest,
            targeted=summary.targeted,
            states=summary.states,
            working=summary.working,
            dropped=summary.dropped,
            elapsed_s=round(elapsed_s, 3),
        ),
    )
    audience.summary(summary)
    return summary


def _withheld(names: list[str]) -> str:
    """They signed it themselves, so either they broke, or the broker keeps what they said."""
    shown = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else "")
    if len(names) == 1:
        return f"{shown} has the action, as its own heartbeat says, and its result never came"
    return f"{len(names):,} agents have the action, as their own heartbeats say, and their results never came: {shown}"
