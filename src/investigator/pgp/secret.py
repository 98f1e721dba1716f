"""Secret keys in files: reading one that its owner exported, making a new one, signing with either.

PGPy computes; the packets are put together here, so that what is written is what the policy wants to read.
"""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from investigator.errors import BadInput
from investigator.pgp.certificate_file import read_certificate
from investigator.pgp.framing import SECRET_KEY, armored, dearmor, read_packets, write_packet, write_subpacket
from investigator.pgp.key import fingerprint_of
from investigator.pgp.policy import ECDSA, EDDSA, MAX_USER_ID_BYTES, RSA, SignatureRefused
from investigator.pgp.signature import (
    BINARY,
    CREATED,
    ISSUER,
    ISSUER_FINGERPRINT,
    KEY_EXPIRES,
    KEY_FLAGS,
    KEY_REVOCATION,
)

if TYPE_CHECKING:
    from investigator.pgp.certificate import Certificate
    from investigator.pgp.secret_numbers import SecretNumbers

_SIGNATURE, _SECRET_KEY, _PRIMARY, _SECRET_SUBKEY, _USER_ID, _SUBKEY = 2, 5, 6, 7, 13, 14
_POSITIVE_CERTIFICATION: Final = 0x13
_SHA512: Final = 10
_CERTIFY_AND_SIGN: Final = b"\x03"
_REASON_FOR_REVOCATION: Final = 29
_MAX_REASON_BYTES: Final = 150
REASONS: Final = {"none": 0, "superseded": 1, "compromised": 2, "retired": 3}
"""Why a key is given up (RFC 9580 §5.2.3.31). To this program every revocation is final, whatever its reason."""
_EMAIL: Final = re.compile(r"[^\s<>@()\"]+@[^\s<>@()\"]+")


class SecretKey(NamedTuple):
    """One secret key packet: its public form, and its numbers."""

    public_body: bytes
    numbers: SecretNumbers

    def signature(self, kind: int, subject: bytes, created: int, said: bytes = b"", hints: bytes = b"") -> bytes:
        """A signature packet's body; `said` are further hashed subpackets."""
        fingerprint = bytes.fromhex(fingerprint_of(self.public_body))
        hashed = write_subpacket(ISSUER_FINGERPRINT, b"\x04" + fingerprint)
        hashed += write_subpacket(CREATED, created.to_bytes(4, "big")) + said
        unhashed = write_subpacket(ISSUER, fingerprint[-8:]) + hints  # for readers from before RFC 9580
        head = bytes([4, kind, self.public_body[5], _SHA512]) + len(hashed).to_bytes(2, "big") + hashed
        message = subject + head + b"\x04\xff" + len(head).to_bytes(4, "big")
        left16 = hashlib.sha512(message).digest()[:2]
        return head + len(unhashed).to_bytes(2, "big") + unhashed + left16 + self.numbers.sign(message)


class SecretFile(NamedTuple):
    """A file with secret keys: the certificate that they belong to, and those that could sign, by fingerprint."""

    certificate: Certificate
    keys: dict[str, SecretKey]
    public: bytes
    """The certificate's packets, without anything secret."""

    @property
    def protected(self) -> bool:
        """Whether every secret in it is behind a passphrase, or not in it."""
        return all(key.numbers.locked or key.numbers.absent for key in self.keys.values())


class Generated(NamedTuple):
    """A new key, in armor."""

    secret: str
    public: str
    fingerprint: str


def read_secret_file(blob: bytes) -> SecretFile:
    """Read an exported secret key, as of `gpg --export-secret-keys FINGERPRINT` or `generate_key`.

    Raises:
        SignatureRefused: it is none, or its certificate would not be accepted by anybody who follows the policy.
    """
    keys: dict[str, SecretKey] = {}
    public: list[bytes] = []
    kept = True
    for tag, body in read_packets(dearmor(blob, SECRET_KEY)):
        if tag in (_SECRET_KEY, _SECRET_SUBKEY):
            key = _secret_key(body)
            kept = key is not None  # one that cannot sign is left out, with what was said about it
            if key:
                keys[fingerprint_of(key.public_body)] = key
                public.append(write_packet(_PRIMARY if tag == _SECRET_KEY else _SUBKEY, key.public_body))
        elif tag == _USER_ID or (tag == _SIGNATURE and kept):
            public.append(write_packet(tag, body))
    if not public:
        raise SignatureRefused("holds no secret key that could sign")
    packets = b"".join(public)
    return SecretFile(read_certificate(packets), keys, packets)


