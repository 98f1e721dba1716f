"""Where PGPy works: the fields of people's secret keys, and what is computed with them. Nothing here decides anything.

`pgpy.PGPKey` and `pgpy.PGPSignature` are not used at all, only the classes for key material and signature numbers.
Importing this costs 4 MB and 45 ms, which consoles pay with the first secret key that they read, and agents never.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes

from investigator.pgp.policy import ECDSA, EDDSA, RSA, SignatureRefused

with warnings.catch_warnings():  # PGPy imports imghdr, which Python 3.11 and 3.12 deprecate
    warnings.simplefilter("ignore")
    from pgpy.constants import EllipticCurveOID, HashAlgorithm, String2KeyType, SymmetricKeyAlgorithm
    from pgpy.errors import PGPDecryptionError
    from pgpy.packet import fields

if TYPE_CHECKING:
    from collections.abc import Iterator

_KEYS: dict[int, Any] = {RSA: fields.RSAPriv, ECDSA: fields.ECDSAPriv, EDDSA: fields.EdDSAPriv}
_SIGNATURES: dict[int, Any] = {RSA: fields.RSASignature, ECDSA: fields.ECDSASignature, EDDSA: fields.EdDSASignature}


@contextmanager
def _quiet() -> Iterator[None]:
    """PGPy touches ciphers that cryptography deprecates whenever it looks for a cipher's block size.

    The warnings' filters are the whole process's meanwhile, so this is for people's own secret keys only: verification
    warns of nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class SecretNumbers:
    """The numbers of a secret key: of one that we made, or that its owner exported. Trusted input."""

    def __init__(self, algorithm: int, material: bytes) -> None:
        """Read them; PGPy raises whatever it likes for what it does not know."""
        self._algorithm = algorithm
        self._fields = _KEYS[algorithm]()
        with _quiet():
            self._fields.parse(bytearray(material))
        if self._fields.s2k.usage not in (0, 254, 255):
            raise SignatureRefused("secret key protected in a way that PGPy does not know")
        self._unlocked = not self._fields.s2k

    @classmethod
    def generate_ed25519(cls) -> SecretNumbers:
        """A new Ed25519 key, unprotected."""
        made = fields.EdDSAPriv()
        made._generate(EllipticCurveOID.Ed25519)  # noqa: SLF001 - PGPy's only way below PGPKey
        return cls(EDDSA, bytes(made.__bytearray__()))

    @property
    def public(self) -> bytes:
        """The public part of the material, as it stands in the packet."""
        return bytes(self._fields.__bytearray__())[: self._fields.publen()]

    @property
    def material(self) -> bytes:
        """The whole material, as it stands in the packet."""
        return bytes(self._fields.__bytearray__())

    @property
    def absent(self) -> bool:
        """Whether there is only a stub: the secret is on a card, or was left out of the export."""
        return bool(self._fields.s2k) and self._fields.s2k.specifier == String2KeyType.GNUExtension

    @property
    def locked(self) -> bool:
        """Whether a passphrase is needed first."""
        return not self._unlocked

    def unlock(self, passphrase: str) -> bool:
        """Decrypt in memory; False for a wrong passphrase."""
        try:
            with _quiet():
                self._fields.decrypt_keyblob(passphrase)
        except PGPDecryptionError:
            return False
        self._unlocked = True
        return True

    def protect(self, passphrase: str) -> None:
        """Encrypt with AES-256 under the passphrase, hashed 65 million octets long (RFC 9580 §3.7.1.3)."""
        with _quiet():
            self._fields.encrypt_keyblob(passphrase, SymmetricKeyAlgorithm.AES256, HashAlgorithm.SHA256)
        self._unlocked = False

    def sign(self, message: bytes) -> bytes:
        """The last field of a signature packet over `message`, with SHA-512."""
        signature = _SIGNATURES[self._algorithm]()
        signature.from_signer(self._fields.sign(message, hashes.SHA512()))
        return bytes(signature.__bytearray__())
