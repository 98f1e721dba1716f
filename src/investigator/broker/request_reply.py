"""Questions to services and streams, over whichever link there is, and their answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from investigator.broker.link import STATUS
from investigator.broker.problems import translated
from investigator.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from nats.aio.msg import Msg

    from investigator.broker.batch import Ask, Stored
    from investigator.broker.supervisor import Supervisor

_PAGE_WITHIN_S: Final = 5.0
_LEAST_TIMEOUT_S: Final = 0.1
"""For the answer, where a reconnection took all the time there was."""


async def ask_one(
    links: Supervisor, subject: str, data: bytes, *, headers: Mapping[str, str] | None, timeout_s: float
) -> bytes:
    """Publish, and return the one answer; `timeout_s` is for everything, a reconnection included.

    Raises:
        MessageTooLargeError, NotPermittedError: trying again does not help.
        BrokerError: no connection, nobody listens, or no answer.
    """
    ends = asyncio.get_running_loop().time() + timeout_s
    link = await links.within(timeout_s)
    with translated(f"publishing to {subject}"):
        left_s = max(_LEAST_TIMEOUT_S, ends - asyncio.get_running_loop().time())
        (reply,) = await link.ask(subject, data, headers=headers, timeout_s=left_s)
    if (reply.headers or {}).get(STATUS) == "503":
        raise BrokerError(f"publishing to {subject}: nobody listens to it", hint="Does `investigator broker` run?")
    return reply.data


async def read(
    links: Supervisor, stream: str, reading: Callable[[Ask], AsyncIterator[Stored]]
) -> AsyncIterator[Stored]:
    """What one of `batch`'s ways of reading yields of a stream.

    Errors of iterating are translated too; those of the loop's body are not ours.

    Raises:
        BrokerError: while iterating; NotPermittedError, if this user may not.
    """

    async def ask(subject: str, request: bytes) -> list[Msg]:
        with translated(f"reading {stream}"):
            link = await links.within(_PAGE_WITHIN_S)
            return await link.ask(subject, request, headers=None, timeout_s=_PAGE_WITHIN_S, many=True)

    items = reading(ask)
    while True:
        with translated(f"reading {stream}"):
            item = await anext(items, None)
        if item is None:
            return
        yield item