def _secret_key(body: bytes) -> SecretKey | None:
    from investigator.pgp.secret_numbers import SecretNumbers

    if len(body) < 6 or body[0] != 4 or body[5] not in (RSA, ECDSA, EDDSA):
        return None
    try:
        numbers = SecretNumbers(body[5], body[6:])
    except Exception:  # noqa: BLE001 - PGPy raises all sorts for curves and protections that it does not know
        return None
    return SecretKey(body[:6] + numbers.public, numbers)


def generate_key(
    name: str, email: str, passphrase: str | None, *, now: int | None = None, lifetime_s: int | None = None
) -> Generated:
    """Make an Ed25519 key that certifies and signs, and says so; `lifetime_s` None: it does not expire.

    Raises:
        BadInput: a name or address that is none, or an empty passphrase (None leaves the key unprotected).
    """
    from investigator.pgp.secret_numbers import SecretNumbers

    user_id = _user_id(name, email)
    if passphrase == "":
        raise BadInput("empty passphrase")
    created = int(time.time()) if now is None else now
    numbers = SecretNumbers.generate_ed25519()
    start = b"\x04" + created.to_bytes(4, "big") + bytes([EDDSA])
    key = SecretKey(start + numbers.public, numbers)
    said = write_subpacket(KEY_FLAGS, _CERTIFY_AND_SIGN)
    if lifetime_s:
        said += write_subpacket(KEY_EXPIRES, lifetime_s.to_bytes(4, "big"))
    # Primary user id; AES-256, -192, -128; SHA-512, -384, -256; ZLIB, ZIP; integrity protection (RFC 9580 §5.2.3).
    for kind, data in ((25, b"\x01"), (11, b"\x09\x08\x07"), (21, b"\x0a\x09\x08"), (22, b"\x02\x01"), (30, b"\x01")):
        said += write_subpacket(kind, data)
    subject = _key_subject(key.public_body) + b"\xb4" + len(user_id).to_bytes(4, "big") + user_id
    signature = key.signature(_POSITIVE_CERTIFICATION, subject, created, said)
    rest = write_packet(_USER_ID, user_id) + write_packet(_SIGNATURE, signature)
    public = write_packet(_PRIMARY, key.public_body) + rest
    fingerprint = read_certificate(public).fingerprint  # by our own policy, before anybody relies on it
    if passphrase is not None:
        numbers.protect(passphrase)
    secret = write_packet(_SECRET_KEY, start + numbers.material) + rest
    return Generated(armored("PRIVATE KEY BLOCK", secret), armored("PUBLIC KEY BLOCK", public), fingerprint)


def document_signature(key: SecretKey, data: bytes, created: int) -> str:
    """An armored detached signature of a binary document, one packet."""
    return armored("SIGNATURE", write_packet(_SIGNATURE, key.signature(BINARY, data, created)))


def revocation(key: SecretKey, created: int, reason: str = "none", text: str = "") -> str:
    """A primary key's revocation of itself (RFC 9580 §5.2.1.11), armored as gpg does it; `reason` is one of `REASONS`.

    It proves itself: whoever has the certificate can check it, and nobody else can make one.

    Raises:
        BadInput: a text that is too long, or unprintable.
    """
    said = write_subpacket(_REASON_FOR_REVOCATION, bytes([REASONS[reason]]) + reason_text(text))
    signature = key.signature(KEY_REVOCATION, _key_subject(key.public_body), created, said)
    return armored("PUBLIC KEY BLOCK", write_packet(_SIGNATURE, signature))


def reason_text(text: str) -> bytes:
    """A revocation's text; raises `BadInput` for one that is too long, or unprintable."""
    encoded = text.encode("utf-8", "surrogateescape")
    if len(encoded) > _MAX_REASON_BYTES or not text.isprintable():
        raise BadInput(f"a revocation's text is printable, and has {_MAX_REASON_BYTES} bytes at most")
    return encoded


def _key_subject(body: bytes) -> bytes:
    return b"\x99" + len(body).to_bytes(2, "big") + body


def _user_id(name: str, email: str) -> bytes:
    if not name.strip() or not name.isprintable() or set(name) & set('<>()"'):
        raise BadInput(f'name {name!r}: printable, without any of <>()"')
    if not _EMAIL.fullmatch(email) or not email.isprintable():
        raise BadInput(f"{email!r} is not a mail address")
    user_id = f"{name.strip()} <{email}>".encode()
    if len(user_id) > MAX_USER_ID_BYTES:
        raise BadInput(f"name and address of {len(user_id):,} bytes; {MAX_USER_ID_BYTES:,} at most")
    return user_id
