"""Certificates and signatures of any shape, right or wrong: every field can be set, nothing is checked."""

from __future__ import annotations

import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NOW = 1_795_490_547
DAY = 86_400
BORN = NOW - 100 * DAY
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
DATA = b'{"type": "action"}'
SIGN_AND_CERTIFY = (27, b"\x03")
HASHES = {1: "md5", 2: "sha1", 8: "sha256", 10: "sha512"}

Sub = tuple[int, bytes] | tuple[int, bytes, bool]


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + u32(len(body)) + body


def mpi(number: int) -> bytes:
    return number.bit_length().to_bytes(2, "big") + number.to_bytes((number.bit_length() + 7) // 8, "big")


def area(subpackets: list[Sub]) -> bytes:
    return b"".join(
        b"\xff" + u32(len(data) + 1) + bytes([kind | (0x80 if critical and critical[0] else 0)]) + data
        for kind, data, *critical in subpackets
    )


class Forger:
    """An Ed25519 key whose owner signs anything."""

    def __init__(self, seed: str, created: int = BORN) -> None:
        self.secret = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
        point = b"\x40" + self.secret.public_key().public_bytes_raw()
        self.body = b"\x04" + u32(created) + b"\x16\x09" + bytes.fromhex("2B06010401DA470F01") + b"\x01\x07" + point
        self.hashed = b"\x99" + len(self.body).to_bytes(2, "big") + self.body
        self.digest = hashlib.sha1(self.hashed).digest()
        self.fingerprint = self.digest.hex().upper()

    @property
    def named(self) -> Sub:
        return (33, b"\x04" + self.digest)

    @property
    def key_id(self) -> bytes:
        return self.digest[-8:]

    def signature(
        self,
        kind: int,
        subject: bytes,
        *said: Sub,
        created: int | None = None,
        hashed: list[Sub] | None = None,
        unhashed: list[Sub] | None = None,
        hashing: int = 10,
        version: int = 4,
        left16: bytes | None = None,
    ) -> bytes:
        """The body of a signature packet; `hashed` replaces issuer, time and what is `said`."""
        if hashed is None:
            hashed = [self.named, (2, u32(BORN if created is None else created)), *said]
        inside = area(hashed)
        outside = area([(16, self.key_id)] if unhashed is None else unhashed)
        head = bytes([version, kind, 22, hashing]) + len(inside).to_bytes(2, "big") + inside
        digest = hashlib.new(HASHES[hashing], subject + head + b"\x04\xff" + u32(len(head))).digest()
        raw = self.secret.sign(digest)
        numbers = mpi(int.from_bytes(raw[:32], "big")) + mpi(int.from_bytes(raw[32:], "big"))
        return head + len(outside).to_bytes(2, "big") + outside + (left16 or digest[:2]) + numbers

    def document(self, data: bytes = DATA, *said: Sub, created: int = NOW - 60, **how: Any) -> bytes:
        """A signature file over `data`."""
        return packet(2, self.signature(0, data, *said, created=created, **how))

    def user_id(self, name: bytes = b"Alice <alice@example.org>") -> bytes:
        return packet(13, name)

    def self_signature(self, *said: Sub, name: bytes = b"Alice <alice@example.org>", **how: Any) -> bytes:
        """A certification of one's own user id."""
        subject = self.hashed + b"\xb4" + u32(len(name)) + name
        return packet(2, self.signature(0x13, subject, *said, **how))

    def direct(self, *said: Sub, **how: Any) -> bytes:
        return packet(2, self.signature(0x1F, self.hashed, *said, **how))

    def revocation(self, kind: int = 0x20, subject: bytes | None = None, **how: Any) -> bytes:
        return packet(2, self.signature(kind, self.hashed if subject is None else subject, **how))

    def certificate(self, *packets: bytes, flags: bytes = b"\x03") -> bytes:
        """A usual certificate, with further packets behind it."""
        return packet(6, self.body) + self.user_id() + self.self_signature((27, flags)) + b"".join(packets)

    def bound(self, sub: Forger, *said: Sub, back: bytes | None = None, flags: bytes = b"\x02", **how: Any) -> bytes:
        """A subkey with its binding; `back` replaces the subkey's back-signature (its body), b"" leaves it out."""
        subject = self.hashed + sub.hashed
        if back is None:
            back = sub.signature(0x19, subject)
        unhashed: list[Sub] = [(16, self.key_id), *([(32, back)] if back else [])]
        binding = self.signature(0x18, subject, (27, flags), *said, unhashed=unhashed, **how)
        return packet(14, sub.body) + packet(2, binding)


ALICE = Forger("alice")
MALLORY = Forger("mallory")
LAPTOP = Forger("alice's laptop")
TABLET = Forger("alice's tablet")
