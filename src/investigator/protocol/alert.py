"""What a module that runs all the time has to tell by itself: letters of alerts, signed by the agent as its outcomes are.

    payload = frame of kind "alerts" (`protocol.identity`) whose body is a `Letter`'s JSON

Alerts that are raised together travel in one letter, and are acknowledged together. A letter's id is the start of SHA-256
of its payload: the same for everybody, and nobody can make another letter under it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.codec import convert, strict_loads

if TYPE_CHECKING:
    from investigator.protocol.identity import Identity

Severity = Literal["low", "medium", "high", "critical"]
"""MIG's four."""
SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)
"""From the least to the worst."""
MAX_LETTER_BYTES: Final = 128 << 10
MAX_ALERTS: Final = 500
"""In one letter."""
MAX_TEXT_CHARACTERS: Final = 20_000
"""Of one alert: a path of 4,096 bytes, each written as an escape, has 16,384."""
MAX_ALERT_BYTES: Final = 64 << 10
"""Of one alert's JSON, which has to fit into a letter."""
ID_DIGITS: Final = 12
_HEAD_BYTES: Final = 2048


class Alert(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One thing that a module noticed; `severity` and `alert` are MIG's."""

    severity: Severity
    alert: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
    time_s: Annotated[float, msgspec.Meta(ge=0, le=2**40)]
    """When it was noticed: the host's clock, seconds since 1970."""
    details: dict[str, Any] = {}
    """The same for programs; never content."""


class Letter(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Alerts of one module of one agent."""

    agent: str
    key: str
    """Base64 of the agent's Ed25519 public key, which its id is derived from."""
    module: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    name: Annotated[str, msgspec.Meta(max_length=1000)]
    """The agent's name, for people."""
    alerts: Annotated[list[Alert], msgspec.Meta(min_length=1, max_length=MAX_ALERTS)]


def letter_id(payload: bytes) -> str:
    """What people call a letter by."""
    return hashlib.sha256(payload).hexdigest()[:ID_DIGITS]


def pack_alerts(alerts: Sequence[Alert], identity: Identity, *, module: str, name: str) -> Iterator[bytes]:
    """The payloads that tell these alerts, in their order, each as full as it may be.

    Raises:
        BadInput: one of them alone is too large, or is no JSON.
    """
    batch: list[Alert] = []
    batch_bytes = 0
    for alert in alerts:
        size = alert_bytes(alert)
        if batch and (batch_bytes + size > MAX_LETTER_BYTES - _HEAD_BYTES or len(batch) == MAX_ALERTS):
            yield _pack(batch, identity, module=module, name=name)
            batch, batch_bytes = [], 0
        batch.append(alert)
        batch_bytes += size + 1
    if batch:
        yield _pack(batch, identity, module=module, name=name)


def alert_bytes(alert: Alert) -> int:
    """How much of a letter it takes.

    Raises:
        BadInput: it is larger than one may be, or no JSON.
    """
    try:
        size = len(orjson.dumps(msgspec.to_builtins(alert)))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"alert: no JSON: {error}") from None
    if not 1 <= len(alert.alert) <= MAX_TEXT_CHARACTERS or size > MAX_ALERT_BYTES:
        raise BadInput(f"alert of {size:,} bytes with a text of {len(alert.alert):,} characters: cannot be told")
    return size


def unpack_alerts(payload: bytes, *, agent: str, module: str) -> Letter:
    """The letter in a payload that came on the subject of this agent and this module (its token).

    Raises:
        BadFrame: not signed by this agent, or about something else than the subject says.
        BadInput: its shape is none.
    """
    from investigator.protocol.identity import ALERTS, BadFrame, agent_id, open_frame

    body = payload[64:]
    letter = convert(strict_loads(body, what="alerts", max_bytes=MAX_LETTER_BYTES), Letter, what="alerts")
    try:
        key = base64.b64decode(letter.key, validate=True)
    except ValueError:
        key = b""
    if agent_id(key) != agent or letter.agent != agent or letter.module != module:
        raise BadFrame(f"alerts of {agent} that speak for another agent or module")
    open_frame(ALERTS, payload, key)
    return letter


def _pack(alerts: list[Alert], identity: Identity, *, module: str, name: str) -> bytes:
    from investigator.protocol.identity import ALERTS  # here, because every worker knows alerts and none signs

    key = base64.b64encode(identity.public_key).decode()
    letter = Letter(agent=identity.id, key=key, module=module, name=name, alerts=alerts)
    return identity.frame(ALERTS, orjson.dumps(msgspec.to_builtins(letter)))
