"""One investigation from the console, stage 3 to 7: publish, collect, and hand what comes to whoever shows it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from typing import TYPE_CHECKING, Final

from investigator.console.concluding import conclude
from investigator.console.dispatch import Prepared, publish
from investigator.console.expecting import awaited, placed_for
from investigator.console.fleet import earlier_outcomes, load_fleet
from investigator.console.forewarning import forewarnings
from investigator.console.full_stream import warn_of_full_stream
from investigator.console.opening import open_collection
from investigator.console.store import Targeted
from investigator.console.waiting import wait_for_answers
from investigator.errors import BadInput
from investigator.logs import about
from investigator.protocol.action import utc
from investigator.protocol.subjects import ACTIONS

if TYPE_CHECKING:
    from investigator.console.audience import Audience, Summary
    from investigator.console.collect import Collection
    from investigator.console.counting import Relay
    from investigator.console.recording import Recorder
    from investigator.console.session import Session
    from investigator.protocol.piece import Piece
    from investigator.protocol.result import Outcome

MAX_NAMED: Final = 20
_log = logging.getLogger(__name__)


async def investigate(
    prepared: Prepared,
    session: Session,
    audience: Audience,
    *,
    private_key: bytes | None,
    wait: bool,
    stop: asyncio.Event,
    recorder: Recorder | None = None,
    relay: Relay | None = None,
) -> Summary:
    """Publish an action and follow it until every awaited agent is final, or `stop` is set (Ctrl-C).

    Agents that are not enrolled by the session's rules and policy are named, not expected, and not believed. `recorder` puts on
    record how it stood at the end; `relay` is told every payload.

    Raises:
        BrokerError: the broker went away for good; the audience has the summary of what had arrived.
        DeploymentError: the store's disk is full.
    """
    collection = await _open(prepared, session, audience, private_key)
    collection.relay = relay
    try:
        began, asked_s = time.monotonic(), time.time()
        expected = await _publish(prepared, collection, audience, asked_s=asked_s)
        problem = await wait_for_answers(collection, audience, awaited=expected, wait=wait, began=began, stop=stop)
        cut_short = stop.is_set() or problem is not None
        await collection.finish()
        await warn_of_full_stream(session.broker, audience)
        summary = conclude(
            collection,
            audience,
            working=collection.tally.waiting(expected) if cut_short else set(),
            elapsed_s=time.monotonic() - began,
            interrupted=stop.is_set(),
        )
    finally:
        await collection.close()
    failure = problem or collection.store_problem
    if failure is not None:
        raise failure
    if recorder is not None:
        await recorder.record(collection, summary, audience, asked_s=asked_s)
    return summary


async def _open(prepared: Prepared, session: Session, audience: Audience, private_key: bytes | None) -> Collection:
    """Whom the action means, and what to know of them before they are asked."""
    fleet = await load_fleet(session)
    came_to = await earlier_outcomes(session.store, prepared.condition)
    matching = fleet.inventory.matching(prepared.condition, utc(time.time()), came_to)
    targeted = fleet.counted(matching)
    for line in [*fleet.warnings, *fleet.standings(matching), *forewarnings(targeted, prepared.action)]:
        audience.warn(line)

    def tell(agent: str, name: str, outcome: Outcome) -> None:
        if _log.isEnabledFor(logging.INFO):
            log_arrival(prepared, agent, name, outcome)
        audience.outcome(agent, name, outcome.state, outcome)

    return open_collection(
        prepared, session, fleet, targeted, private_key=private_key, on_outcome=tell, audience=audience
    )


async def _publish(prepared: Prepared, collection: Collection, audience: Audience, *, asked_s: float) -> set[str]:
    """Listen, send the action out, and keep whom it means; the agents that an answer is expected of.

    The set grows: who was not there, and has begun to answer, is awaited like the others.
    """
    action, targeted, store = prepared.action, collection.targeted, collection.store
    expected = awaited(targeted, utc(time.time()))

    def show_piece(agent: str, name: str, piece: Piece) -> bool:
        expected.add(agent)
        return audience.piece(agent, name, piece)

    collection.on_piece = show_piece
    collection.on_broker_back = functools.partial(_publish_again, prepared, collection, audience)
    await store.keep_action(action.id, action.name, prepared.envelope, published_s=asked_s)
    await collection.listen(hold=True)
    await store.keep_targeted(action.id, [Targeted(host.id, host.name) for host in targeted])
    collection.placed = placed_for(targeted, await publish(prepared, collection.broker, now_s=asked_s))
    await store.keep_targeted(
        action.id, [Targeted(host.id, host.name, sequence=collection.placed.get(host.id, 0)) for host in targeted]
    )
    _log_published(prepared, targeted=len(targeted), expected=len(expected))
    audience.started(action, targeted=len(targeted), expected=len(expected))
    collection.begin()
    return expected


async def _publish_again(prepared: Prepared, collection: Collection, audience: Audience) -> None:
    """Where the broker has lost the action with its store, only this console has it for agents that did not hear it yet.

    Agents that did hear it say so, and run nothing again. Where somebody cancelled it, the cancel is lost too: nothing is sent.

    Raises:
        BrokerError: the broker went away again.
    """
    present = {stored.subject async for stored in collection.broker.batch_get(ACTIONS, subjects=prepared.subjects)}
    lost = [subject for subject in prepared.subjects if subject not in present]
    if not lost:
        return
    if "cancelled" in collection.tally.answered():
        audience.warn("the broker lost its store: agents that have not heard this action will not")
        return
    with contextlib.suppress(BadInput):  # it has expired
        await publish(prepared, collection.broker, now_s=time.time(), only=lost)
        audience.warn("the broker lost its store: the action was published again")


def _log_published(prepared: Prepared, *, targeted: int, expected: int) -> None:
    _log.info(
        "action %s published on %s, %d agents are targeted",
        prepared.action.id,
        ", ".join(prepared.subjects[:MAX_NAMED]),
        targeted,
        extra=about(
            "published",
            action=prepared.action.id,
            digest=prepared.envelope.digest,
            target=prepared.action.target,
            modules=[operation.module for operation in prepared.action.operations],
            targeted=targeted,
            expected=expected,
        ),
    )


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
