"""The connection that agents and consoles hold to the broker; nobody above it knows that nats exists.

A `Broker` is supervised: whatever ends its link to a server, it makes a new one, with jitter, for as long as it is
open, and puts the subscriptions back. Nothing is buffered while it is away: what cannot be sent is a `BrokerError` at
once, or for what awaits an answer after its `timeout_s`, and the sender tries again.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

import msgspec
import orjson

from investigator.broker import batch
from investigator.broker.batch import Stored
from investigator.broker.link import STATUS, Link
from investigator.broker.problems import (
    ExpiredError,
    MessageTooLargeError,
    NotLastError,
    NotPermittedError,
    StreamFullError,
    UnansweredError,
    readable,
    translated,
)
from investigator.broker.subscription import Message, OnMessage, Subscription
from investigator.broker.tls import ClientTls, Contexts, check_server, split_servers
from investigator.errors import BrokerError

if TYPE_CHECKING:
    from types import TracebackType

    from nats.aio.msg import Msg

    from investigator.broker.credentials import Credentials

__all__ = ["Broker", "ClientTls", "Message", "Peer", "State", "Stored", "Subscription", "connect"]

MAX_BACKOFF_S: Final = 5.0
"""While nothing listens, or it says why not: then an attempt costs a server that comes back nothing."""
MAX_BACKOFF_UNANSWERED_S: Final = 30.0
"""While something listens and does not answer: whoever comes back with 100,000 others makes way for them."""
MAX_WAITING_BYTES: Final = 64 << 20
MAX_DENIED: Final = 100
"""Subjects that the broker did not allow, of which it is remembered, and told, that it did not."""
_CANCEL_AGAIN_AFTER_S: Final = 0.2
_STABLE_AFTER_S: Final = 10.0
_ATTEMPT_WITHIN_S: Final = 5.0
_OPEN_WITHIN_S: Final = 10.0
"""As long as our servers wait for who connects: they may have thousands to let in."""
_MAX_OPEN_S: Final = 20.0
_log = logging.getLogger(__name__)
_random = secrets.SystemRandom()


class State(StrEnum):
    """What `on_state` is told."""

    CONNECTED = "connected"
    """For the first time."""
    DISCONNECTED = "disconnected"
    """Lost, or not there yet: it is tried again; `Broker.problem` says why."""
    RECONNECTED = "reconnected"
    """The subscriptions are back. What was published meanwhile was not heard: fetch it from the stream."""
    REFUSED = "refused"
    """A server does not let these credentials in, or not any more: it is tried on, with others after `Broker.become`."""
    DROPPED = "dropped"
    """Messages came faster than a subscription's callback took them, and some were dropped: fetch them."""


