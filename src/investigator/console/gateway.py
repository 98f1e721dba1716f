"""What a gateway does for scripts: publishes what people signed, and passes on what agents answer.

It holds no key that an agent would obey, and none that opens an answer. What agents would refuse is not published, so that a
script is told at once; agents decide all the same, each by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from investigator.broker.connection import Broker
from investigator.broker.micro import Exchange
from investigator.config import GatewayConfig
from investigator.console.audience import Summary
from investigator.console.cancelling import Cancelling, check_cancel, publish_cancel
from investigator.console.condition import compile_target
from investigator.console.counting import Relay
from investigator.console.dispatch import Prepared
from investigator.console.fleet import earlier_outcomes, load_fleet
from investigator.console.investigation import investigate
from investigator.console.recorded import recorded_actions
from investigator.console.records import Signatures
from investigator.console.relaying import Relaying
from investigator.console.render_records import document
from investigator.console.results import find_asked, follow_results
from investigator.console.rules import Rules, judge_signatures, load_rules
from investigator.console.session import Session
from investigator.console.signed_file import check_content
from investigator.console.store import Store
from investigator.console.verdict import known_names
from investigator.errors import BadInput, Refused
from investigator.protocol import acl, api
from investigator.protocol.action import utc
from investigator.protocol.cancel import CancelEnvelope, decode_cancel_envelope
from investigator.protocol.envelope import Envelope
from investigator.protocol.kinds import CANCEL, claimed_kind
from investigator.protocol.subjects import ACTIONS


class BadSignature(Refused):
    """No key that is trusted here signed these bytes."""

    code = "signature"


class NotEnough(Refused):
    """Those who signed may not ask this."""

    code = "permission"


class AlreadyCancelled(Refused):
    """Somebody who may has stopped this action."""

    code = "cancelled"


class WrongSealto(Refused):
    """The request does not say what the signed action says of who can read its results."""

    code = "sealto"


@dataclass(slots=True)
class Gateway:
    """The methods of `mig.api`; each answers one exchange, and raises what it cannot do."""

    home: Path
    config: GatewayConfig
    broker: Broker
    store: Store

    def methods(self) -> Mapping[str, Callable[[Exchange], Awaitable[None]]]:
        """By name, as in `api.METHODS`."""
        return {
            "run": self.run,
            "agents": self.agents,
            "actions": self.actions,
            "results": self.results,
            "cancel": self.cancel,
        }

    async def run(self, exchange: Exchange) -> None:
        """Publish a signed action, and pass on what comes.

        Raises:
            BadInput: no request, or no action that can run; `BadTarget` likewise.
            Refused: `signature`, `permission`, `sealto`, `cancelled`, or its condition is not its target's.
        """
        request = api.read_request(exchange.data, api.Run)
        prepared = await asyncio.to_thread(self._admitted, request)
        await self._refuse_cancelled(prepared)

        async def follow(passing: Relaying) -> Summary:
            return await investigate(
                prepared,
                await self._session(),
                passing,
                private_key=None,
                wait=request.until == "expired",
                stop=passing.stop,
                relay=Relay(passing.payload) if request.until == "answered" else Relay(passing.payload, math.inf),
            )

        await Relaying(exchange, prepared).lead(follow)

    async def results(self, exchange: Exchange) -> None:
        """Pass on what came of an action, and with `follow` what comes.

        Raises:
            BadInput: no request, or no such action.
        """
        request = api.read_request(exchange.data, api.Results)
        asked = await find_asked(request.action, self.store, self.broker)

        async def follow(passing: Relaying) -> Summary:
            return await follow_results(
                asked,
                await self._session(),
                passing,
                private_key=None,
                follow=request.follow,
                stop=passing.stop,
                relay=Relay(passing.payload, math.inf),
            )

        await Relaying(exchange, asked.prepared).lead(follow)

    async def agents(self, exchange: Exchange) -> None:
        """The agents that a target means.

        Raises:
            BadInput: no request; `BadTarget`: no condition.
        """
        condition = compile_target(api.read_request(exchange.data, api.Agents).target)[1]
        fleet = await load_fleet(await self._session())
        now = utc(time.time())
        hosts = fleet.inventory.matching(condition, now, await earlier_outcomes(self.store, condition))
        for line in [*fleet.warnings, *fleet.standings(hosts)]:
            await exchange.send(api.encode(api.Notice(text=line)))
        for host in hosts:
            row = fleet.enrolled.row(host, now)
            told = api.AgentRow(id=host.id, name=host.name, status=row["status"], last_seen=host.last_seen, row=row)
            await exchange.send(api.encode(told))

    async def actions(self, exchange: Exchange) -> None:
        """What was asked, by everybody.

        Raises:
            BadInput: no request.
        """
        request, now_s = api.read_request(exchange.data, api.Actions), time.time()
        rules = await asyncio.to_thread(self._rules)
        signatures = Signatures(rules.keyring, known_names(rules, now_s=now_s), rules.max_signature_age_s)
        lines, problems = await recorded_actions(
            self.store, self.broker, signatures, now=utc(now_s), everything=request.everything
        )
        for problem in problems:
            await exchange.send(api.encode(api.Notice(text=problem)))
        for line in lines:
            told = {key: value for key, value in document(line).items() if key != "type"}
            await exchange.send(api.encode(msgspec.convert(told, api.ActionRow)))

    async def cancel(self, exchange: Exchange) -> None:
        """Publish a signed cancel.

        Raises:
            BadInput: no request, or no cancel of an action that may still run.
            Refused: `signature`, `permission`.
        """
        request = api.read_request(exchange.data, api.Cancel)
        cancelling = await asyncio.to_thread(self._may_cancel, request.envelope)
        exchange.action = cancelling.cancel.id
        await publish_cancel(cancelling, self.broker, now_s=time.time())
        told = api.Cancelled(action=cancelling.cancel.id, digest=cancelling.cancel.digest)
        await exchange.send(api.encode(told))

    async def _session(self) -> Session:
        rules = await asyncio.to_thread(self._rules)
        return Session(self.broker, self.store, rules, self.config.enrolment)

    def _rules(self) -> Rules:
        return load_rules(self.home, acl=self.config.acl, keyring=self.config.keyring)

    def _admitted(self, request: api.Run) -> Prepared:
        """An action that agents with these rules take, whose results go where the script says.

        Who signed it comes first: nothing else of what a stranger wrote is looked into.
        """
        now_s, envelope, rules = time.time(), request.envelope, self._rules()
        signers = _signers(envelope, rules, now_s)
        prepared = check_content(envelope, now_s=now_s)
        action = prepared.action
        shortages = rules.acl.shortages([operation.module for operation in action.operations], signers)
        if shortages:
            raise NotEnough(f"action {action.id}: {'; '.join(map(str, shortages))}")
        if request.sealto != (action.sealto or api.NONE):
            raise WrongSealto(
                f"action {action.id}: the request says {request.sealto[:60]!r}, the signed action {action.sealto or api.NONE!r}",
                hint="`sealto` repeats the action's, or says `none` for one whose results everybody on their way may read.",
            )
        return prepared

    def _may_cancel(self, envelope: CancelEnvelope) -> Cancelling:
        """By one who signed the action and has weight for it, or by the weight for `cancel`: as agents judge it."""
        now_s, rules = time.time(), self._rules()
        signers = _signers(envelope, rules, now_s)
        cancelling = check_cancel(envelope, now_s=now_s)
        shortages = rules.acl.shortages([acl.CANCEL], signers)
        if shortages and cancelling.action is not None:
            both = signers & _signers(cancelling.action.envelope, rules, now_s)
            if any(rules.acl.weigh(operation.module, both).got for operation in cancelling.action.action.operations):
                return cancelling
        if shortages:
            raise NotEnough(f"the cancel: {'; '.join(map(str, shortages))}")
        return cancelling

    async def _refuse_cancelled(self, prepared: Prepared) -> None:
        """Published again, an action would hide its own cancel from agents that are away: the last word of a subject counts."""
        async for stored in self.broker.batch_get(ACTIONS, subjects=prepared.subjects):
            if claimed_kind(stored.data) != CANCEL:
                continue
            cancelled = ""
            with contextlib.suppress(BadInput, Refused):  # nobody's cancel stops nothing
                envelope = decode_cancel_envelope(stored.data)
                cancelling = await asyncio.to_thread(self._may_cancel, envelope)
                cancelled = cancelling.cancel.digest
            if cancelled == prepared.envelope.digest:
                raise AlreadyCancelled(f"action {prepared.action.id} was cancelled", hint="`results` has what came.")


def _signers(envelope: Envelope, rules: Rules, now_s: float) -> frozenset[str]:
    """Who signed it.

    Raises:
        BadSignature: nobody who is known here.
    """
    texts = [(f"signature {number}", text) for number, text in enumerate(envelope.pgpsignatures, start=1)]
    judged = judge_signatures(envelope.signed_bytes, texts, (), rules, now_s=now_s)
    if not judged.good:
        raise BadSignature("; ".join(f"{place}: {why}" for place, why in judged.bad) or "it is not signed")
    return judged.signers
