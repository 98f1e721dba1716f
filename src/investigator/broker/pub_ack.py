"""Storing a message in a stream: what a publisher asks for in headers, and the stream's answer (NATS's PubAck)."""

from __future__ import annotations

import math
from typing import Final

import msgspec
import orjson

from investigator.broker.jetstream_api import ApiAnswer
from investigator.broker.problems import MessageTooLargeError, NotLastError, StreamFullError, translated
from investigator.errors import BrokerError

_FULL: Final = frozenset({10077, 10023, 10047})  # maximum messages or bytes; insufficient resources; storage
_TOO_LARGE: Final = 10054
_NOT_LAST: Final = 10071


class _PubAck(ApiAnswer):
    seq: int = 0


def publish_headers(message_id: str, *, ttl_s: float | None, last: int | None) -> dict[str, str]:
    """What `Broker.publish_acked` asks of the stream, as headers."""
    headers = {"Nats-Msg-Id": message_id}
    if ttl_s is not None:
        headers["Nats-TTL"] = str(max(1, math.ceil(ttl_s)))
    if last is not None:
        headers["Nats-Expected-Last-Subject-Sequence"] = str(last)
    return headers


def stored_at(subject: str, size_bytes: int, answer: bytes) -> int:
    """The sequence under which the stream has stored a message of so many bytes, by its answer.

    Raises:
        MessageTooLargeError, StreamFullError, NotLastError: it is not stored, and this is why.
        BrokerError: nor is it for another reason, or the answer is none.
    """
    with translated(f"publishing to {subject}"):
        ack = msgspec.convert(orjson.loads(answer), _PubAck)
    if ack.error is None:
        return ack.seq
    told, code = ack.error.description, ack.error.err_code
    message = f"{subject} is not stored: {told}"
    if code == _TOO_LARGE:
        raise MessageTooLargeError(f"{message} ({size_bytes:,} bytes)")
    if code == _NOT_LAST:
        last = told.rpartition(" ")[2]
        raise NotLastError(message, int(last) if last.isdecimal() else None)
    if code in _FULL:
        raise StreamFullError(message)
    raise BrokerError(message)
