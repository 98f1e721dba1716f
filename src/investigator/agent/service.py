"""The agent's life: connect, say who it is, hear actions, fetch what it missed, deliver what it has to say, stop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from investigator.agent.actions import Actions, Runs
from investigator.agent.counts import Counts
from investigator.agent.delivery import Delivery
from investigator.agent.facts import gather_row
from investigator.agent.registration import Registration
from investigator.agent.state import AgentState
from investigator.agent.survey import Survey
from investigator.agent.trust import Trust
from investigator.broker.connection import Broker, Message, State, Stored
from investigator.config import AgentConfig
from investigator.errors import BrokerError, DeploymentError
from investigator.protocol import kinds
from investigator.protocol.action import utc
from investigator.protocol.facts import Heartbeat, encode_facts, encode_heartbeat
from investigator.protocol.kinds import claimed_kind
from investigator.protocol.subjects import (
    ACTIONS,
    agent_routes,
    facts_subject,
    heartbeat_subject,
    subscription,
)

RETRY_CAP_S: Final = 10.0
GOODBYE_S: Final = 2.0
WITNESSED_WITHIN_S: Final = 5.0
"""How soon a heartbeat tells of new lines in the audit."""
HELD_BYTES: Final = 8 << 20
PAGE_BYTES: Final = 512 << 10
"""Of what is fetched at a time: a host has no megabytes to spare for what it mostly has heard already."""
MAX_TOLD: Final = 100
TRUST_LOOK_S: Final = 15.0
"""How often keyring and ACL are looked at while no action comes, which always looks: so that trouble is seen before."""
_log = logging.getLogger(__name__)


class _Destroyed(Exception):
    """A signed action ended this agent, and its answers are delivered."""


class Agent:
    """One agent, from its configuration and its open state; `run` returns when an action ended it."""

    def __init__(
        self,
        config: AgentConfig,
        state: AgentState,
        trust: Trust,
        runner: Runs,
        *,
        name: str,
        gather: Callable[..., dict[str, Any]] = gather_row,
        survey: Callable[[], Awaitable[Survey]] | None = None,
        counts: Counts | None = None,
    ) -> None:
        """Nothing is touched yet. `gather` makes the facts' row; simulated agents bring their own.

        `survey` tells which modules can run here; without it, the facts say that all can.
        """
        self.config = config
        self.state = state
        self.name = name
        self._trust = trust
        self._gather = gather
        self._survey = survey
        self._surveyed: dict[str, Any] = {}
        self._started = utc(time.time()).isoformat(timespec="seconds").replace("+00:00", "Z")
        self._row: dict[str, Any] = {}
        self._facts_digest = ""
        self._last_sequence = 0
        self._afresh = True
        """Whether the stream of actions is to be read from its beginning."""
        self._connected = asyncio.Event()
        self._mail = asyncio.Event()
        self._returned = asyncio.Event()
        self._decided = asyncio.Event()
        self._destroyed = False
        self.counts = counts or Counts()
        self.actions = Actions(
            state,
            trust,
            runner,
            name=name,
            row=self.judged_row,
            module_timeout_s=config.module_timeout_s,
            posted=self._posted,
            destroyed=self._end_when_delivered,
            counts=self.counts,
        )
        self._delivery = Delivery(state.outbox, self.actions.answers, self.counts)
        self._registration = Registration(facts_subject(self.id))

    @property
    def id(self) -> str:
        """Derived from the agent's key."""
        return self.state.identity.id

    def judged_row(self) -> dict[str, Any]:
        """The facts as this agent judges a target on them: an agent that judges is there, now, by its own clock."""
        return {**self._row, "status": "online", "heartbeattime": utc(time.time())}

    def _posted(self) -> None:
        self._mail.set()
        self._decided.set()

    def _end_when_delivered(self) -> None:
        self._destroyed = True
        self._mail.set()

    def notice(self, connection: State) -> None:
        """What the connection's `on_state` says; after each gap, what was missed is fetched.

        Another broker than before may be there, or the same one with an empty store, whose sequences begin anew: then
        what was seen of the old one says nothing. Valid actions are few, and what is known of them passes in silence.
        """
        if connection in (State.CONNECTED, State.RECONNECTED):
            self._afresh = True
            self.counts.connected = True
            self.counts.connections += 1
            self._returned.set()
        elif connection in (State.DISCONNECTED, State.REFUSED):
            self.counts.connected = False
        if connection not in (State.DISCONNECTED, State.REFUSED):
            self._connected.set()

    async def run(self, broker: Broker, *, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until cancelled, or ended by an action; `ready` is called once subscribed and registered."""
        await self._look_again()
        self.actions.report_unfinished()
        for subject in self._subjects():
            await self._patiently(functools.partial(broker.subscribe, subject, self._on_message))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._register(broker, ready))
                tasks.create_task(self._beat(broker))
                tasks.create_task(self._catch_up_regularly(broker))
                tasks.create_task(self._deliver(broker))
                tasks.create_task(self._watch_facts(broker))
                tasks.create_task(self._watch_trust(broker))
                tasks.create_task(self.state.alerts.deliver(broker))
        except* _Destroyed:
            pass
        finally:
            await self._say_goodbye(broker)

    def _subjects(self) -> list[str]:
        """What this agent listens to, and asks the stream for."""
        return [subscription(route) for route in agent_routes(self.id, self._row["os"], self._row["tags"])]

    def _on_message(self, message: Message) -> None:
        self._hear(message, live=True)

    def _hear(self, message: Message | Stored, *, live: bool) -> None:
        if not self.actions.heard(message.subject, message.data, live=live):
            self._afresh = True  # it is in the stream, and the disk may have room when that is asked next

    async def _register(self, broker: Broker, ready: Callable[[], None]) -> None:
        """After every (re)connect: facts, a heartbeat, and the actions that were missed."""
        told = False
        while True:
            await self._connected.wait()
            self._connected.clear()
            # whoever comes back with thousands of others does not ask in the same instant
            await asyncio.sleep(random.uniform(0, 0.05 if not told else 1.0))  # noqa: S311 - spreads load, hides nothing
            await self._patiently(lambda: self._publish_facts(broker))
            await self._patiently(lambda: self._catch_up(broker))
            self._mail.set()
            if not told:
                told = True
                ready()

    async def _patiently(self, attempt: Callable[[], Any]) -> None:
        """Until it succeeds, with growing, jittered pauses."""
        pause_s = 0.25
        while True:
            try:
                await attempt()
            except BrokerError as error:
                _log.info("%s; trying again", error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause_s = min(pause_s * 2, RETRY_CAP_S)
            else:
                return

    async def _look_again(self) -> None:
        """At all that the facts tell; where no worker answers, the modules stay as they were told."""
        if self._survey is not None:
            try:
                self._surveyed = (await self._survey()).environment()
            except DeploymentError as error:
                _log.warning("%s", error)
        self._refresh_row()

    def _refresh_row(self) -> None:
        row = self._gather(agent=self.id, name=self.name, tags=self.config.tags, started=self._started)
        environment = {**row["environment"], **self._surveyed}
        if self.config.extraprivacymode:
            environment["extraprivacymode"] = True
        trust = self._trust_summary()
        if trust:
            environment["trust"] = trust
        self._row = {**row, "environment": environment}

    def _trust_summary(self) -> dict[str, Any]:
        """With the revocations that came over the wire, so that who publishes one sees which hosts have it."""
        summary = self._trust.summary()
        return {**summary, "revocations_kept": self.state.revocations.fingerprints[:MAX_TOLD]} if summary else {}

    async def _publish_facts(self, broker: Broker) -> None:
        membership = self.state.membership
        frame, self._facts_digest = encode_facts(
            self.state.identity,
            self._row,
            heartbeat_s=self.config.heartbeat_s,
            machine=membership.machine,
            proof=membership.proof,
            succession=membership.succession,
        )
        await self._registration.tell(broker, frame, self._facts_digest)
        await self._heartbeat(broker)

    async def _heartbeat(self, broker: Broker, *, stopping: bool = False) -> None:
        heartbeat = Heartbeat(
            t=round(time.time(), 3),
            f=self._facts_digest,
            s=self._last_sequence,
            r=self.actions.counted_refusals,
            n=self.state.audit.count,
            h=self.state.audit.head,
            x=stopping,
        )
        await broker.publish(heartbeat_subject(self.id), encode_heartbeat(self.state.identity, heartbeat))

    async def _beat(self, broker: Broker) -> None:
        pause_s = _first(self.config.heartbeat_s)
        while True:
            self._decided.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._decided.wait()
                    # soon witnessed elsewhere, so that root has little time to unwrite it; not while all agents answer
                    await asyncio.sleep(WITNESSED_WITHIN_S * random.uniform(0.2, 1))  # noqa: S311 - jitter
            with contextlib.suppress(BrokerError):  # the next one says the same
                await self._heartbeat(broker)
            pause_s = _next(self.config.heartbeat_s)

    async def _watch_facts(self, broker: Broker) -> None:
        pause_s = _first(self.config.facts_refresh_s)
        while True:
            await asyncio.sleep(pause_s)
            pause_s = _next(self.config.facts_refresh_s)
            before = self._row
            await self._look_again()
            if self._row != before:
                await self._patiently(lambda: self._publish_facts(broker))

    async def _watch_trust(self, broker: Broker) -> None:
        """The fleet hears at once which ACL is in force here, and what of it is broken."""
        told = self._trust_summary()
        while True:
            await asyncio.sleep(TRUST_LOOK_S)
            self._trust.look()
            if self._trust_summary() != told:
                told = self._trust_summary()
                self._refresh_row()
                await self._patiently(lambda: self._publish_facts(broker))

    async def _catch_up_regularly(self, broker: Broker) -> None:
        """A leaf link can drop without a word: ask the stream every minute."""
        pause_s = _first(self.config.catch_up_s)
        while True:
            await asyncio.sleep(pause_s)
            pause_s = _next(self.config.catch_up_s)
            with contextlib.suppress(BrokerError):
                await self._catch_up(broker)

    async def _catch_up(self, broker: Broker) -> None:
        """The last message of each subject of ours that came after the last one seen.

        What stops actions is heard before the actions: the revocation of a stolen key before what the thief signed with it.
        """
        after = 0 if self._afresh else self._last_sequence
        self._afresh = False
        try:
            self._last_sequence = await self._hear_missed(broker, after)
        except BaseException:
            self._afresh = self._afresh or not after
            raise

    async def _hear_missed(self, broker: Broker, after: int) -> int:
        """Hear what came after a sequence; returns the last one, which is smaller in a stream that was made anew."""
        newest, held_bytes = 0, 0
        held: list[Stored] = []
        async for stored in self._missed(broker, after):
            newest = max(newest, stored.sequence)
            if claimed_kind(stored.data) != kinds.ACTION:
                self._hear(stored, live=False)
            elif held_bytes < HELD_BYTES and not self.actions.knows(stored.subject, stored.data):
                held.append(stored)
                held_bytes += len(stored.data)
        for stored in held:
            self._hear(stored, live=False)
        # more than is held at once: what was left out is heard now, and what is known passes in silence
        if held_bytes >= HELD_BYTES:
            async for stored in self._missed(broker, after):
                newest = max(newest, stored.sequence)
                self._hear(stored, live=False)
        return newest or after

    def _missed(self, broker: Broker, after: int) -> AsyncIterator[Stored]:
        return broker.batch_get(ACTIONS, subjects=self._subjects(), after_seq=after, page_bytes=PAGE_BYTES)

    async def _deliver(self, broker: Broker) -> None:
        """Publish what the outbox holds until each letter is acknowledged; an agent that was ended lives until then."""
        pause_s = 0.25
        while True:
            await self._mail.wait()
            self._mail.clear()
            self._returned.clear()
            try:
                await self._delivery.go_round(broker)
                pause_s = 0.25
                if self._destroyed and not self._mail.is_set():
                    raise _Destroyed
            except (BrokerError, DeploymentError) as error:
                _log.info("results wait: %s", error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause_s * random.uniform(0.5, 1.5)):  # noqa: S311 - jitter
                        await self._returned.wait()
                pause_s = min(pause_s * 2, RETRY_CAP_S)
                self._mail.set()

    async def _say_goodbye(self, broker: Broker) -> None:
        """Answer for what ran, deliver what can be delivered in two seconds, and say that this agent stops."""
        await self.actions.close()
        with contextlib.suppress(BrokerError, DeploymentError, TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await self._delivery.go_round(broker)
                while await self.state.alerts.deliver_some(broker):
                    pass
                await self._heartbeat(broker, stopping=True)
                await broker.flush()


def _first(period_s: float) -> float:
    """Anywhere within a period: hosts that were started at the same time, by one power cut, do not speak at the same time."""
    return period_s * random.uniform(0.05, 1.0)  # noqa: S311 - spreads load, hides nothing


def _next(period_s: float) -> float:
    return period_s * random.uniform(0.9, 1.1)  # noqa: S311 - likewise
