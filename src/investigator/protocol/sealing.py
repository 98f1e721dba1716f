"""Stage 6: results that only the asker can open.

HPKE (RFC 9180) in base mode, with DHKEM(X25519), HKDF-SHA256 and ChaCha20-Poly1305, as `cryptography` has it. `context`
is bound in as HPKE's `info`: a box sealed for one action and agent does not open as another's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from investigator.errors import Refused

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_PROBE: Final = X25519PrivateKey.from_private_bytes(bytes(range(32)))
"""No secret: any private key comes to zero with a point of low order, and with no other."""


class NotSealedToUs(Refused):
    """A box that this key does not open."""

    code = "not-sealed-to-us"


def generate_sealing_key() -> bytes:
    """The 32 private bytes of a new X25519 key."""
    return X25519PrivateKey.generate().private_bytes_raw()


def public_sealing_key(private: bytes) -> bytes:
    """What goes into an action's `sealto`."""
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def can_seal_to(public: bytes) -> bool:
    """Whether a box can be sealed to these 32 bytes: not to a point of low order, with which every secret is zero.

    RFC 7748 §6.1; whoever writes such a `sealto` must not stop agents at answering.
    """
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return False
    return True


def seal(public: bytes, content: bytes, *, context: bytes) -> bytes:
    """A box that only the private key's holder opens, and only with the same context."""
    return _SUITE.encrypt(content, X25519PublicKey.from_public_bytes(public), info=context)


def unseal(private: bytes, box: bytes, *, context: bytes) -> bytes:
    """What is in the box.

    Raises:
        NotSealedToUs: sealed to another key, for another context, or damaged.
    """
    try:
        return _SUITE.decrypt(box, _opener(private), info=context)
    except (InvalidTag, ValueError):
        raise NotSealedToUs("a result that is not sealed to this console's key") from None


@lru_cache(maxsize=4)
def _opener(private: bytes) -> X25519PrivateKey:
    """Its public half is reckoned as it is made, which costs as much as opening a box."""
    return X25519PrivateKey.from_private_bytes(private)
