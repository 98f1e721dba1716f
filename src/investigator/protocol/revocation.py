"""A key's revocation on the wire: an OpenPGP packet that proves itself, so nobody needs to sign what carries it.

    {"v": 1, "revocation": "<base64 of one signature packet of type 0x20>"}

It travels like an action for everybody, under an id that is derived from it, and stays in the stream for 30 days. An agent
keeps it if the key that it revokes, which stands in the agent's keyring, made it; nobody can revoke another's key.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final, Literal

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.codec import convert, strict_loads
from investigator.protocol.subjects import action_subject

MAX_REVOCATION_BYTES: Final = 16 * 1024
_MAX_ENVELOPE_BYTES: Final = 2 * MAX_REVOCATION_BYTES


class RevocationEnvelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A packet, not yet believed."""

    v: Literal[1]
    revocation: str


def encode_revocation(packet: bytes) -> bytes:
    """For the wire.

    Raises:
        BadInput: larger than agents take.
    """
    if len(packet) > MAX_REVOCATION_BYTES:
        raise BadInput(f"revocation: {len(packet):,} bytes; {MAX_REVOCATION_BYTES:,} at most")
    return orjson.dumps({"v": 1, "revocation": base64.b64encode(packet).decode()})


def decode_revocation(raw: bytes, *, came_under: str) -> bytes:
    """The packet from the wire, that came under this id.

    Raises:
        BadInput: its shape is none, it is too large, or it came under another id than its own.
    """
    document = strict_loads(raw, what="revocation", max_bytes=_MAX_ENVELOPE_BYTES)
    text = convert(document, RevocationEnvelope, what="revocation").revocation
    try:
        packet = base64.b64decode(text, validate=True)
    except ValueError:
        raise BadInput("revocation: no base64") from None
    if not 0 < len(packet) <= MAX_REVOCATION_BYTES:
        raise BadInput(f"revocation: {len(packet):,} bytes; 1 to {MAX_REVOCATION_BYTES:,} are taken")
    if revocation_id(packet) != came_under:
        raise BadInput("revocation: it came under another id than its own")
    return packet


def revocation_id(packet: bytes) -> str:
    """What stands in its subject where an action has its id: the start of SHA-256 of the packet."""
    return hashlib.sha256(packet).hexdigest()[:32]


def revocation_subject(packet: bytes) -> str:
    """Where it is published: every agent listens there."""
    return action_subject(("all",), revocation_id(packet))
