"""How an action stood goes on record, for whoever looks later and for the broker, which then lets go of its results."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from investigator.errors import BadInput, BrokerError, DeploymentError
from investigator.protocol.action import utc
from investigator.protocol.envelope import Envelope
from investigator.protocol.record import TallyRecord
from investigator.protocol.subjects import tally_subject

if TYPE_CHECKING:
    from investigator.broker.connection import Broker
    from investigator.console.audience import Audience, Summary
    from investigator.console.collect import Collection
    from investigator.pgp.signer import Signer


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records tallies in one investigator's name."""

    broker: Broker
    by: str
    """The fingerprint of the investigator's key; empty if it is not known."""
    signer: Signer | None
    """None: the tally is not signed, since somebody would have to be asked."""

    async def record(self, collection: Collection, summary: Summary, audience: Audience, *, asked_s: float) -> None:
        """Record how it stands; what stands in the way is told, and spoils nothing else.

        What was not kept here is not recorded as ended: the broker would let go of the only copy.
        """
        if collection.store_problem is not None or summary.sealed:
            return
        try:
            await self.publish(tally_of(collection, summary, by=self.by, asked_s=asked_s))
        except (BrokerError, DeploymentError, BadInput) as error:
            audience.warn(f"how action {summary.action} stands is not on record: {error}")

    async def publish(self, tally: TallyRecord) -> None:
        """Into the records.

        Raises:
            BrokerError: the stream did not take it.
            DeploymentError, BadInput: the signer would not sign.
        """
        text = tally.encode()
        signatures = () if self.signer is None else (self.signer.sign(text),)
        raw = Envelope(action=text.decode(), pgpsignatures=signatures).encode()
        digest = hashlib.sha256(raw).hexdigest()
        await self.broker.publish_acked(tally_subject(tally.id, self.by), raw, message_id=digest)


def tally_of(collection: Collection, summary: Summary, *, by: str, asked_s: float) -> TallyRecord:
    """What there is to record; final if every targeted agent is, or the action's time is over."""
    everyone = not collection.tally.waiting(collection.tally.agents())
    return TallyRecord(
        id=collection.action.id,
        digest=collection.digest,
        by=by,
        asked=utc(int(asked_s)),
        counted=utc(int(time.time())),
        targeted=summary.targeted,
        states=summary.states,
        working=summary.working,
        dropped=summary.dropped,
        final=everyone or collection.is_over,
        through=collection.through,
    )
