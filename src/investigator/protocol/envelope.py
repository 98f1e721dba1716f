"""Stage 2: the signed bytes and their signatures, as they travel.

    {"v": 1, "action": "<the action's JSON, as text>", "pgpsignatures": ["-----BEGIN PGP SIGNATURE-----…", …]}

What is signed is the text of `action`, byte for byte, so that `gpg --verify action.json.asc action.json` agrees.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.action import MAX_ACTION_BYTES
from investigator.protocol.codec import convert, strict_loads

MAX_ENVELOPE_BYTES: Final = MAX_ACTION_BYTES
MAX_SIGNATURES: Final = 16


class Envelope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes that somebody signed, not yet believed."""

    v: Literal[1] = 1
    action: str
    pgpsignatures: Annotated[tuple[str, ...], msgspec.Meta(max_length=MAX_SIGNATURES)] = ()

    @property
    def signed_bytes(self) -> bytes:
        """What the signatures are over."""
        return self.action.encode()

    @property
    def digest(self) -> str:
        """SHA-256 of the signed bytes, in lower hexadecimal: what ledgers and results go by."""
        return hashlib.sha256(self.signed_bytes).hexdigest()

    def encode(self) -> bytes:
        """The envelope for the wire.

        Raises:
            BadInput: more than agents take.
        """
        raw = orjson.dumps(msgspec.to_builtins(self))
        if len(raw) > MAX_ENVELOPE_BYTES:
            raise BadInput(
                f"action: {len(raw):,} bytes with its signatures; {MAX_ENVELOPE_BYTES:,} at most",
                hint="`-z` compresses the parameters.",
            )
        return raw


def decode_envelope(raw: bytes) -> Envelope:
    """Read an envelope from the wire; only its shape is checked, nothing in it is trusted.

    Raises:
        BadInput: it is none, or too large.
    """
    return convert(strict_loads(raw, what="envelope", max_bytes=MAX_ENVELOPE_BYTES), Envelope, what="envelope")
