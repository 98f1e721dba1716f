"""One signature packet (RFC 9580 §5.2.3): taken apart from its own bytes, and checked against a key and a subject."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from investigator.pgp.framing import SIGNATURE, Subpacket, dearmor, read_numbers, read_packets, read_subpackets
from investigator.pgp.policy import (
    ECDSA,
    EDDSA,
    HASHES,
    NEVER,
    RSA,
    UNDERSTOOD,
    WEAK_HASHES,
    OtherBytes,
    SignatureRefused,
)

if TYPE_CHECKING:
    from investigator.pgp.key import Key

BINARY: Final = 0x00
USER_ID_TYPES: Final = range(0x10, 0x14)
SUBKEY_BINDING: Final = 0x18
BACK_SIGNATURE: Final = 0x19
DIRECT_KEY: Final = 0x1F
KEY_REVOCATION: Final = 0x20
SUBKEY_REVOCATION: Final = 0x28
USER_ID_REVOCATION: Final = 0x30
REVOCATIONS: Final = frozenset({KEY_REVOCATION, SUBKEY_REVOCATION, USER_ID_REVOCATION})
"""Signature types, RFC 9580 §5.2.1."""

CREATED: Final = 2
EXPIRES: Final = 3
KEY_EXPIRES: Final = 9
REVOKER: Final = 12
ISSUER: Final = 16
KEY_FLAGS: Final = 27
EMBEDDED: Final = 32
ISSUER_FINGERPRINT: Final = 33
"""Kinds of subpackets, RFC 9580 §5.2.3.7."""

_NUMBERS: Final = {RSA: 1, ECDSA: 2, EDDSA: 2}


@dataclass(frozen=True, slots=True)
class Signature:
    """A version 4 signature packet. What it claims is believed only after `check`, and only from the hashed area."""

    type: int
    algorithm: int
    hash_algorithm: int
    hashed: tuple[Subpacket, ...]
    unhashed: tuple[Subpacket, ...]
    head: bytes
    """From the version to the end of the hashed area: the part of the packet that is itself signed."""
    left16: bytes
    numbers: bytes

    @classmethod
    def parse(cls, body: bytes) -> Signature:
        """Read a packet's body.

        Raises:
            SignatureRefused: another version, truncated or oversized fields.
        """
        if not body or body[0] != 4:  # (1)
            version = f"version {body[0]}" if body else "no version"
            raise SignatureRefused(f"signature of {version}; only version 4 is supported")
        head_end = 6 + int.from_bytes(body[4:6], "big")
        unhashed_start = head_end + 2
        unhashed_end = unhashed_start + int.from_bytes(body[head_end:unhashed_start], "big")
        if len(body) < unhashed_end + 2 or unhashed_start > len(body):
            raise SignatureRefused("truncated signature")
        return cls(
            type=body[1],
            algorithm=body[2],
            hash_algorithm=body[3],
            hashed=read_subpackets(body[6:head_end]),
            unhashed=read_subpackets(body[unhashed_start:unhashed_end]),
            head=body[:head_end],
            left16=body[unhashed_end : unhashed_end + 2],
            numbers=body[unhashed_end + 2 :],
        )

    def all(self, kind: int) -> list[bytes]:
        """The data of all hashed subpackets of a kind."""
        return [data for found, _, data in self.hashed if found == kind]

    def one(self, kind: int) -> bytes | None:
        """The data of the only hashed subpacket of a kind; of two that disagree, each reader would pick another."""
        found = self.all(kind)
        if len(found) > 1:
            raise SignatureRefused(f"subpacket {kind} occurs {len(found)} times")
        return found[0] if found else None

    def seconds(self, kind: int) -> int | None:
        """A subpacket that is a time or a duration, in seconds."""
        data = self.one(kind)
        if data is None:
            return None
        if len(data) != 4:
            raise SignatureRefused(f"subpacket {kind} of {len(data)} bytes")
        return int.from_bytes(data, "big")

    @property
    def created(self) -> int:
        """(4) When it says it was made, in seconds since 1970: from the hashed area, where it stands once."""
        created = self.seconds(CREATED)
        if created is None:
            raise SignatureRefused("no signed time of creation")
        return created

    @property
    def expires(self) -> int:
        """(4) When its own lifetime ends; 0 means that it does not (RFC 9580 §5.2.3.18)."""
        lifetime = self.seconds(EXPIRES)
        return self.created + lifetime if lifetime else NEVER

    def issuers(self) -> set[str]:
        """(5) Fingerprints and key ids that the hashed area names; only if there are none, the unhashed area's hints."""
        return _issuers(self.hashed) or _issuers(self.unhashed)

    def named_key_ids(self) -> set[str]:
        """The last 16 hex digits of whoever is named anywhere: for revocations, which fail closed (10)."""
        return {issuer[-16:] for issuer in _issuers(self.hashed) | _issuers(self.unhashed)}

    def check(self, key: Key, subject: bytes) -> None:
        """Raise unless `key` made this over `subject` by the rules; whether it is in time, the caller asks."""
        if self.algorithm != key.algorithm:
            raise SignatureRefused(f"signature algorithm {self.algorithm} is not the key's {key.algorithm}")
        issuers = self.issuers()
        if not issuers or not issuers <= {key.fingerprint, key.key_id}:  # (5)
            raise SignatureRefused("signature names another key")
        unknown = sorted({kind for kind, critical, _ in self.hashed if critical} - UNDERSTOOD)
        if unknown:  # (5)
            raise SignatureRefused(f"critical subpacket {unknown[0]} is not understood")
        hashing = HASHES.get(self.hash_algorithm)
        if hashing is None:  # (3)
            raise SignatureRefused(f"hash algorithm {self.hash_algorithm} is not allowed")
        if hashing.bits < key.min_hash_bits:  # (3)
            raise SignatureRefused(f"{hashing.name} is too short for {key.kind}")
        if self.created < key.created:  # (4)
            raise SignatureRefused("signature is older than its key")
        numbers = read_numbers(self.numbers, _NUMBERS[self.algorithm])  # (2)
        digest = self._digest(hashing.name, subject)
        if digest[:2] != self.left16:
            raise OtherBytes("signature is not over these bytes")
        if not key.numbers.verify(digest, numbers, self.hash_algorithm):
            raise OtherBytes("bad signature")

    def speaks_of(self, subject: bytes) -> bool | None:
        """Whether its digest's first two octets are those over `subject`; None where its hash cannot be computed.

        Not a check of anything: it tells which key or user id a revocation is about (10).
        """
        known = HASHES.get(self.hash_algorithm)
        name = known.name if known else WEAK_HASHES.get(self.hash_algorithm, "")
        try:
            return self._digest(name, subject)[:2] == self.left16
        except ValueError:
            return None

    def _digest(self, name: str, subject: bytes) -> bytes:
        hashing = hashlib.new(name, subject, usedforsecurity=False)
        hashing.update(self.head + b"\x04\xff" + len(self.head).to_bytes(4, "big"))
        return hashing.digest()


