"""Stopping an action: find it, write its cancel, sign it, publish it where the action went."""

from __future__ import annotations

import base64
import logging
import math
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from investigator.broker.connection import Broker
from investigator.console.dispatch import Prepared, prepare
from investigator.console.store import Store
from investigator.errors import BadInput, BadTarget
from investigator.logs import about
from investigator.pgp.signer import Signer
from investigator.protocol import kinds
from investigator.protocol.action import MAX_LIFE, is_action_id
from investigator.protocol.cancel import (
    MAX_REASON_CHARACTERS,
    Cancel,
    CancelEnvelope,
    decode_cancel_envelope,
    parse_cancel,
)
from investigator.protocol.envelope import decode_envelope
from investigator.protocol.kinds import claimed_kind
from investigator.protocol.subjects import ACTIONS, action_subject

OUTLIVES_ACTION_S: Final = 2
_log = logging.getLogger(__name__)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Cancelling:
    """A cancel, and the action that it stops where this console could find it."""

    cancel: Cancel
    envelope: CancelEnvelope
    action: Prepared | None

    @property
    def subjects(self) -> tuple[str, ...]:
        """The action's own; where the action is not known, the one that every agent listens to."""
        return self.action.subjects if self.action else (action_subject(("all",), self.cancel.id),)


async def find_action(action_id: str, store: Store, broker: Broker, *, digest: str | None) -> Prepared | None:
    """The action: as it was asked from here, else as the stream has it; with `digest` that one and no other.

    Raises:
        BadInput: no such id or digest, or the stream has several actions under the id and no digest chooses.
        BrokerError: the stream cannot be read.
    """
    if not is_action_id(action_id):
        raise BadInput(f"{action_id[:60]!r} is no action's id (32 hexadecimal digits)")
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise BadInput(f"{digest[:80]!r} is no action's digest (64 hexadecimal digits)")
    own = await store.action(action_id)
    found = {each.envelope.digest: each for each in read_action(own, action_id)} if own is not None else {}
    if digest not in found and (digest is not None or not found):
        for route in ("all", "os.*", "tag.*.*", "agent.*"):
            async for stored in broker.read_stream(ACTIONS, f"mig.action.{route}.{action_id}"):
                found |= {each.envelope.digest: each for each in read_action(stored.data, action_id)}
    if digest is not None:
        return found.get(digest)
    if len(found) > 1:
        raise BadInput(
            f"the stream has {len(found)} different actions {action_id}: digests {', '.join(sorted(found))}",
            hint="--digest says which one is meant.",
        )
    return next(iter(found.values()), None)


def read_action(raw: bytes, action_id: str) -> list[Prepared]:
    """The action in an envelope, or in that of a cancel which took its place; nothing, if it is not this one."""
    try:
        envelope = decode_cancel_envelope(raw).about if claimed_kind(raw) == kinds.CANCEL else decode_envelope(raw)
        prepared = prepare(envelope) if envelope is not None else None
    except (BadInput, BadTarget):
        return []
    return [prepared] if prepared is not None and prepared.action.id == action_id else []


def write_cancel(
    action_id: str,
    action: Prepared | None,
    *,
    digest: str | None,
    reason: str,
    sealto: bytes | None,
    now_s: float,
) -> Cancelling:
    """What is to be signed. Of an action that is known by its digest alone, the cancel lasts as long as any could.

    Raises:
        BadInput: neither the action nor its digest is known, it has expired, or the reason is too long.
    """
    if len(reason) > MAX_REASON_CHARACTERS:
        raise BadInput(f"a reason of {len(reason):,} characters; {MAX_REASON_CHARACTERS:,} at most")
    if action is not None:
        digest, expireafter = action.envelope.digest, action.action.expireafter
    elif digest is not None:
        expireafter = datetime.fromtimestamp(int(now_s), UTC) + MAX_LIFE - timedelta(seconds=60)
    else:
        raise BadInput(
            f"there is no action {action_id}: it was not asked from here, and the stream does not hold it (any more)",
            hint="With --digest an action is cancelled that is known by its digest alone.",
        )
    cancel = Cancel(
        id=action_id,
        digest=digest,
        expireafter=expireafter,
        reason=reason,
        sealto=None if sealto is None else base64.b64encode(sealto).decode(),
    )
    envelope = CancelEnvelope(v=1, action=cancel.encode().decode(), about=action.envelope if action else None)
    return check_cancel(envelope, now_s=now_s)


def check_cancel(envelope: CancelEnvelope, *, now_s: float) -> Cancelling:
    """Read what a cancel's signed bytes say, as agents will.

    Raises:
        BadInput: they are no cancel, or carry another action than they name, or that action has expired.
    """
    cancel = parse_cancel(envelope.signed_bytes)
    action = None if envelope.about is None else prepare(envelope.about)
    if action is not None and (action.envelope.digest, action.action.id) != (cancel.digest, cancel.id):
        raise BadInput(f"the cancel of action {cancel.id} carries another action than it names")
    if cancel.expireafter.timestamp() - now_s < 1:
        raise BadInput(f"action {cancel.id} has expired: nothing of it runs any more")
    return Cancelling(cancel, envelope, action)


def sign_cancel(cancelling: Cancelling, signer: Signer) -> Cancelling:
    """One more signature over the same bytes."""
    old = cancelling.envelope
    signature = signer.sign(old.signed_bytes)
    envelope = CancelEnvelope(v=1, action=old.action, pgpsignatures=(*old.pgpsignatures, signature), about=old.about)
    envelope.encode()
    return Cancelling(cancelling.cancel, envelope, cancelling.action)


async def publish_cancel(cancelling: Cancelling, broker: Broker, *, now_s: float) -> None:
    """Into the stream behind the action, where agents ask for the last one; until the action's life is over.

    Raises:
        BrokerError: the stream did not take it.
    """
    raw = cancelling.envelope.encode()
    # the action stands before it on the same subject, and must not be the last one there for even a second
    left_s = max(math.ceil(cancelling.cancel.expireafter.timestamp() - now_s), 0) + OUTLIVES_ACTION_S
    for subject in cancelling.subjects:
        message_id = f"{cancelling.envelope.digest}.{secrets.token_hex(8)}"
        await broker.publish_acked(subject, raw, message_id=message_id, ttl_s=left_s)
    signed = cancelling.cancel
    _log.info(
        "action %s: a cancel of it was published",
        signed.id,
        extra=about("cancel-published", action=signed.id, digest=signed.digest),
    )
