"""Interest in a subject, which outlives the links to servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from investigator.broker.callbacks import Callback
from investigator.broker.problems import translated
from investigator.errors import BrokerError

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as NatsSubscription

    from investigator.broker.link import Link

MAX_RUNNING_CALLBACKS: Final = 256


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
        self._callback = Callback(callback, subject)
        self._max_waiting_bytes = max_waiting_bytes
        self._link: Link | None = None
        self._on_link: NatsSubscription | None = None

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
        self._callback.cancel()

    async def _deliver(self, message: Msg) -> None:
        """Called one message at a time: what takes time becomes a task, up to a bound, so the next is not kept waiting."""
        running = self._callback.tell(Message(message.subject, message.data, message.reply, message.headers or {}))
        if running >= MAX_RUNNING_CALLBACKS:
            await self._callback.one_finished()