def _issuers(area: tuple[Subpacket, ...]) -> set[str]:
    """What odd issuers name keeps a mark in front, so that it equals no key of ours, and still ends in its key id."""
    named = set()
    for kind, _, data in area:
        if kind == ISSUER:
            named.add(data.hex().upper() if len(data) == 8 else f"?{data.hex().upper()}")
        elif kind == ISSUER_FINGERPRINT:
            named.add(data[1:].hex().upper() if len(data) == 21 and data[0] == 4 else f"?{data.hex().upper()}")
    return named


def read_document_signature(blob: bytes) -> Signature:
    """The one signature of a detached signature file, armored or not (2).

    Raises:
        SignatureRefused: anything else than exactly one version 4 signature packet of type 0x00.
    """
    packets = read_packets(dearmor(blob, SIGNATURE))
    if len(packets) != 1:  # a valid one beside a forged one, whichever comes first
        raise SignatureRefused(f"{len(packets)} packets; a signature file holds exactly one signature")
    if packets[0].tag != 2:
        raise SignatureRefused(f"packet {packets[0].tag} is not a signature")
    signature = Signature.parse(packets[0].body)
    if signature.type != BINARY:  # text signatures change the bytes, certifications leave them out
        raise SignatureRefused(f"signature type 0x{signature.type:02x} is not that of a binary document")
    return signature
