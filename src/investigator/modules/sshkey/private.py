"""The public half of a private key that has no passphrase, for its fingerprints.

Nothing is decrypted, and nothing of a private half leaves this file. Sizes are capped before anything is computed:
the numbers come from files that anybody may have written.
"""

from __future__ import annotations

from typing import Final

from investigator.modules.sshkey.der import BIT_STRING, INTEGER, OCTET_STRING, OID, Der
from investigator.modules.sshkey.wire import Unparsable, Wire, mpint, public_key, string

MAX_DSA_BITS: Final = 4096
MAX_RSA_BITS: Final = 1 << 16
_RSA: Final = bytes.fromhex("2a864886f70d010101")
_DSA: Final = bytes.fromhex("2a8648ce380401")
_EC: Final = bytes.fromhex("2a8648ce3d0201")
_ED25519: Final = bytes.fromhex("2b6570")
_CURVES: Final = {
    bytes.fromhex("2a8648ce3d030107"): ("nistp256", 32),
    bytes.fromhex("2b81040022"): ("nistp384", 48),
    bytes.fromhex("2b81040023"): ("nistp521", 66),
}
_PARAMETERS_TAG: Final = 0xA0
_PUBLIC_TAG: Final = 0xA1
_OPENSSH_MAGIC: Final = b"openssh-key-v1\0"


def of_pem(label: str, data: bytes) -> bytes:
    """The public key of the DER in a PEM block that has RSA, DSA, EC or nothing before `PRIVATE KEY`.

    It is empty where SSH has no such keys (X25519, other curves).

    Raises:
        Unparsable: it is no such key.
    """
    if label == "RSA":
        return _rsa(data)
    if label == "DSA":
        return _dsa(data)
    if label == "EC":
        return _ec(data, curve=None)
    return _pkcs8(data)


def of_openssh(data: bytes) -> tuple[bool, bytes]:
    """Whether it has a passphrase, and the public key, which stands in the clear in any case (OpenSSH's PROTOCOL.key).

    Raises:
        Unparsable: it is no such key.
    """
    if not data.startswith(_OPENSSH_MAGIC):
        raise Unparsable("no OpenSSH key")
    fields = Wire(data[len(_OPENSSH_MAGIC) :])
    cipher = fields.string()
    fields.string()  # the derivation's name
    fields.string()  # and its options
    if fields.number() < 1:
        raise Unparsable("no key at all")
    key = public_key(fields.string())
    fields.string()  # the private part, which must be there
    return cipher != b"none", key


def _rsa(data: bytes) -> bytes:
    """RFC 8017, appendix A.1.2."""
    key = Der(data).sequence()
    key.take(INTEGER)
    modulus, exponent = key.number(), key.number()
    key.number()  # the private exponent: what ends before it is no private key
    if modulus.bit_length() > MAX_RSA_BITS:
        raise Unparsable("an RSA key beyond all sizes")
    return public_key(string(b"ssh-rsa") + mpint(exponent) + mpint(modulus))


def _dsa(data: bytes) -> bytes:
    key = Der(data).sequence()
    key.take(INTEGER)
    p, q, g, y = (key.number() for _ in range(4))
    key.number()
    return _dss(p, q, g, y)


def _dss(p: int, q: int, g: int, y: int) -> bytes:
    return public_key(string(b"ssh-dss") + mpint(p) + mpint(q) + mpint(g) + mpint(y))


def _ec(data: bytes, *, curve: bytes | None) -> bytes:
    """RFC 5915. Where the public point is left out it is computed; `curve` stands outside in PKCS #8."""
    key = Der(data).sequence()
    key.take(INTEGER)
    secret = int.from_bytes(key.take(OCTET_STRING)[:128], "big")
    if key.peek() == _PARAMETERS_TAG:
        curve = Der(key.take(_PARAMETERS_TAG)).take(OID)
    if curve not in _CURVES:
        return b""
    name, size = _CURVES[curve]
    point = b""
    if key.peek() == _PUBLIC_TAG:
        point = Der(key.take(_PUBLIC_TAG)).take(BIT_STRING)[1:]
    if not (point.startswith(b"\x04") and len(point) == 2 * size + 1):
        point = _point(name, secret)
    return public_key(string(f"ecdsa-sha2-{name}".encode()) + string(name.encode()) + string(point))


def _pkcs8(data: bytes) -> bytes:
    """RFC 5208 and 5958; RFC 8410 for Ed25519."""
    key = Der(data).sequence()
    key.take(INTEGER)
    algorithm = key.sequence()
    inner = key.take(OCTET_STRING)
    kind = algorithm.take(OID)
    if kind == _RSA:
        return _rsa(inner)
    if kind == _EC:
        return _ec(inner, curve=algorithm.take(OID))
    if kind == _ED25519:
        return public_key(string(b"ssh-ed25519") + string(_ed25519(Der(inner).take(OCTET_STRING))))
    if kind == _DSA:
        numbers = algorithm.sequence()
        p, q, g = (numbers.number() for _ in range(3))
        secret = Der(inner).number()
        if not 1 < p.bit_length() <= MAX_DSA_BITS or secret.bit_length() > MAX_DSA_BITS:
            raise Unparsable("a DSA key beyond all sizes")
        return _dss(p, q, g, pow(g, secret, p))
    return b""


def _point(curve: str, secret: int) -> bytes:
    """The public point of a secret number."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    curves: dict[str, ec.EllipticCurve] = {
        "nistp256": ec.SECP256R1(),
        "nistp384": ec.SECP384R1(),
        "nistp521": ec.SECP521R1(),
    }
    try:
        key = ec.derive_private_key(secret, curves[curve])
    except ValueError:
        raise Unparsable("no secret number of its curve") from None
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _ed25519(seed: bytes) -> bytes:
    """The public key of a seed."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if len(seed) != 32:
        raise Unparsable("no Ed25519 seed")
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
