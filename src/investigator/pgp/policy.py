"""What makes an OpenPGP signature acceptable: thirteen points, each with the attack it stops.

A point is found in the code under its number, `(7)`; where no module is named here, it stands in `signature`.

 1. Version 4 certificates and signatures only. Others are hashed and bound differently, and half-supporting them is how
    one signature comes to mean two things. `signature`, `key`.
 2. A signature file holds exactly one signature packet, of type 0x00, with definite lengths and minimal numbers, nothing
    behind it, its size capped before it is read. Stops a second signature riding along, text around the armor that looks
    signed, other signature types whose hash leaves the document out, parsers that blow up. `framing`, `signature`.
 3. SHA-256/384/512 or SHA3-256/512, at least as long as the curve; RSA 2048-8192, Ed25519, NIST P-256/384/521. Stops
    collisions and factored keys. `policy`, `key`.
 4. The time of creation is signed, once; it lies not before the key, not in the future, not too far back; a signature's
    own lifetime is honoured. Stops back-dating with a key that was replaced, and signatures kept for later.
 5. Critical subpackets that are not understood, and all critical notations, are refused: the signer said "do not take
    this without knowing what it means". The signed issuer is the key; an unsigned issuer is a hint at most. Stops a
    signature being presented as somebody else's.
 6. The certificate has a self-signature under the same rules. Stops expiry dates, flags and names that the owner never
    set, and those forged with SHA-1 collisions. `certificate_file`.
 7. A signing subkey is bound by the primary key and agrees by a back-signature; a key belongs to one certificate of a
    keyring. Stops adopting somebody's subkey, so that one signature votes twice. `certificate_file`, `keyring`.
 8. The right to sign is explicit; the newest statement wins; what is said on the key and on the user ids must agree.
    Stops encryption and authentication keys (which sign what a server tells them to) from signing. `certificate`.
 9. Neither certificate nor subkey is expired, when it signed and now. `certificate`.
10. Revocation fails closed: one that names the key, a designated revoker or nobody counts as it stands, anywhere in the
    file, whatever its date, reason, hash or validity. Stops a stolen key that its owner gave up. `certificate_file`,
    `certificate`, `keyring`.
11. Identity is the full fingerprint of the primary key, never a part of it; a certificate is one identity, however many
    of its keys signed. Stops colliding key ids and double votes. `certificate`, `keyring`.
12. A key file with secret keys, unexpected packets or a second certificate is refused as a whole, and the rest of the
    keyring stands. Stops a second key trusted by accident, and one bad file from locking everybody out. `certificate_file`,
    `keyring`.
13. Changed files take effect without a restart. Stops a key that was revoked on disk and lives on in memory. `folder`.

Sources: RFC 9580 (and RFC 4880 for what it replaced), section numbers in the modules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from investigator.errors import Refused


class SignatureRefused(Refused):
    """A signature, certificate or key file that this policy does not accept; one line says why."""

    code = "signature"


class OtherBytes(SignatureRefused):
    """The key that it names did not sign these bytes: they were altered since, or the signature is for something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What may differ between deployments. Everything else is fixed."""

    max_age_s: int = 7 * 86_400
    """How old the signature of a document may be."""
    skew_s: int = 120
    """How far another clock may be ahead of ours."""


class Hash(NamedTuple):
    """A hash algorithm: its name in `hashlib`, and its length."""

    name: str
    bits: int


class Curve(NamedTuple):
    """A curve: what it is called, its public-key algorithm, the size of its numbers, and how a point starts."""

    name: str
    algorithm: int
    bits: int
    point_prefix: int
    point_bytes: int


RSA: Final = 1
ECDSA: Final = 19
EDDSA: Final = 22
"""RFC 9580 §9.1, without 2 and 3 (deprecated RSA variants) and 27 (Ed25519 as version 6 keys have it)."""

HASHES: Final = {
    8: Hash("sha256", 256),
    9: Hash("sha384", 384),
    10: Hash("sha512", 512),
    12: Hash("sha3_256", 256),
    14: Hash("sha3_512", 512),
}
"""(3) RFC 9580 §9.5, without MD5, SHA-1, RIPEMD-160 and SHA-224."""

WEAK_HASHES: Final = {1: "md5", 2: "sha1", 3: "ripemd160", 11: "sha224"}
"""Good for finding out which key a revocation is about (10), and for nothing else."""

CURVES: Final = {
    bytes.fromhex("2B06010401DA470F01"): Curve("Ed25519", EDDSA, 256, 0x40, 33),
    bytes.fromhex("2A8648CE3D030107"): Curve("NIST P-256", ECDSA, 256, 0x04, 65),
    bytes.fromhex("2B81040022"): Curve("NIST P-384", ECDSA, 384, 0x04, 97),
    bytes.fromhex("2B81040023"): Curve("NIST P-521", ECDSA, 521, 0x04, 133),
}
"""(3) by object identifier, RFC 9580 §9.2; a legacy Ed25519 point starts with 0x40, a NIST point with 0x04."""

RSA_BITS: Final = range(2048, 8193)

UNDERSTOOD: Final = frozenset({2, 3, 4, 5, 7, 9, 11, 12, 16, *range(21, 31), 32, 33, 34})
"""(5) Subpackets that may be critical (RFC 9580 §5.2.3.7). Absent on purpose: 6 regular expression, 20 notation,
31 signature target, 35 intended recipient, and all that is unassigned."""

MAX_SIGNATURE_BYTES: Final = 16_384
MAX_CERTIFICATE_BYTES: Final = 1 << 20
"""(2) of a file, armored or not, before anything is parsed."""
MAX_PACKETS: Final = 4096
MAX_SUBPACKETS: Final = 256
MAX_KEY_BYTES: Final = 16_384
MAX_USER_ID_BYTES: Final = 2048
"""As gpg has it. Each self-signature hashes the user id: a long one under many signatures would be quadratic."""
MAX_NUMBER_BITS: Final = 8192
NEVER: Final = 1 << 62
"""When something expires that does not."""
