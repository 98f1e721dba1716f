"""Bytes to packets, subpackets and numbers, and back (RFC 9580 §3.2, §4.2, §5.2.3.7, §6): linear in time, no guesses.

Point 2 of the policy. PGPy is not asked: its armor expression is exponential, it decompresses what it is given, and it
puts packets together again from what it understood, so that what it hashes is not what stands in the file.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from investigator.pgp.policy import (
    MAX_CERTIFICATE_BYTES,
    MAX_NUMBER_BITS,
    MAX_PACKETS,
    MAX_SIGNATURE_BYTES,
    MAX_SUBPACKETS,
    SignatureRefused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Armor(NamedTuple):
    """A kind of armored block: its label, and how much of it is read."""

    label: str
    max_bytes: int
    max_headers: int


SIGNATURE: Final = Armor("SIGNATURE", MAX_SIGNATURE_BYTES, 8)
CERTIFICATE: Final = Armor("PUBLIC KEY BLOCK", MAX_CERTIFICATE_BYTES, 64)  # Sequoia writes a comment per user id
SECRET_KEY: Final = Armor("PRIVATE KEY BLOCK", MAX_CERTIFICATE_BYTES, 64)

_HEADER: Final = re.compile(rb"(?:Version|Comment|MessageID|Hash|Charset):(?: (.{0,200}))?")
_CRC: Final = re.compile(rb"=[A-Za-z0-9+/]{4}")


class Packet(NamedTuple):
    """One packet: its tag (RFC 9580 §5) and its body."""

    tag: int
    body: bytes


class Subpacket(NamedTuple):
    """One signature subpacket: its kind, whether it is critical, its data."""

    kind: int
    critical: bool
    data: bytes


def dearmor(blob: bytes, armor: Armor) -> bytes:
    """The binary form: `blob` itself, or the content of the one armored block that it consists of.

    (2) Text around the block, a second block or an unknown header would look signed to a reader, and is not. The CRC is
    ignored, as RFC 9580 §6.1 demands.

    Raises:
        SignatureRefused: too large, or anything else than one such block.
    """
    if not blob:
        raise SignatureRefused("empty file")
    if len(blob) > armor.max_bytes:
        raise SignatureRefused(f"{len(blob):,} bytes; {armor.max_bytes:,} at most")
    if blob[0] & 0x80:
        return blob
    lines = [line.rstrip() for line in blob.strip().split(b"\n")]
    if lines[0] != b"-----BEGIN PGP %b-----" % armor.label.encode() or lines[-1] != b"-----END PGP %b-----" % (
        armor.label.encode()
    ):
        raise SignatureRefused(f"not one armored PGP {armor.label} and nothing else")
    if b"" not in lines[: armor.max_headers + 2]:
        raise SignatureRefused(f"armor: no blank line after {armor.max_headers} headers")
    blank = lines.index(b"")
    if not all(_is_header(line) for line in lines[1:blank]):
        raise SignatureRefused("armor: unknown header")
    body = lines[blank + 1 : -1]
    if body and _CRC.fullmatch(body[-1]):
        body.pop()
    try:
        return base64.b64decode(b"".join(body), validate=True)
    except binascii.Error:
        raise SignatureRefused("armor: no base64, or more than one block") from None


def _is_header(line: bytes) -> bool:
    match = _HEADER.fullmatch(line)
    try:
        return match is not None and (match[1] or b"").decode().isprintable()
    except UnicodeDecodeError:
        return False


def armored(label: str, raw: bytes) -> str:
    """One armored block, with the CRC that older readers want."""
    text = base64.b64encode(raw).decode()
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    crc = base64.b64encode(_crc24(raw).to_bytes(3, "big")).decode()
    return "\n".join([f"-----BEGIN PGP {label}-----", "", *lines, f"={crc}", f"-----END PGP {label}-----", ""])


def _crc24(raw: bytes) -> int:
    crc = 0xB704CE
    for octet in raw:
        crc ^= octet << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc


def read_packets(raw: bytes) -> list[Packet]:
    """Take the whole of `raw` apart, in either header format.

    Raises:
        SignatureRefused: for lengths that are partial, indeterminate or past the end, and for more than `MAX_PACKETS`.
    """
    return list(each_packet(raw))


def each_packet(raw: bytes) -> Iterator[Packet]:
    """`read_packets`, one by one: what stands before the first mistake is had before the error."""
    at = count = 0
    while at < len(raw):
        if not raw[at] & 0x80:
            raise SignatureRefused("not an OpenPGP packet")
        if count == MAX_PACKETS:
            raise SignatureRefused(f"more than {MAX_PACKETS} packets")
        tag, start, length = _packet_header(raw, at)
        at = start + length
        if at > len(raw):
            raise SignatureRefused("packet reaches past the end of the file")
        yield Packet(tag, raw[start:at])
        count += 1


def _packet_header(raw: bytes, at: int) -> tuple[int, int, int]:
    """Tag, start of the body, and its length."""
    first = raw[at]
    if first & 0x40:
        start, length = _length(raw, at + 1, partial_from=224)
        return first & 0x3F, start, length
    if first & 3 == 3:
        raise SignatureRefused("packet of indeterminate length")
    start = at + 1 + (1 << (first & 3))
    if start > len(raw):
        raise SignatureRefused("truncated packet header")
    return first >> 2 & 0x0F, start, int.from_bytes(raw[at + 1 : start], "big")


def _length(buffer: bytes, at: int, *, partial_from: int) -> tuple[int, int]:
    """The place behind a one, two or five octet length, and the length."""
    size = 1 if at >= len(buffer) or buffer[at] < 192 else 2 if buffer[at] < 255 else 5
    end = at + size
    if end > len(buffer):
        raise SignatureRefused("truncated length")
    if partial_from <= buffer[at] < 255:
        raise SignatureRefused("packet of partial length")
    if size == 1:
        return end, buffer[at]
    if size == 2:
        return end, (buffer[at] - 192 << 8) + buffer[at + 1] + 192
    return end, int.from_bytes(buffer[at + 1 : end], "big")


def read_subpackets(area: bytes) -> tuple[Subpacket, ...]:
    """Take a signature's hashed or unhashed area apart.

    Raises:
        SignatureRefused: for lengths that do not fit, and for more than `MAX_SUBPACKETS`.
    """
    found: list[Subpacket] = []
    at = 0
    while at < len(area):
        if len(found) == MAX_SUBPACKETS:
            raise SignatureRefused(f"more than {MAX_SUBPACKETS} subpackets")
        at, length = _length(area, at, partial_from=255)
        if length == 0 or at + length > len(area):
            raise SignatureRefused("subpacket of impossible length")
        found.append(Subpacket(area[at] & 0x7F, area[at] >= 0x80, area[at + 1 : at + length]))
        at += length
    return tuple(found)


def read_numbers(buffer: bytes, count: int) -> list[int]:
    """Exactly `count` multiprecision integers (RFC 9580 §3.2) and nothing behind them.

    Raises:
        SignatureRefused: truncated, trailing bytes, over `MAX_NUMBER_BITS`, or with leading zero bits: PGPy would read
            such a number and write it shorter, and the fingerprint would change with it.
    """
    numbers: list[int] = []
    at = 0
    for _ in range(count):
        bits = int.from_bytes(buffer[at : at + 2], "big")
        end = at + 2 + (bits + 7) // 8
        if bits > MAX_NUMBER_BITS or at + 2 > len(buffer) or end > len(buffer):
            raise SignatureRefused("number truncated or too large")
        number = int.from_bytes(buffer[at + 2 : end], "big")
        if number.bit_length() != bits:
            raise SignatureRefused("number with leading zeros")
        numbers.append(number)
        at = end
    if at != len(buffer):
        raise SignatureRefused("trailing bytes after the last number")
    return numbers


def write_packet(tag: int, body: bytes) -> bytes:
    """A packet with a new-format header and a five-octet length."""
    return bytes([0xC0 | tag, 0xFF]) + len(body).to_bytes(4, "big") + body


def write_subpacket(kind: int, data: bytes, *, critical: bool = False) -> bytes:
    """A subpacket of at most 190 bytes of data."""
    return bytes([len(data) + 1, kind | 0x80 * critical]) + data