OnState = Callable[[State], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Peer:
    """The server at the other end, as it says itself; but for `certificate`, which the pinned CA vouches for."""

    server: str
    version: str
    cluster: str
    """Empty: it stands alone."""
    domain: str
    certificate: bytes
    """In DER; empty in plain text."""


class _Refusal(msgspec.Struct):
    description: str = ""
    err_code: int = 0


class _Ack(msgspec.Struct):
    """A stream's answer to a message: where it is stored, or why not (NATS's PubAck)."""

    seq: int = 0
    error: _Refusal | None = None


_FULL: Final = frozenset({10077, 10023, 10047})  # maximum messages or bytes; insufficient resources; storage
_TOO_LARGE: Final = 10054
_NOT_LAST: Final = 10071


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
        give_up_after_s: how long to try for the first connection; None: for ever, whatever happens; infinity: for ever
            while no server can be reached. Later ones are tried for ever.
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
    broker = Broker(
        servers,
        credentials,
        tls=Contexts(tls) if tls is not None else None,
        name=name,
        inbox=inbox,
        on_state=on_state,
        ping_interval_s=ping_interval_s,
        max_message_bytes=max_message_bytes,
    )
    await broker.start(give_up_after_s)
    return broker


class Broker:
    """A supervised connection; made by `connect`, ended by `close` or `async with`."""

    def __init__(
        self,
        servers: Sequence[str],
        credentials: Credentials,
        *,
        name: str,
        tls: Contexts | None,
        inbox: str | None,
        on_state: OnState | None,
        ping_interval_s: float,
        max_message_bytes: int | None,
    ) -> None:
        """Not connected yet: `connect` makes and starts it."""
        self.problem = ""
        """The last thing that went wrong with the connection, one line; empty if nothing did."""
        self._servers = _random.sample(list(servers), len(servers))
        self._credentials = credentials
        self._name = name
        self._tls = tls
        self._inbox = inbox
        self._on_state = on_state
        self._ping_interval_s = ping_interval_s
        self._max_message_bytes = max_message_bytes
        self._link: Link | None = None
        self._up = asyncio.Event()
        self._attempts = 0
        self._changing = False
        """Whether `become` ended the link: nothing failed, and nothing is to be waited for."""
        self._unanswered = 0
        """How many attempts in a row a server took and did not answer."""
        self._subscriptions: list[Subscription] = []
        self._denied: dict[str, str] = {}
        self._told_denied: set[str] = set()
        self._supervisor: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Future[None]] = set()

    @property
    def is_connected(self) -> bool:
        """Whether there is a link right now."""
        return self._link is not None and self._link.is_connected

    @property
    def inbox(self) -> str:
        """The subject under which this connection may hear answers."""
        return self._inbox or f"_INBOX.{self._credentials.name}"

    def peer(self) -> Peer:
        """Who is at the other end.

        Raises:
            BrokerError: there is no connection.
        """
        link = self._now()

        def said(what: str) -> str:
            return str(link.greeting.get(what) or "")

        return Peer(
            server=said("server_name"),
            version=said("version"),
            cluster=said("cluster"),
            domain=said("domain"),
            certificate=link.peer_certificate or b"",
        )

    async def start(self, give_up_after_s: float | None) -> None:
        """What `connect` does after making it."""
        self._set_link(await self._new_link(give_up_after_s))
        self._tell(State.CONNECTED)
        self._supervisor = asyncio.create_task(self._supervise(), name=f"broker connection {self._name}")
        self._supervisor.add_done_callback(self._supervised)

    async def become(self, credentials: Credentials) -> None:
        """Be this user from now on: whatever is under way is lost, and the connection made anew, as after a failure.

        For a token that is renewed: a server ends the connection of one that has expired, and takes no other on it.
        """
        self._credentials = credentials
        self.problem = ""  # the old one's
        link = self._link
        if link is not None and link.is_connected:
            with suppress(BrokerError), translated("changing credentials"):
                await link.round_trip(2.0)
        if link is not None and link.is_connected:
            self._changing = True
            await link.shut()

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
            await self._now().send(subject, data, headers=headers, reply=reply, timeout_s=_ATTEMPT_WITHIN_S)

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
        headers = {"Nats-Msg-Id": message_id}
        if ttl_s is not None:
            headers["Nats-TTL"] = str(max(1, math.ceil(ttl_s)))
        if last is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(last)
        reply = await self._ask_one(subject, data, headers, timeout_s)
        with translated(f"publishing to {subject}"):
            ack = msgspec.convert(orjson.loads(reply.data), _Ack)
        if ack.error is None:
            return ack.seq
        message = f"{subject} is not stored: {ack.error.description}"
        if ack.error.err_code == _TOO_LARGE:
            raise MessageTooLargeError(f"{message} ({len(data):,} bytes)")
        if ack.error.err_code == _NOT_LAST:
            told = ack.error.description.rpartition(" ")[2]
            raise NotLastError(message, int(told) if told.isdecimal() else None)
        if ack.error.err_code in _FULL:
            raise StreamFullError(message)
        raise BrokerError(message)

    async def request(self, subject: str, data: bytes, *, timeout_s: float = 5.0) -> bytes:
        """Ask a service, and return its one answer.

        Raises:
            NotPermittedError: trying again does not help.
            BrokerError: no connection, nobody listens, or no answer.
        """
        return (await self._ask_one(subject, data, None, timeout_s)).data

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
            link = self._now()
            self._subscriptions.append(subscription)
            try:
                await subscription.put_on(link)
                await link.round_trip(_ATTEMPT_WITHIN_S)
            except BaseException:
                self._forget(subscription)
                raise
        if self._denied.pop(f"subscription {subject.lower()}", None):
            self._forget(subscription)
            raise NotPermittedError(f"not allowed to subscribe to {subject!r}")
        return subscription

    def batch_get(self, stream: str, *, subjects: Sequence[str], after_seq: int = 0) -> AsyncIterator[Stored]:
        """The last message of each subject that one of the filters matches, stored after a sequence.

        In the order of sequences; but where more than 1,024 subjects match, filter by filter, so take the largest
        sequence for the next `after_seq` only when the iteration is over.

        Raises:
            BrokerError: while iterating; NotPermittedError, if this user may not.
        """
        return self._iterate(stream, lambda ask: batch.last_per_subject(ask, stream, subjects, after_seq))

    def read_stream(self, stream: str, subject_filter: str, *, after_seq: int = 0) -> AsyncIterator[Stored]:
        """Every message whose subject the filter matches, stored after a sequence, in order.

        Raises:
            BrokerError: while iterating; NotPermittedError, if this user may not.
        """
        return self._iterate(stream, lambda ask: batch.every_message(ask, stream, subject_filter, after_seq))

    async def flush(self, timeout_s: float = 5.0) -> None:
        """Return when the broker has everything that was published before.

        Raises:
            NotPermittedError: it refused some of that; each refusal is told once.
            BrokerError: no connection, or no answer in time.
        """
        with translated("waiting for the broker"):
            await self._now().round_trip(timeout_s)
        for denied in [key for key in self._denied if key.startswith("publish ")]:
            raise NotPermittedError(f"not allowed to publish to {self._denied.pop(denied)!r}")

    async def close(self) -> None:
        """Send what is unsent, within a bound, and end; callbacks that still run are cancelled."""
        if self._supervisor is not None:
            while not self._supervisor.done():  # nats-py swallows a cancellation while it closes a connection
                self._supervisor.cancel()
                await asyncio.wait({self._supervisor}, timeout=_CANCEL_AGAIN_AFTER_S)
            self._supervisor = None
        link, self._link = self._link, None
        self._up.clear()
        if link is not None:
            if link.is_connected:
                with suppress(BrokerError), translated("closing"):
                    await link.round_trip(2.0)
            await link.shut()
        for subscription in self._subscriptions:
            subscription.cancel_callbacks()
        self._subscriptions.clear()

    def _forget(self, subscription: Subscription) -> None:
        with suppress(ValueError):
            self._subscriptions.remove(subscription)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _now(self) -> Link:
        if self._link is None or not self._link.is_connected:
            raise BrokerError(self.problem or "not connected to the broker")
        return self._link

    async def _link_within(self, timeout_s: float) -> Link:
        """The link, waiting for a reconnection that may be under way."""
        if not self.is_connected and self._supervisor is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), timeout_s)
        return self._now()

    async def _ask_one(self, subject: str, data: bytes, headers: Mapping[str, str] | None, timeout_s: float) -> Msg:
        ends = asyncio.get_running_loop().time() + timeout_s
        link = await self._link_within(timeout_s)
        with translated(f"publishing to {subject}"):
            left_s = max(0.1, ends - asyncio.get_running_loop().time())
            (reply,) = await link.ask(subject, data, headers=headers, timeout_s=left_s)
        if (reply.headers or {}).get(STATUS) == "503":
            raise BrokerError(f"publishing to {subject}: nobody listens to it", hint="Does `investigator broker` run?")
        return reply

    async def _iterate(
        self, stream: str, reading: Callable[[batch.Ask], AsyncIterator[Stored]]
    ) -> AsyncIterator[Stored]:
        """Errors of iterating are translated too; those of the loop's body are not ours."""

        async def ask(subject: str, request: bytes) -> list[Msg]:
            with translated(f"reading {stream}"):
                link = await self._link_within(_ATTEMPT_WITHIN_S)
                return await link.ask(subject, request, headers=None, timeout_s=_ATTEMPT_WITHIN_S, many=True)

        items = reading(ask)
        while True:
            with translated(f"reading {stream}"):
                item = await anext(items, None)
            if item is None:
                return
            yield item

    async def _supervise(self) -> None:
        """For as long as we are open: when the link is lost, make another, and put the subscriptions on it."""
        loop = asyncio.get_running_loop()
        while True:
            assert self._link is not None
            since = loop.time()
            error = await asyncio.shield(self._link.lost)
            self._up.clear()
            changing, self._changing = self._changing, False
            if changing or loop.time() - since > _STABLE_AFTER_S:
                self._attempts = self._unanswered = 0
            if not changing:
                self._note(_reason(error))
            self._tell(State.DISCONNECTED)
            await self._link.shut()
            if not changing:
                await asyncio.sleep(self._pause_s())
            self._set_link(await self._new_link(None))
            if await self._restore_subscriptions():
                self._tell(State.RECONNECTED)

    def _supervised(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            _log.critical("the supervision of the connection ended: a defect", exc_info=task.exception())

    async def _new_link(self, give_up_after_s: float | None) -> Link:
        loop = asyncio.get_running_loop()
        ends = math.inf if give_up_after_s is None else loop.time() + give_up_after_s
        while True:
            server = self._servers[self._attempts % len(self._servers)]
            credentials = self._credentials
            link = Link(
                credentials,
                tls=self._tls.now() if self._tls is not None else None,
                on_denied=self._heard_denied,
                on_dropped=self._heard_dropped,
            )
            try:
                with translated(f"broker {server}"):
                    await link.open(
                        server,
                        name=self._name,
                        inbox=self._inbox or f"_INBOX.{credentials.name}",
                        ping_interval_s=self._ping_interval_s,
                        max_message_bytes=self._max_message_bytes,
                        timeout_s=min(self._patience_s(), max(0.5, ends - loop.time())),
                    )
            except BrokerError as problem:
                if credentials is not self._credentials:
                    continue  # `become` came meanwhile
                self._unanswered = self._unanswered + 1 if isinstance(problem, UnansweredError) else 0
                refused = isinstance(problem, NotPermittedError)
                error = (refused and _expired(credentials, server)) or problem
                pause_s = self._pause_s()
                if give_up_after_s is not None and (refused or loop.time() + pause_s >= ends):
                    raise error from None
                if self._note(str(error)):
                    if refused:
                        self._tell(State.REFUSED)
                    elif self._supervisor is None:
                        self._tell(State.DISCONNECTED)
                await asyncio.sleep(pause_s)
            else:
                if credentials is self._credentials:
                    return link
                await link.shut()

    async def _restore_subscriptions(self) -> bool:
        link = self._link
        assert link is not None
        try:
            with translated("subscribing again"):
                for subscription in list(self._subscriptions):
                    await subscription.put_on(link)
                await link.round_trip(_ATTEMPT_WITHIN_S)
        except BrokerError as error:
            # It is lost again, or too slow to be of use.
            self._note(str(error))
            await link.shut()
            return False
        return True

    def _set_link(self, link: Link) -> None:
        self._link = link
        self._up.set()

    def _pause_s(self) -> float:
        """Longer from time to time, and never the same for two: a thousand agents must not come back at once."""
        self._attempts += 1
        most_s = min(MAX_BACKOFF_S * 2.0 ** min(self._unanswered, 10), MAX_BACKOFF_UNANSWERED_S)
        return _random.uniform(0.02, min(most_s, 0.25 * 2.0 ** min(self._attempts, 10)))

    def _patience_s(self) -> float:
        """How long an attempt may take: giving up what a busy server has half done makes it busier."""
        return float(min(_OPEN_WITHIN_S * 2.0 ** min(self._unanswered, 10), _MAX_OPEN_S))

    def _note(self, problem: str) -> bool:
        """Remember what is wrong; log it if it is news."""
        news = problem != self.problem
        self.problem = problem
        if news:
            _log.warning("%s; trying on", problem)
        return news

    def _heard_denied(self, what: str, subject: str) -> None:
        """The server tells these in lower case, and at no particular time."""
        key = f"{what} {subject}"
        if len(self._denied) < MAX_DENIED:
            self._denied[key] = subject
        if key not in self._told_denied and len(self._told_denied) < MAX_DENIED:  # what is tried again is no news
            self._told_denied.add(key)
            _log.warning("the broker does not allow the %s of %s", what, subject)

    def _heard_dropped(self, subject: str) -> None:
        _log.warning("messages to %s came faster than they were taken; some were dropped", subject)
        self._tell(State.DROPPED)

    def _tell(self, state: State) -> None:
        if self._on_state is None:
            return
        try:
            outcome = self._on_state(state)
        except Exception:  # noqa: BLE001 - likewise
            _log.exception("the callback for the connection's state failed")
            return
        if outcome is not None:
            task = asyncio.ensure_future(outcome)
            self._telling.add(task)
            task.add_done_callback(self._told)

    def _told(self, task: asyncio.Future[None]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the callback for the connection's state failed", exc_info=task.exception())


def _expired(credentials: Credentials, server: str) -> ExpiredError | None:
    """What a server does not say of credentials that it refuses: that their time is over, if it is."""
    ended_s = credentials.expires_s
    if not ended_s or time.time() < ended_s:
        return None
    ended = datetime.fromtimestamp(ended_s, UTC)
    return ExpiredError(f"broker {server}: these credentials expired at {ended:%Y-%m-%d %H:%M:%S} UTC")


def _reason(error: Exception) -> str:
    return str(readable("the broker", error) or f"the broker: {error}")
