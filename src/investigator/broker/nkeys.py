"""NATS's text form of Ed25519 keys ("nkeys").

A key is base 32, without padding, of prefix, 32 bytes and CRC-16 (XMODEM, little-endian): "U…" is a user's public key,
"SU…" its seed, "A…" an account's, "O…" an operator's (github.com/nats-io/nkeys, README).
"""

from __future__ import annotations

import base64
import binascii
from enum import IntEnum
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED: Final = 18 << 3
_KEY_BYTES: Final = 32


class Kind(IntEnum):
    """What a key is for: the prefix, which shows as the first letter of its text."""

    ACCOUNT = 0
    OPERATOR = 14 << 3
    USER = 20 << 3


def encode_public(kind: Kind, key: bytes) -> str:
    """The text of a public key of 32 bytes."""
    return _with_checksum(bytes([kind]) + key)


def encode_seed(kind: Kind, key: bytes) -> str:
    """The text of a private key of 32 bytes; its first letter is S, its second the kind's."""
    return _with_checksum(bytes([_SEED | kind >> 5, (kind & 31) << 3]) + key)


def decode_seed(text: str) -> tuple[Kind, Ed25519PrivateKey]:
    """The key that a seed's text stands for.

    Raises:
        ValueError: it is none, without repeating it.
    """
    raw = _checked(text)
    if len(raw) != 2 + _KEY_BYTES or raw[0] & 0xF8 != _SEED:
        raise ValueError("not the seed of an nkey")
    return Kind((raw[0] & 7) << 5 | raw[1] >> 3), Ed25519PrivateKey.from_private_bytes(raw[2:])


def generate_seed(kind: Kind) -> str:
    """A new private key, as text."""
    return encode_seed(kind, Ed25519PrivateKey.generate().private_bytes_raw())


def public_of(seed: str) -> str:
    """The public key of a seed, of the same kind.

    Raises:
        ValueError: it is no seed, without repeating it.
    """
    kind, private = decode_seed(seed)
    return encode_public(kind, private.public_key().public_bytes_raw())


def decode_public(text: str) -> tuple[Kind, bytes]:
    """The kind and the 32 bytes of a public key.

    Raises:
        ValueError: it is none.
    """
    raw = _checked(text)
    if len(raw) != 1 + _KEY_BYTES:
        raise ValueError("not a public nkey")
    return Kind(raw[0]), raw[1:]


def is_public(kind: Kind, text: str) -> bool:
    """Whether this is the text of a public key of that kind."""
    try:
        return decode_public(text)[0] is kind
    except ValueError:
        return False


def _with_checksum(raw: bytes) -> str:
    checksum = binascii.crc_hqx(raw, 0).to_bytes(2, "little")
    return base64.b32encode(raw + checksum).decode().rstrip("=")


def _checked(text: str) -> bytes:
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except (ValueError, UnicodeError):
        raise ValueError("not an nkey") from None
    if base64.b32encode(raw).decode().rstrip("=") != text:  # bits beyond the last byte, or padding: one key, one text
        raise ValueError("not an nkey")
    if binascii.crc_hqx(raw[:-2], 0).to_bytes(2, "little") != raw[-2:]:
        raise ValueError("an nkey with a wrong checksum")
    return raw[:-2]
