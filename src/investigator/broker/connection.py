"""The connection that agents and consoles hold to the broker; nobody above it knows that nats exists.

A `Broker` is supervised: whatever ends its link to a server, `supervisor` makes a new one for as long as it is open, and
puts the subscriptions back. Nothing is buffered while it is away: what cannot be sent is a `BrokerError` at once, or for
what awaits an answer after its `timeout_s`, and the sender tries again.

What its methods take and give stands beside it in `__all__`, so that a caller knows one file of this package's inside.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from investigator.broker import batch, request_reply
from investigator.broker.batch import Stored
from investigator.broker.callbacks import Callback
from investigator.broker.denials import Denials
from investigator.broker.dialer import Dialer, LinkOptions
from investigator.broker.problems import NotPermittedError, translated
from investigator.broker.pub_ack import publish_headers, stored_at
from investigator.broker.states import OnState, Peer, State
from investigator.broker.subscription import Message, OnMessage, Subscription
from investigator.broker.supervisor import Supervisor
from investigator.broker.tls import ClientTls, Contexts, check_server, split_servers

if TYPE_CHECKING:
    from types import TracebackType

    from investigator.broker.credentials import Credentials
    from investigator.broker.link import Link

__all__ = ["Broker", "ClientTls", "Message", "Peer", "State", "Stored", "Subscription", "connect"]

MAX_WAITING_BYTES: Final = 64 << 20
_SENT_WITHIN_S: Final = 5.0
"""For the server to take what it is sent."""
_log = logging.getLogger(__name__)


async def connect(
    url: str | Sequence[str],
    credentials: Credentials,
    *,
    name: str,
    tls: ClientTls | None = None,
    inbox: str | None = None,
    on_state: OnState | None = None,
    give_up_after_s: float | None = 5.0,
    ping_interval_s: float = 20.0,
    max_message_bytes: int | None = None,
) -> Broker:
    """Connect to one of these servers, and stay connected until `close`.

    Args:
        url: `tls://host:port`, or `nats://…` on loopback; or several, in one text with commas or as a list, which are
            tried in turn. Servers that a broker announces are ignored.
        credentials: whom to be.
        name: shown to the broker's administrator.
        tls: whom to trust as a broker, and what to show to one that asks; for `tls://`.
        inbox: the subject under which answers come, `_INBOX.<token>`; None: `_INBOX.<the user's name>`.
        on_state: told when the connection comes and goes, in order.
        give_up_after_s: how long to try for the first connection, and three times as long where a server is there and does
            not answer; None: for ever, whatever happens; infinity: for ever while no server can be reached. Later ones
            are tried for ever.
        ping_interval_s: a broker that is gone without a word is noticed within two of these.
        max_message_bytes: what these credentials may send at most, headers included, where that is less than the server
            takes: it does not tell, and ends the connection of who sends more.

    Raises:
        BrokerError: no server answered within `give_up_after_s`; at once for an address that is none.
        NotPermittedError: at once, if one does not let these credentials in, unless `give_up_after_s` is None;
            ExpiredError, if that is because their time is over.
        DeploymentError: at once, before anything is sent: plain text to another machine, or no CA to trust.
    """
    servers = [server for one in ([url] if isinstance(url, str) else url) for server in split_servers(one)]
    for server in servers:
        check_server(server, tls)
    options = LinkOptions(
        name=name,
        tls=Contexts(tls) if tls is not None else None,
        inbox=inbox,
        ping_interval_s=ping_interval_s,
        max_message_bytes=max_message_bytes,
    )
    broker = Broker(servers, credentials, options, on_state)
    await broker.start(give_up_after_s)
    return broker


class Broker:
    """A supervised connection; made by `connect`, ended by `close` or `async with`."""

    def __init__(
        self, servers: Sequence[str], credentials: Credentials, options: LinkOptions, on_state: OnState | None
    ) -> None:
        """Not connected yet: `connect` makes and starts it."""
        self._on_state = Callback(on_state, "the connection's state") if on_state is not None else None
        self._subscriptions: list[Subscription] = []
        self._denials = Denials()
        dialer = Dialer(servers, options, on_denied=self._denials.heard, on_dropped=self._heard_dropped)
        self._supervisor = Supervisor(dialer, credentials, tell=self._tell, restore=self._restore)

    @property
    def is_connected(self) -> bool:
        """Whether there is a link right now."""
        return self._supervisor.is_connected

    @property
    def problem(self) -> str:
        """The last thing that went wrong with the connection, one line; empty if nothing did."""
        return self._supervisor.problem

    @property
    def inbox(self) -> str:
        """The subject under which this connection may hear answers."""
        return self._supervisor.inbox

    def peer(self) -> Peer:
        """Who is at the other end.

        Raises:
            BrokerError: there is no connection.
        """
        return Peer.of(self._supervisor.now())

    async def start(self, give_up_after_s: float | None) -> None:
        """What `connect` does after making it."""
        await self._supervisor.start(give_up_after_s)

    async def become(self, credentials: Credentials) -> None:
        """Be this user from now on: whatever is under way is lost, and the connection made anew, at once: nothing has failed.

        For a token that is renewed: a server ends the connection of one that has expired, and takes no other on it.
        """
        await self._supervisor.become(credentials)

    async def publish(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] | None = None, reply: str = ""
    ) -> None:
        """Send a message, for whoever listens now. That it was not permitted is told by `flush`.

        With `reply` the broker answers there (an empty message with `Status: 503`) if nobody listens.

        Raises:
            MessageTooLargeError: nothing was sent.
            BrokerError: there is no connection, or the broker takes data too slowly.
        """
        with translated(f"publishing to {subject}"):
            await self._supervisor.now().send(subject, data, headers=headers, reply=reply, timeout_s=_SENT_WITHIN_S)

    async def publish_acked(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str,
        ttl_s: float | None = None,
        last: int | None = None,
        timeout_s: float = 5.0,
    ) -> int:
        """Store a message in the stream that takes this subject; its sequence there.

        A message id that the stream has seen within its window is a success, and stores nothing: so the same message
        can be sent again until this returns.

        Args:
            subject: where to.
            data: the message.
            message_id: must be unguessable (a digest of the message) where others write to the same stream: ids are
                deduplicated per stream, and one who knows an id can use it up.
            ttl_s: the stream forgets the message after that, rounded up to whole seconds.
            last: store it only if the subject's last message has this sequence; 0: if it has none.
            timeout_s: for everything, a reconnection included.

        Raises:
            MessageTooLargeError, NotPermittedError: trying again does not help.
            StreamFullError: it may later.
            NotLastError: the subject's last message is another than `last`.
            BrokerError: no connection, no such stream, or no answer: whether it is stored is not known.
        """
        headers = publish_headers(message_id, ttl_s=ttl_s, last=last)
        answer = await request_reply.ask_one(self._supervisor, subject, data, headers=headers, timeout_s=timeout_s)
        return stored_at(subject, len(data), answer)

    async def request(self, subject: str, data: bytes, *, timeout_s: float = 5.0) -> bytes:
        """Ask a service, and return its one answer.

        Raises:
            NotPermittedError: trying again does not help.
            BrokerError: no connection, nobody listens, or no answer.
        """
        return await request_reply.ask_one(self._supervisor, subject, data, headers=None, timeout_s=timeout_s)

    async def subscribe(
        self, subject: str, callback: OnMessage, *, queue: str = "", max_waiting_bytes: int = MAX_WAITING_BYTES
    ) -> Subscription:
        """Hear what is published to a subject from now on; on return the broker has confirmed it.

        What the callback returns to be awaited runs as a task, several at a time, so that a slow one delays no other
        message; a plain function is called in order. More than `max_waiting_bytes` not yet taken are dropped, and
        `on_state` is told. Of all subscriptions with the same `queue` one hears each message.

        Raises:
            NotPermittedError: naming the subject.
            BrokerError: there is no connection.
        """
        subscription = Subscription(
            subject, callback, queue=queue, max_waiting_bytes=max_waiting_bytes, forget=self._forget
        )
        with translated(f"subscribing to {subject}"):
            link = self._supervisor.now()
            self._subscriptions.append(subscription)
            try:
                await subscription.put_on(link)
                await link.round_trip(_SENT_WITHIN_S)
            except BaseException:
                self._forget(subscription)
                raise
        if self._denials.take_subscription(subject):
            self._forget(subscription)
            raise NotPermittedError(f"not allowed to subscribe to {subject!r}")
        return subscription

    def batch_get(
        self, stream: str, *, subjects: Sequence[str], after_seq: int = 0, page_bytes: int = batch.PAGE_BYTES
    ) -> AsyncIterator[Stored]:
        """The last message of each subject that one of the filters matches, stored after a sequence.

        In the order of sequences; but where more than 1,024 subjects match, filter by filter, so take the largest
        sequence for the next `after_seq` only when the iteration is over. What it asks for at a time, and so holds, is
        `page_bytes` and a message more.

        Raises:
            BrokerError: while iterating; NotPermittedError, if this user may not.
        """
        return request_reply.read(
            self._supervisor,
            stream,
            lambda ask: batch.last_per_subject(ask, stream, subjects, after_seq, page_bytes=page_bytes),
        )

    def read_stream(self, stream: str, subject_filter: str, *, after_seq: int = 0) -> AsyncIterator[Stored]:
        """Every message whose subject the filter matches, stored after a sequence, in order.

        Raises:
            BrokerError: while iterating; NotPermittedError, if this user may not.
        """
        return request_reply.read(
            self._supervisor, stream, lambda ask: batch.every_message(ask, stream, subject_filter, after_seq)
        )

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Return when the broker has everything that was published before.

        Raises:
            NotPermittedError: it refused some of that; each refusal is told once.
            BrokerError: no connection, or no answer in time.
        """
        with translated("waiting for the broker"):
            await self._supervisor.now().round_trip(timeout_s)
        denied = self._denials.take_publish()
        if denied is not None:
            raise NotPermittedError(f"not allowed to publish to {denied!r}")

    async def close(self) -> None:
        """Send what is unsent, within a bound, and end; callbacks that still run are cancelled."""
        await self._supervisor.close()
        for subscription in self._subscriptions:
            subscription.cancel_callbacks()
        self._subscriptions.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _restore(self, link: Link) -> None:
        for subscription in list(self._subscriptions):
            await subscription.put_on(link)
        await link.round_trip(_SENT_WITHIN_S)

    def _forget(self, subscription: Subscription) -> None:
        with suppress(ValueError):
            self._subscriptions.remove(subscription)

    def _heard_dropped(self, subject: str) -> None:
        _log.warning("messages to %s came faster than they were taken; some were dropped", subject)
        self._tell(State.DROPPED)

    def _tell(self, state: State) -> None:
        if self._on_state is not None:
            self._on_state.tell(state)
