"""One public key packet (RFC 9580 §5.5.2), primary or subkey: points 1 and 3 of the policy."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from investigator.pgp.framing import read_numbers
from investigator.pgp.policy import CURVES, ECDSA, EDDSA, MAX_KEY_BYTES, RSA, RSA_BITS, SignatureRefused

if TYPE_CHECKING:
    from investigator.pgp.verifying import VerifyingKey


class Key:
    """A public key that may verify signatures.

    `hashed` is what self-signatures and bindings hash of it, `created` is in seconds since 1970, `fingerprint` is 40
    upper-case hex digits, `min_hash_bits` the shortest hash that it may sign.
    """

    def __init__(self, body: bytes) -> None:
        """Read a packet's body.

        Raises:
            SignatureRefused: another version, an algorithm or size that is not allowed, or malformed numbers.
        """
        self.hashed = key_hashed(body)
        self.fingerprint = fingerprint_of(body)
        self.created = int.from_bytes(body[1:5], "big")
        self.algorithm = body[5]
        self.kind, self.min_hash_bits = _check_material(self.algorithm, body[6:])
        # Here and not above: whoever only looks at policy or framing does not pay for OpenSSL.
        from investigator.pgp.verifying import VerifyingKey

        self.numbers: VerifyingKey = VerifyingKey(self.algorithm, body[6:])

    @property
    def key_id(self) -> str:
        """The last 16 hex digits: enough to find a key, never to know one (11)."""
        return self.fingerprint[-16:]


def key_hashed(body: bytes) -> bytes:
    """A key packet as signatures hash it (RFC 9580 §5.2.4)."""
    if len(body) < 6 or body[0] != 4:  # (1)
        raise SignatureRefused(f"key of version {body[0]}; only version 4 is supported" if body else "empty key packet")
    if len(body) > MAX_KEY_BYTES:
        raise SignatureRefused(f"key packet of {len(body):,} bytes")
    return b"\x99" + len(body).to_bytes(2, "big") + body


def fingerprint_of(body: bytes) -> str:
    """A version 4 key's fingerprint (RFC 9580 §5.5.4.2), 40 upper-case hex digits."""
    return hashlib.sha1(key_hashed(body), usedforsecurity=False).hexdigest().upper()


def _check_material(algorithm: int, material: bytes) -> tuple[str, int]:
    """(3) What kind of key it is, for people, and the shortest hash that it may sign, in bits."""
    if algorithm == RSA:
        modulus, exponent = read_numbers(material, 2)
        if modulus.bit_length() not in RSA_BITS:
            raise SignatureRefused(f"RSA key of {modulus.bit_length()} bits; 2048 to 8192 are allowed")
        if not modulus & 1 or not exponent & 1 or not 2 < exponent < 1 << 32:  # with exponent 1 anybody signs
            raise SignatureRefused("RSA key with an unsafe exponent or an even modulus")
        return f"RSA-{modulus.bit_length()}", 0
    if algorithm not in (ECDSA, EDDSA):
        raise SignatureRefused(f"key algorithm {algorithm} is not allowed")
    size = material[0] if material else 0
    curve = CURVES.get(material[1 : 1 + size])
    if curve is None or curve.algorithm != algorithm:
        raise SignatureRefused("curve is not allowed")
    (point,) = read_numbers(material[1 + size :], 1)
    if point.bit_length() <= 8 * (curve.point_bytes - 1) or point >> 8 * (curve.point_bytes - 1) != curve.point_prefix:
        raise SignatureRefused(f"{curve.name} key with a malformed point")
    return curve.name, min(curve.bits, 512)
