"""Stages 1 to 3: an action is written, signed, and published where its target leads."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from investigator.broker.connection import Broker
from investigator.broker.problems import UnansweredError
from investigator.console.condition import compile_target
from investigator.errors import BadInput, BadTarget
from investigator.pgp.signer import Signer
from investigator.protocol.action import Action, Operation, check_action, parse_action, utc
from investigator.protocol.envelope import Envelope
from investigator.protocol.subjects import Route, action_subject
from investigator.protocol.target import Condition, parse_condition, routes

VALID_BEFORE: Final = timedelta(seconds=60)
"""How long before now an action becomes valid, for hosts whose clock is behind; MIG's."""
MAX_NAME_CHARACTERS: Final = 100
_ACTION_ID: Final = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An action that is ready to go: what agents obey, and where it is published."""

    action: Action
    condition: Condition
    routes: tuple[Route, ...]
    envelope: Envelope

    @property
    def subjects(self) -> tuple[str, ...]:
        """Every subject that it is published on."""
        return tuple(action_subject(route, self.action.id) for route in self.routes)


def write_action(
    *,
    name: str,
    target: str,
    operations: Sequence[Operation],
    now_s: float,
    life: timedelta,
    macros: Mapping[str, str],
    sealto: bytes | None,
    description: dict[str, Any] | None = None,
    threat: dict[str, Any] | None = None,
    validfrom: datetime | None = None,
    expireafter: datetime | None = None,
    found: str | None = None,
    notfound: str | None = None,
) -> Action:
    """Stage 1. `name` is cut as MIG's console cuts it; without times it is valid from a minute ago until now + `life`.

    `found`, `notfound`: the id of an earlier action that must have found something, or nothing, on an agent.

    Raises:
        BadTarget: the target is no condition over the agents table.
        BadInput: the first other thing that is wrong.
    """
    # a macro is this console's own: the action carries its text, which everybody can compile again
    target = _narrowed(macros.get(target.strip(), target), found=found, notfound=notfound)
    tree, _ = compile_target(target)
    now = utc(now_s)
    action = Action(
        id=secrets.token_hex(16),
        name=name if len(name) <= MAX_NAME_CHARACTERS else name[:MAX_NAME_CHARACTERS] + "...",
        target=target,
        condition=tree,
        validfrom=validfrom or now.replace(microsecond=0) - VALID_BEFORE,
        expireafter=expireafter or now.replace(microsecond=0) + life,
        operations=tuple(operations),
        description=description,
        threat=threat,
        sealto=None if sealto is None else base64.b64encode(sealto).decode(),
    )
    check_action(action)
    if action.expireafter <= now:
        raise BadInput(f"action: expireafter: {action.expireafter.isoformat()} has passed")
    return action


def _narrowed(target: str, *, found: str | None, notfound: str | None) -> str:
    """MIG's `-target-found` and `-target-notfound`, as the sub-select that MIG's users write; a target's OR stays inside."""
    action, verdict = (found, "true") if found is not None else (notfound, "false")
    if action is None:
        return target
    if not _ACTION_ID.fullmatch(action):
        raise BadInput(f"{action[:60]!r} is no action's id")
    earlier = (
        "id IN (SELECT agentid FROM commands, json_array_elements(commands.results) AS r "  # noqa: S608 - a target
        f"WHERE commands.actionid = '{action}' AND r#>>'{{foundanything}}' = '{verdict}')"
    )
    return earlier if target.strip().lower() == "all" else f"{earlier} AND ({target})"


def sign_action(action: Action, signer: Signer) -> Prepared:
    """Stage 2: sign the exact bytes."""
    text = action.encode()
    return prepare(Envelope(action=text.decode(), pgpsignatures=(signer.sign(text),)))


def add_signature(prepared: Prepared, signer: Signer) -> Prepared:
    """One more investigator signs the same bytes."""
    envelope = prepared.envelope
    signature = signer.sign(envelope.signed_bytes)
    return prepare(Envelope(action=envelope.action, pgpsignatures=(*envelope.pgpsignatures, signature)))


def prepare(envelope: Envelope) -> Prepared:
    """Read what an envelope's signed bytes say, as agents will.

    Raises:
        BadInput: they are no action.
        BadTarget: what agents would obey is not a condition, or is not what the target says in words.
    """
    action = parse_action(envelope.signed_bytes)
    condition = parse_condition(action.condition)
    leads_to = routes(condition)
    if not leads_to:
        raise BadTarget(f"the target {action.target!r} holds for no agent, whatever its facts")
    envelope.encode()
    return Prepared(action, condition, leads_to, envelope)


async def publish(
    prepared: Prepared, broker: Broker, *, now_s: float, only: Sequence[str] | None = None
) -> dict[str, int]:
    """Stage 3: into the actions' stream, on every subject that the target needs (or `only` these of them), until it expires.

    Returns each subject's sequence there.

    Raises:
        BrokerError: the stream did not take it.
        BadInput: it has expired meanwhile.
    """
    left_s = int(prepared.action.expireafter.timestamp() - now_s)
    if left_s < 1:
        raise BadInput(f"action {prepared.action.id} has expired")
    raw = prepared.envelope.encode()
    return {
        subject: await _store(broker, subject, raw, digest=prepared.envelope.digest, ttl_s=left_s)
        for subject in (prepared.subjects if only is None else only)
    }


async def _store(broker: Broker, subject: str, raw: bytes, *, digest: str, ttl_s: int) -> int:
    """Asked again under the same id, a stream that had it already says so: agents may run it while the broker is too busy to tell."""
    message_id = f"{digest}.{secrets.token_hex(8)}"
    try:
        return await broker.publish_acked(subject, raw, message_id=message_id, ttl_s=ttl_s)
    except UnansweredError:
        return await broker.publish_acked(subject, raw, message_id=message_id, ttl_s=ttl_s)
