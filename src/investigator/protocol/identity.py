"""Stage 6: an agent's own Ed25519 key: what it says is signed by it, with the kind of thing bound in.

A frame is the 64-byte signature followed by the body. The signature is over

    investigator/1 <bytes in kind> <kind> <bytes in body> <body>

so that a heartbeat never passes for a result. The agent's id is derived from its public key.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from investigator.errors import Refused

SIGNATURE_BYTES: Final = 64
FACTS: Final = "facts"
HEARTBEAT: Final = "heartbeat"
OUTCOME: Final = "outcome"
ALERTS: Final = "alerts"
ENROL: Final = "enrol"
CLAIM: Final = "enrol-claim"
"""Signed by a token's key: this key, name and machine are one of those that it lets in."""
SUCCESSION: Final = "enrol-succession"
"""Signed by an agent's former key: this key follows it."""


class BadFrame(Refused):
    """A frame that its alleged author did not sign."""

    code = "bad-frame"


def signable(kind: str, body: bytes) -> bytes:
    """The bytes that are signed: the kind bound to the body, both with their lengths."""
    return b"investigator/1 %d %b %d %b" % (len(kind), kind.encode(), len(body), body)


def agent_id(public_key: bytes) -> str:
    """The id of the agent with this key: 26 characters of base 32, 128 bits of SHA-256 of the key."""
    return base64.b32encode(hashlib.sha256(public_key).digest()[:16]).decode().rstrip("=").lower()


class Identity:
    """An agent's key pair."""

    def __init__(self, private_bytes: bytes) -> None:
        """Take the 32 private bytes, as `generate` or an earlier `private_bytes` gave them."""
        self._private = Ed25519PrivateKey.from_private_bytes(private_bytes)
        self.public_key = self._private.public_key().public_bytes_raw()
        self.id = agent_id(self.public_key)

    @classmethod
    def generate(cls) -> Identity:
        """A new one."""
        return cls(Ed25519PrivateKey.generate().private_bytes_raw())

    @property
    def private_bytes(self) -> bytes:
        """For the agent's state folder, mode 0600, and nowhere else."""
        return self._private.private_bytes_raw()

    def frame(self, kind: str, body: bytes) -> bytes:
        """Signature and body, for the wire."""
        return self.sign(kind, body) + body

    def sign(self, kind: str, body: bytes) -> bytes:
        """The signature alone, 64 bytes."""
        return self._private.sign(signable(kind, body))


def open_frame(kind: str, frame: bytes, public_key: bytes) -> bytes:
    """The body of a frame of this kind by this key.

    Raises:
        BadFrame: it is not.
    """
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(frame[:SIGNATURE_BYTES], signable(kind, frame[SIGNATURE_BYTES:]))
    except (InvalidSignature, ValueError):
        raise BadFrame(f"a {kind} that its agent did not sign") from None
    return frame[SIGNATURE_BYTES:]
