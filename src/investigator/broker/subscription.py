"""Interest in a subject, which outlives the links to servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.broker.problems import translated
from investigator.errors import BrokerError

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as NatsSubscription

    from investigator.broker.link import Link

MAX_RUNNING_CALLBACKS: Final = 256
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """What a subscription hears."""

    subject: str
    data: bytes
    reply: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


OnMessage = Callable[[Message], Awaitable[None] | None]


class Subscription:
    """One callback for one subject; made by `Broker.subscribe`."""

    def __init__(
        self,
        subject: str,
        callback: OnMessage,
        *,
        queue: str,
        max_waiting_bytes: int,
        forget: Callable[[Subscription], None],
    ) -> None:
        """On no link yet; `forget` is called when it ends."""
        self.subject = subject
        self._queue = queue
        self._forget = forget
        self._callback = callback
        self._max_waiting_bytes = max_waiting_bytes
        self._link: Link | None = None
        self._on_link: NatsSubscription | None = None
        self._running: set[asyncio.Future[None]] = set()

    async def unsubscribe(self) -> None:
        """Hear no more; callbacks that run are left to end."""
        self._forget(self)
        if self._on_link is not None and self._link is not None and self._link.is_connected:
            with suppress(BrokerError), translated(self.subject):
                await self._on_link.unsubscribe()
        self._link = self._on_link = None

    async def put_on(self, link: Link) -> None:
        """Subscribe on this link, once."""
        if self._link is not link:
            self._link = link
            self._on_link = await link.subscribe(
                self.subject, queue=self._queue, cb=self._deliver, pending_bytes_limit=self._max_waiting_bytes
            )

    def cancel_callbacks(self) -> None:
        """End the callbacks that still run."""
        for task in self._running:
            task.cancel()

    async def _deliver(self, message: Msg) -> None:
        """Called one message at a time: what takes time becomes a task, up to a bound, so the next is not kept waiting."""
        try:
            outcome = self._callback(Message(message.subject, message.data, message.reply, message.headers or {}))
        except Exception:  # noqa: BLE001 - a defect of one callback must not end the others' connection
            _log.exception("the callback for %s failed", self.subject)
            return
        if outcome is None:
            return
        task = asyncio.ensure_future(outcome)
        self._running.add(task)
        task.add_done_callback(self._finished)
        if len(self._running) >= MAX_RUNNING_CALLBACKS:
            await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)

    def _finished(self, task: asyncio.Future[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the callback for %s failed", self.subject, exc_info=task.exception())
