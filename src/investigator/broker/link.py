"""One connection of nats-py, which lives once: when it is lost it says so, and never comes back.

nats-py's own reconnecting has holes (it gives up for good on most errors that a server can send, hangs on a dead peer
that unsent data is waiting for, knows no jitter, and lets a read loop die silently), so it is off: a link has one way to
end, the future `lost`, and `supervisor` makes a new one. What is overridden here is named `_…` in nats-py 2.16, whose
version is pinned; the integration tests hold each override against a real server.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from contextlib import suppress
from string import whitespace
from typing import TYPE_CHECKING, Any, Final

import nats.errors
from nats.aio.client import DEFAULT_BUFFER_SIZE, PING_PROTO, Client
from nats.aio.transport import TcpTransport

from investigator.broker.problems import DENIED, MessageTooLargeError, NotPermittedError
from investigator.broker.tls import ENCRYPTED, PLAIN, refuse_plain_text
from investigator.errors import BrokerError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from urllib.parse import ParseResult

    from nats.aio.msg import Msg
    from nats.protocol.parser import Parser

    from investigator.broker.credentials import Credentials

OLDEST_SERVER: Final = (2, 11)
"""The first with batched direct gets and message TTLs."""
MAX_UNSENT_BYTES: Final = 2 << 20
MAX_UNPARSED_BYTES: Final = 16 << 20
"""A rogue broker may announce a message of any size; this is what we hold of one before we hang up."""
_CLOSE_WITHIN_S: Final = 2.0
_REACH_WITHIN_S: Final = 5.0
"""A server that is there at all takes the connection (and shakes hands, with TLS) within that."""
STATUS: Final = "Status"
SEQUENCE: Final = "Nats-Sequence"

# It logs tracebacks for what a peer sends; all that matters of it arrives in `Link.lost`.
logging.getLogger("nats").setLevel(logging.CRITICAL)


class _Transport(TcpTransport):
    """TCP, or TLS over it, that lets go at once: closing waits for no peer, and a message has a largest size."""

    def __init__(self, parser: Parser, tls: ssl.SSLContext | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nats-py's
        self._parser = parser
        self._tls = tls

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: float) -> None:
        """With `tls://` the handshake comes first, and asyncio's own streams do it: nats-py's warn at each close."""
        options: dict[str, Any] = {}
        if uri.scheme == ENCRYPTED:
            options = {"ssl": self._tls, "server_hostname": uri.hostname}
        opening = asyncio.open_connection(uri.hostname, uri.port, limit=buffer_size, **options)
        self._io_reader, self._io_writer = await asyncio.wait_for(opening, connect_timeout)

    async def connect_tls(self, *_: object, **__: object) -> None:
        """Asked for by nats-py when the greeting says that TLS is needed, which is too late to begin with it."""
        if self.peer_certificate is None:
            raise nats.errors.Error("it takes TLS only: write tls://")

    @property
    def peer_certificate(self) -> bytes | None:
        """What the server showed, in DER; None in plain text."""
        if self._io_writer is None:
            return None
        found: ssl.SSLObject | None = self._io_writer.get_extra_info("ssl_object")
        return found.getpeercert(binary_form=True) if found else None

    def close(self) -> None:
        """Without waiting for what is unsent: a dead peer would never take it."""
        if self._io_writer is not None:
            self._io_writer.transport.abort()

    async def read(self, buffer_size: int) -> bytes:
        """The next bytes; `OSError` once too many of them are no whole message yet."""
        if len(self._parser.buf) > MAX_UNPARSED_BYTES:
            raise ConnectionAbortedError(f"a message of more than {MAX_UNPARSED_BYTES:,} bytes")
        return bytes(await super().read(buffer_size))


class _Question:
    """What awaits an answer: the replies so far, and the future of all of them."""

    __slots__ = ("deadline", "many", "replies", "subject", "timeout_s", "whole")

    def __init__(self, subject: str, *, many: bool, timeout_s: float) -> None:
        self.subject = subject.lower()
        self.many = many
        self.replies: list[Msg] = []
        self.timeout_s = timeout_s
        self.deadline = asyncio.timeout(timeout_s)
        self.whole: asyncio.Future[list[Msg]] = asyncio.get_running_loop().create_future()

    def take(self, reply: Msg) -> None:
        if self.whole.done():
            return
        self.replies.append(reply)
        if not self.many or ends(reply):
            self.whole.set_result(self.replies)
        elif len(self.replies) % 64 == 0:
            # As long as something comes, a slow line is no broken one.
            self.deadline.reschedule(asyncio.get_running_loop().time() + self.timeout_s)

    def fail(self, error: Exception) -> None:
        _fail(self.whole, error)


class Link(Client):
    """One authenticated connection to one server."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        tls: ssl.SSLContext | None,
        on_denied: Callable[[str, str], None],
        on_dropped: Callable[[str], None],
    ) -> None:
        """Not connected yet.

        Args:
            credentials: whom to be.
            tls: whom to trust, for `tls://`.
            on_denied: told ("publish" or "subscription", subject in lower case) of what the server did not allow.
            on_dropped: told the subject of a subscription whose messages came faster than they were taken.
        """
        super().__init__()
        self.lost: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        """Why this connection is over, as soon as it is."""
        self._credentials = credentials
        self._tls = tls
        self._socket = _Transport(self._ps, tls)
        self._on_denied = on_denied
        self._on_dropped = on_dropped
        self._questions: dict[str, _Question] = {}
        self._round_trips: set[asyncio.Future[bool]] = set()
        self._max_message_bytes = 0
        self._answers = ""
        self._asked = 0

    async def open(
        self,
        server: str,
        *,
        name: str,
        inbox: str,
        ping_interval_s: float,
        timeout_s: float,
        max_message_bytes: int | None = None,
    ) -> None:
        """Connect and prove who we are; on return the server has answered, and our inbox is subscribed.

        Raises:
            Exception: nats-py's, `OSError`, `TimeoutError`, `ValueError`; nothing is left open then.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.connect(
                    [server],
                    name=name,
                    error_cb=self._heard_error,
                    allow_reconnect=False,
                    connect_timeout=min(timeout_s, _REACH_WITHIN_S),  # type: ignore[arg-type]  # its annotation says int
                    ping_interval=ping_interval_s,  # type: ignore[arg-type]  # likewise
                    max_outstanding_pings=1,
                    signature_cb=self._credentials.sign,
                    user_jwt_cb=self._credentials.jwt.encode,
                    inbox_prefix=inbox,
                    pending_size=0,  # what cannot be sent is an error, not a buffer
                )
                self._check_server()
                self._max_message_bytes = min(self.max_payload, max_message_bytes or self.max_payload)
                self._answers = f"{inbox}.{secrets.token_hex(16)}."
                await self.subscribe(self._answers + "*", cb=self._take_answer)
                await self.round_trip(timeout_s)
        except (AttributeError, TypeError, LookupError, AssertionError):
            await self.shut()
            raise nats.errors.ProtocolError from None  # it talks rubbish, which nats-py takes as it comes
        except BaseException:
            await self.shut()
            raise

    async def shut(self) -> None:
        """Let go of the connection, without waiting for what is unsent."""
        self._lose(nats.errors.ConnectionClosedError())
        if self._flush_queue is None:
            return  # it did not even begin: the address was no address
        with suppress(TimeoutError, OSError):
            await asyncio.wait_for(self._close(Client.CLOSED, do_cbs=False), _CLOSE_WITHIN_S)

    async def send(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] | None, reply: str, timeout_s: float
    ) -> None:
        """Publish; waits only if more is unsent than a buffer should hold.

        Raises:
            MessageTooLargeError: with its headers it is more than the server takes, which would end the connection.
        """
        size = len(data) + _header_bytes(headers)
        if size > self._max_message_bytes:
            raise MessageTooLargeError(
                f"a message of {size:,} bytes to {subject}; the broker takes {self._max_message_bytes:,}"
            )
        if not self.is_connected:
            raise nats.errors.ConnectionClosedError
        if self.pending_data_size > MAX_UNSENT_BYTES:
            await self.round_trip(timeout_s)
        await self.publish(subject, data, reply, dict(headers) if headers else None)

    async def ask(
        self, subject: str, data: bytes, *, headers: Mapping[str, str] | None, timeout_s: float, many: bool = False
    ) -> list[Msg]:
        """Publish, and return the one reply, or with `many` all up to and including the one that `ends` them.

        It fails at once, without waiting for `timeout_s`, when the connection is lost or the subject is not allowed.
        """
        question = _Question(subject, many=many, timeout_s=timeout_s)
        self._asked += 1
        token = str(self._asked)
        self._questions[token] = question
        try:
            async with question.deadline:
                await self.send(subject, data, headers=headers, reply=self._answers + token, timeout_s=timeout_s)
                return await question.whole
        finally:
            del self._questions[token]

    async def round_trip(self, timeout_s: float) -> None:
        """Return when the server has read all that was sent before, and we all that it said to it."""
        if not self.is_connected:
            raise nats.errors.ConnectionClosedError
        pong: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._round_trips.add(pong)
        try:
            await self._send_ping(pong)
            await asyncio.wait_for(pong, timeout_s)
        finally:
            self._round_trips.discard(pong)

    @property
    def peer_certificate(self) -> bytes | None:
        """What the server showed, in DER; None in plain text."""
        return self._socket.peer_certificate

    @property
    def ssl_context(self) -> ssl.SSLContext | None:  # type: ignore[override]  # None: `connect_tls` takes none
        """Asked for at each greeting: nats-py would load every CA of the system, 50 ms and more, and use none."""
        return self._tls

    @property
    def greeting(self) -> Mapping[str, Any]:
        """What the server said of itself (NATS's INFO)."""
        return self._server_info

    def _lose(self, error: Exception) -> None:
        """The one way to end: whoever waits for this connection learns it now."""
        if self.lost.done():
            return
        self.lost.set_result(error)
        self._process_disconnect()
        self._pending.clear()
        self._pending_data_size = 0
        for question in self._questions.values():
            question.fail(error)
        for pong in self._round_trips:
            _fail(pong, error)
        self._socket.close()

    async def _take_answer(self, message: Msg) -> None:
        question = self._questions.get(message.subject.rpartition(".")[2])
        if question is not None:
            question.take(message)

    async def _heard_error(self, error: Exception) -> None:
        """nats-py's error callback; what concerns the whole connection arrives in `_lose` as well."""
        denied = DENIED.search(str(error))
        if denied:
            if denied[1] == "subscription" and denied[2] == self._answers.lower() + "*":
                self._lose(NotPermittedError(f"not allowed to subscribe to {self._answers}*"))
            for question in self._questions.values():
                if denied[1] == "publish" and question.subject == denied[2]:
                    question.fail(NotPermittedError(f"not allowed to publish to {denied[2]!r}"))
            self._on_denied(denied[1], denied[2])
        elif isinstance(error, nats.errors.SlowConsumerError):
            self._on_dropped(str(error.subject))

    def _check_server(self) -> None:
        # `connect` returns normally from a server that hung up during the handshake.
        if self._reading_task is None or not self.is_connected:
            raise nats.errors.UnexpectedEOF
        # nats-py's read loop ends silently on what it does not understand.
        self._reading_task.add_done_callback(lambda _: self._lose(nats.errors.UnexpectedEOF()))
        if not isinstance(self.max_payload, int):
            raise nats.errors.ProtocolError
        told = str(self._server_info.get("version", ""))
        version = re.match(r"v?(\d{1,4})\.(\d{1,4})", told)
        if version is None or (int(version[1]), int(version[2])) < OLDEST_SERVER:
            raise BrokerError(f"nats-server {told[:32]!r} is too old: 2.11 or later is needed")

    async def _select_next_server(self) -> None:
        """One attempt, instead of a loop that only ends when it succeeds."""
        self._current_server = server = self._server_pool[0]
        if server.uri.scheme not in (PLAIN, ENCRYPTED):
            raise nats.errors.Error(f"not an address that begins with nats:// or tls://: {server.uri.scheme}")
        refuse_plain_text(server.uri, self._tls)
        self._transport = self._socket
        await self._socket.connect(server.uri, DEFAULT_BUFFER_SIZE, self.options["connect_timeout"])

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Servers are those that the configuration names: whoever holds one broker names no others."""
        info.pop("connect_urls", None)
        await super()._process_info(info, initial_connection)

    async def _process_err(self, err_msg: str) -> None:
        error = nats.errors.Error(f"nats: {err_msg.strip(chr(39))}")
        if DENIED.search(str(error)):
            await self._heard_error(error)
        else:
            self._lose(error)

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        """As nats-py's, which looks at each character of a name, six names a message: a quarter of reading a stream."""
        lines = [line.partition(":") for line in raw.decode("utf-8", "replace").split("\r\n")]
        return {name.strip(whitespace): value.strip(whitespace) for name, colon, value in lines if colon}

    async def _process_op_err(self, e: Exception) -> None:
        self._lose(e)

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        """In its turn: nats-py writes it past what is waiting to be sent, so that its flush proves nothing."""
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _process_pong(self) -> None:
        """A flush that gave up waiting leaves a cancelled future, on which nats-py's own read loop would die."""
        self._pings_outstanding = 0
        if self._pongs:
            pong = self._pongs.pop(0)
            if not pong.done():
                pong.set_result(True)


def ends(reply: Msg) -> bool:
    """Whether this is the server's last word on a batch.

    A stored message comes with its author's headers, which may say `Status` too; the server gives it a sequence, and
    that is put last, where it overrules the author's.
    """
    headers = reply.headers or {}
    return STATUS in headers and SEQUENCE not in headers


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody may be waiting any more: then it is not worth a warning


def _header_bytes(headers: Mapping[str, str] | None) -> int:
    """The size of the header block on the wire: a line `NATS/1.0`, one `Name: value` each, an empty one."""
    if not headers:
        return 0
    return 12 + sum(len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
