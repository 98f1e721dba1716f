"""One question to an NTP server (RFC 5905; as a simple client, RFC 4330), and what its answer says about our clock.

The request tells nothing of this host: where its clock would stand is a random number, which a true answer brings back.
Times are nanoseconds since 1970, durations nanoseconds.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from typing import Final

PACKET_BYTES: Final = 48
PORT: Final = 123
_HEAD: Final = struct.Struct(">BBbbII4s8s8s8s8s")
_TIMESTAMP: Final = struct.Struct(">II")
_NS_PER_S: Final = 1_000_000_000
_SECONDS_1900_TO_1970: Final = 2_208_988_800
_ERA_S: Final = 1 << 32
_VERSION: Final = 4
_CLIENT: Final = 3
_SERVER: Final = 4
_UNSYNCHRONIZED: Final = 3
_MAX_STRATUM: Final = 15
_MAX_ROOT_NS: Final = 16 * _NS_PER_S
"""RFC 5905, MAXDISP: a server this far from its source is not to be believed."""
_MAX_DELAY_NS: Final = 60 * _NS_PER_S


class BadAnswer(Exception):
    """An answer that tells no time; `str()` is the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one answer says."""

    time_ns: int
    """The server's clock when it answered."""
    drift_ns: int
    """How far this host's clock is ahead of the server's; negative: behind."""
    delay_ns: int
    """How long question and answer were under way."""
    uncertainty_ns: int
    """The drift is off by at most that, if the server's own figures hold: half of the delay, and its distance from its source."""
    stratum: int
    """1: has a reference clock; each server below counts one more."""


def make_request() -> bytes:
    """A client's question; its last eight bytes are random."""
    return _HEAD.pack(_VERSION << 3 | _CLIENT, 0, 0, 0, 0, 0, bytes(4), bytes(8), bytes(8), bytes(8), _token())


def measure(request: bytes, answer: bytes, *, sent_ns: int, received_ns: int) -> Measurement:
    """What the answer to a request says; sent and received by this host's clock.

    Raises:
        BadAnswer: it is none, none to this question, or the server does not know the time itself.
    """
    if len(answer) < PACKET_BYTES:
        raise BadAnswer(f"an answer of {len(answer)} bytes")
    (
        first, stratum, _, precision, root_delay, root_dispersion, reference, _, origin, received, transmitted,
    ) = _HEAD.unpack_from(answer)  # fmt: skip
    if first & 7 != _SERVER:
        raise BadAnswer(f"an answer of mode {first & 7}, not a server's")
    if origin != request[-8:]:
        raise BadAnswer("an answer to another question")
    if stratum == 0:
        code = "".join(chr(byte) if 0x20 < byte < 0x7F else "?" for byte in reference)
        raise BadAnswer(f"the server declines (kiss code {code})")
    if stratum > _MAX_STRATUM or first >> 6 == _UNSYNCHRONIZED or not any(transmitted):
        raise BadAnswer("the server is not synchronized")
    its_received_ns, its_sent_ns = _unix_ns(received), _unix_ns(transmitted)
    held_ns = its_sent_ns - its_received_ns
    delay_ns = (received_ns - sent_ns) - held_ns
    if held_ns < 0 or not 0 <= received_ns - sent_ns <= _MAX_DELAY_NS or held_ns > received_ns - sent_ns + _NS_PER_S:
        raise BadAnswer("an answer whose times do not fit together")
    root_ns = _short_ns(root_delay) // 2 + _short_ns(root_dispersion)
    if root_ns >= _MAX_ROOT_NS:
        raise BadAnswer("the server is too far from its own source of time")
    delay_ns = max(delay_ns, 0)
    return Measurement(
        time_ns=its_sent_ns,
        drift_ns=-((its_received_ns - sent_ns) + (its_sent_ns - received_ns)) // 2,
        delay_ns=delay_ns,
        uncertainty_ns=delay_ns // 2 + root_ns + _power_of_two_ns(precision),
        stratum=stratum,
    )


def timestamp(unix_ns: int) -> bytes:
    """A time as NTP writes it: seconds since 1900, modulo the era, and a fraction of 32 bits."""
    seconds, rest = divmod(unix_ns, _NS_PER_S)
    return _TIMESTAMP.pack((seconds + _SECONDS_1900_TO_1970) % _ERA_S, (rest << 32) // _NS_PER_S)


def _unix_ns(text: bytes) -> int:
    """RFC 4330, 3: with the first bit unset it is the era that begins in 2036; so 1968 to 2104, whatever our own clock says."""
    seconds, fraction = int.from_bytes(text[:4], "big"), int.from_bytes(text[4:], "big")
    era_s = 0 if seconds >> 31 else _ERA_S
    return (seconds + era_s - _SECONDS_1900_TO_1970) * _NS_PER_S + (fraction * _NS_PER_S >> 32)


def _short_ns(value: int) -> int:
    """NTP's short format: 16 bits of seconds, 16 of a fraction."""
    return value * _NS_PER_S >> 16


def _power_of_two_ns(exponent: int) -> int:
    return int(math.ldexp(_NS_PER_S, min(exponent, 6)))


def _token() -> bytes:
    """Never zero, which an unset timestamp is."""
    return os.urandom(7) + b"\x01"
