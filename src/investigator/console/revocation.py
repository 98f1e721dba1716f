"""A key that its owner gives up: the revocation goes to every agent, and stays in the stream for those that are off."""

from __future__ import annotations

import secrets

from investigator.broker.connection import Broker
from investigator.pgp.certificate_file import revocation_packet
from investigator.protocol.action import MAX_LIFE
from investigator.protocol.revocation import encode_revocation, revocation_id, revocation_subject


async def publish_revocation(broker: Broker, revocation: bytes) -> None:
    """Publish an OpenPGP key revocation, armored or not, for 30 days; nobody has to sign it, since it proves itself.

    Raises:
        SignatureRefused: it is not one key revocation and nothing else.
        BadInput: larger than agents take.
        BrokerError: the stream did not take it.
    """
    packet = revocation_packet(revocation)
    await broker.publish_acked(
        revocation_subject(packet),
        encode_revocation(packet),
        message_id=f"{revocation_id(packet)}.{secrets.token_hex(8)}",
        ttl_s=MAX_LIFE.total_seconds(),
    )
