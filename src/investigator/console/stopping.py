"""A cancel goes out, and is followed until what it stops has said so."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from investigator.console.audience import Audience, Summary
from investigator.console.cancelling import Cancelling, publish_cancel
from investigator.console.expecting import awaited
from investigator.console.fleet import earlier_outcomes, load_fleet
from investigator.console.opening import open_collection
from investigator.console.waiting import until_stopped
from investigator.protocol.action import utc

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.console.collect import Collection
    from investigator.console.dispatch import Prepared
    from investigator.console.session import Session
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
    session: Session,
    audience: Audience,
    *,
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
    following = await _open(cancelling, action, session, audience, private_key)
    collection, stopped = following.collection, following.stopped
    try:
        await following.read_who_ended()
        await publish_cancel(cancelling, session.broker, now_s=time.time())
        started(stopped)
        audience.started(action.action, targeted=len(collection.targeted), expected=stopped.running)
        await following.until_ended(follow_s, stop)
        await collection.finish()
    finally:
        await collection.close()
    stopped.working = len(collection.tally.waiting(following.remaining))
    audience.summary(
        Summary(
            action=action.action.id,
            targeted=len(collection.targeted),
            states=collection.tally.answered(),
            working=stopped.working + len(stopped.refused),
            elapsed_s=time.monotonic() - began,
            interrupted=stop.is_set(),
            dropped=collection.dropped,
        )
    )
    return stopped


async def _open(
    cancelling: Cancelling, action: Prepared, session: Session, audience: Audience, private_key: bytes | None
) -> _Following:
    fleet = await load_fleet(session)
    for line in fleet.warnings:
        audience.warn(line)
    came_to = await earlier_outcomes(session.store, action.condition)
    matching = fleet.inventory.matching(action.condition, utc(time.time()), came_to)
    following = _Following(audience)
    following.collection = collection = open_collection(
        action,
        session,
        fleet,
        fleet.counted(matching),
        private_key=private_key,
        on_outcome=following.ended,
        audience=audience,
    )
    envelopes = (cancelling.envelope, cancelling.envelope.bare())
    collection.cancel = frozenset(hashlib.sha256(each.encode()).hexdigest() for each in envelopes)
    collection.on_cancel_refused = following.refused
    return following


class _Following:
    """Who had not ended when the cancel went out, and what becomes of them."""

    collection: Collection

    def __init__(self, audience: Audience) -> None:
        self.remaining: set[str] = set()
        self.stopped = Stopped(0, 0)
        self._audience = audience

    async def read_who_ended(self) -> None:
        """Before the cancel goes out: the others are told of from now on."""
        collection = self.collection
        there = awaited(collection.targeted, utc(time.time()))
        await collection.listen()
        await collection.read_stream()
        self.remaining |= collection.tally.waiting(there)
        self.stopped.running, self.stopped.ended_before = len(self.remaining), len(collection.tally.said)

    async def until_ended(self, follow_s: float, stop: asyncio.Event) -> None:
        """Until nobody remains, or the time is over, or `stop` is set."""
        ending = self.collection.until_over(awaited=self.remaining, wait=False, tick=lambda: None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(follow_s):
                await until_stopped(stop, ending)

    def ended(self, agent: str, name: str, outcome: Outcome) -> None:
        """What had ended before is known to whoever asked."""
        if agent in self.remaining:
            self._audience.outcome(agent, name, outcome.state, outcome)

    def refused(self, agent: str, outcome: Outcome) -> None:
        """It goes on, and is not waited for."""
        name = self.collection.name_of(agent)
        self.remaining.discard(agent)
        self.stopped.refused[name] = outcome.reason
        self._audience.warn(f"{name} refuses the cancel: {outcome.code}: {outcome.reason}")
