"""The arithmetic of a check: do these numbers sign this digest with this key? By cryptography alone; nothing here decides anything.

Keys and signatures were measured by `framing`, `key` and `signature` before. PGPy is not loaded for this: it hands the same
numbers to the same library, and costs every host 4 MB and 40 ms for it (ADR 13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from investigator.pgp.framing import read_numbers
from investigator.pgp.policy import CURVES, ECDSA, RSA, SignatureRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

_HASHES: Final[dict[int, hashes.HashAlgorithm]] = {
    8: hashes.SHA256(),
    9: hashes.SHA384(),
    10: hashes.SHA512(),
    12: hashes.SHA3_256(),
    14: hashes.SHA3_512(),
}
_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "NIST P-256": ec.SECP256R1(),
    "NIST P-384": ec.SECP384R1(),
    "NIST P-521": ec.SECP521R1(),
}
_ED25519_BYTES: Final = 32


class VerifyingKey:
    """The numbers of a public key, ready to check signatures; may be used from several threads."""

    def __init__(self, algorithm: int, material: bytes) -> None:
        """Load what stands behind the algorithm in a key packet (RFC 9580 §5.5.5).

        Raises:
            SignatureRefused: OpenSSL does not take them for a key: a point off its curve, say.
        """
        try:
            self._key = _load(algorithm, material)
        except ValueError:
            raise SignatureRefused("malformed key material") from None

    def verify(self, digest: bytes, numbers: Sequence[int], hash_algorithm: int) -> bool:
        """Whether the numbers of a signature packet (RFC 9580 §5.2.3) sign the digest by that hash with this key."""
        try:
            self._check(digest, numbers, Prehashed(_HASHES[hash_algorithm]))
        except (InvalidSignature, ValueError, OverflowError):  # the latter two: a number larger than the key's
            return False
        return True

    def _check(self, digest: bytes, numbers: Sequence[int], hashed: Prehashed) -> None:
        key = self._key
        if isinstance(key, rsa.RSAPublicKey):
            (number,) = numbers
            # OpenSSL wants it as long as the modulus
            key.verify(number.to_bytes((key.key_size + 7) // 8, "big"), digest, PKCS1v15(), hashed)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            r, s = numbers
            key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(hashed))
        else:
            # what is signed is the digest, as if it were the message (RFC 9580 §5.2.3.2)
            key.verify(b"".join(number.to_bytes(_ED25519_BYTES, "big") for number in numbers), digest)


def _load(algorithm: int, material: bytes) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    if algorithm == RSA:
        modulus, exponent = read_numbers(material, 2)
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    size = material[0]
    curve = CURVES[material[1 : 1 + size]]
    (point,) = read_numbers(material[1 + size :], 1)
    encoded = point.to_bytes(curve.point_bytes, "big")
    if algorithm == ECDSA:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve.name], encoded)
    return ed25519.Ed25519PublicKey.from_public_bytes(encoded[1:])
