"""What an agent and a persistent module's worker say to each other, after the request that started it.

Frames as in `channel`: a length of four bytes, big-endian, and JSON with its kind in `type`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from investigator.agent.channel import FRAME_HEAD
from investigator.protocol.alert import Alert


class Raised(msgspec.Struct, kw_only=True, tag=True):
    """Module: alerts, to be kept."""

    number: int
    alerts: list[Alert]


class Kept(msgspec.Struct, kw_only=True, tag=True):
    """Agent: those are on the disk."""

    number: int


class Ping(msgspec.Struct, kw_only=True, tag=True):
    """Agent: are you there?"""


class Alive(msgspec.Struct, kw_only=True, tag=True):
    """Module: yes, and the module's own loop last went on so long ago."""

    idle_s: float


class Asked(msgspec.Struct, kw_only=True, tag=True):
    """Agent: an action asks this."""

    number: int
    parameters: Any


class Answered(msgspec.Struct, kw_only=True, tag=True):
    """Module: a `channel.Answer`."""

    number: int
    answer: msgspec.Raw


class Ended(msgspec.Struct, kw_only=True, tag=True):
    """Module: it ends, and why; `code` is as in results."""

    code: str
    text: str


FromAgent = Kept | Ping | Asked
FromModule = Raised | Alive | Answered | Ended

MAX_RAISED_BYTES: Final = 4 << 20
"""The largest frame of a module that is no answer."""
_encoder: Final = msgspec.json.Encoder()


def frame(message: FromAgent | FromModule) -> bytes:
    """Its bytes."""
    body = _encoder.encode(message)
    return FRAME_HEAD.pack(len(body)) + body
