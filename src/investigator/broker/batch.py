"""Reading streams without consumers: batched direct gets, page by page.

One request brings many messages (nats-server's ADR-31), and what was seen is skipped by its sequence, so an idle poll
costs the server 10 µs and the network one round trip. A consumer per reader would cost the server memory and files.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from nats.aio.msg import Msg

from investigator.broker.link import SEQUENCE, STATUS
from investigator.errors import BrokerError

PAGE_MESSAGES: Final = 1000
PAGE_BYTES: Final = 4 << 20
"""A page is in memory at once, and each message takes some 3 KB beside its bytes there."""

Ask = Callable[[str, bytes], Awaitable[list[Msg]]]
"""Send a request to a subject, and return its replies up to the server's last word on it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as a stream holds it."""

    subject: str
    sequence: int
    data: bytes
    time: datetime
    """When the broker stored it, by the broker's clock, with its time zone, UTC."""


class _TooManySubjectsError(Exception):
    pass


class _MadeAnewError(Exception):
    """The stream ends before what was seen of it."""


async def last_per_subject(
    ask: Ask, stream: str, subjects: Sequence[str], after_sequence: int, *, page_bytes: int = PAGE_BYTES
) -> AsyncIterator[Stored]:
    """The last message of each subject that any of the filters matches, stored after that sequence.

    In the order of their sequences; if more subjects match than the server handles in one request, filter by filter,
    and then an earlier message of a subject may come before its last. So a reader may take the largest sequence for
    the next `after_sequence` only when all of them have come. A stream that ends before `after_sequence` was made anew,
    and is read from its beginning.
    """
    query = {"multi_last": list(subjects)}
    try:
        async for item in _pages(ask, stream, query, after_sequence, page_bytes):
            after_sequence = item.sequence
            yield item
    except _MadeAnewError:
        async for item in last_per_subject(ask, stream, subjects, 0, page_bytes=page_bytes):
            yield item
    except _TooManySubjectsError:
        seen: set[int] = set()
        for subject in subjects:
            async for item in every_message(ask, stream, subject, after_sequence, page_bytes=page_bytes):
                if item.sequence not in seen:
                    seen.add(item.sequence)
                    yield item


def every_message(
    ask: Ask, stream: str, subject: str, after_sequence: int, *, page_bytes: int = PAGE_BYTES
) -> AsyncIterator[Stored]:
    """Every message that the filter matches, stored after that sequence, in order."""
    return _pages(ask, stream, {"next_by_subj": subject}, after_sequence, page_bytes)


async def _pages(
    ask: Ask, stream: str, query: dict[str, Any], after_sequence: int, page_bytes: int
) -> AsyncIterator[Stored]:
    limits = {"batch": PAGE_MESSAGES, "max_bytes": page_bytes}
    while True:
        request = orjson.dumps(query | limits | {"seq": after_sequence + 1})
        *messages, end = await ask(f"$JS.API.DIRECT.GET.{stream}", request)
        pending = _pending(stream, end, after_sequence)
        previous = ""
        for message in messages:
            item = _stored(message)
            if item.sequence <= after_sequence or (previous and _header(message, "Nats-Last-Sequence") != previous):
                raise BrokerError(f"reading {stream}: the broker's answer has a gap after message {after_sequence}")
            after_sequence = item.sequence
            previous = _header(message, SEQUENCE)
            yield item
        if not pending or not messages:
            return


def _pending(stream: str, end: Msg, after_sequence: int) -> int:
    """How many messages are left to ask for, as the end of a page says."""
    match _header(end, STATUS):
        case "204":
            # what a `multi_last` says of the stream's end, also where there is nothing new
            if 0 < int(_header(end, "Nats-UpTo-Sequence") or 0) < after_sequence:
                raise _MadeAnewError
            return int(_header(end, "Nats-Num-Pending"))
        case "404":
            return 0
        case "413":  # more than 1,024 subjects match a `multi_last`, however few of them are new
            raise _TooManySubjectsError
        case "503":
            raise BrokerError(
                f"reading {stream}: the broker has no such stream", hint="`investigator broker` makes the streams."
            )
        case status:
            raise BrokerError(f"reading {stream}: {_header(end, 'Description') or status}")


def _stored(message: Msg) -> Stored:
    return Stored(
        _header(message, "Nats-Subject"),
        int(_header(message, SEQUENCE)),
        message.data,
        datetime.fromisoformat(_header(message, "Nats-Time-Stamp")),
    )


def _header(message: Msg, name: str) -> str:
    return (message.headers or {}).get(name, "")
