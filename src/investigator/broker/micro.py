"""A service that others find and ask over NATS, as NATS describes its micro services (ADR-32): one that answers many times.

    $SRV.PING|INFO|STATS[.<name>[.<id>]]     answered with who it is, what it offers, how it fares
    <an endpoint's subject>                  answered with any number of messages, and an empty last one

Of several services with one name one hears each request. Whoever asks is told from nothing but the reply subject, which is
theirs to choose; so it must be an inbox: a service that may publish actions must not be made to write where it is told to.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from investigator.broker.connection import Broker, Message
from investigator.broker.link import STATUS
from investigator.broker.scopes import API_GROUP
from investigator.errors import BrokerError, InvestigatorError
from investigator.logs import about

_INBOX: Final = re.compile(r"_INBOX(\.[A-Za-z0-9_-]{1,128}){1,6}")
_TYPES: Final = "io.nats.micro.v1."
_ASK_WHO_LISTENS_EVERY_S: Final = 2.0
_STATUS: Final = {2: 400, 3: 403, 4: 503}
"""HTTP's number for an error's exit code, which is what clients of such services expect."""
_log = logging.getLogger(__name__)


class Busy(InvestigatorError):
    """More is asked at a time than is answered."""

    code = "busy"
    exit_code = 4


class Stopping(InvestigatorError):
    """The service ends."""

    code = "stopping"
    exit_code = 4


class TooLong(InvestigatorError):
    """A request was answered for as long as any is."""

    code = "too-long"
    exit_code = 4


class Exchange:
    """One request, and the way back."""

    def __init__(self, broker: Broker, message: Message, reply_to: str) -> None:
        """`reply_to` is where the broker says that nobody listens any more."""
        self.data = message.data
        self.gone = asyncio.Event()
        """Set when whoever asked does not listen any more."""
        self.action = ""
        """The action that it is about, for the log."""
        self.problem = ""
        """What was answered went wrong, one line; empty if nothing did."""
        self._broker = broker
        self._reply = message.reply
        self._watch = reply_to
        self._asked_s = 0.0

    async def send(self, document: bytes, *, headers: Mapping[str, str] | None = None) -> None:
        """One more answer; every two seconds one of them also asks whether anybody listens.

        Raises:
            BrokerError: there is no connection.
        """
        now_s = time.monotonic()
        asks = now_s - self._asked_s > _ASK_WHO_LISTENS_EVERY_S
        if asks:
            self._asked_s = now_s
        await self._broker.publish(self._reply, document, headers=headers, reply=self._watch if asks else "")

    async def fail(self, error: InvestigatorError, document: bytes) -> None:
        """The answer that says what went wrong."""
        self.problem = str(error)
        code = _STATUS.get(error.exit_code, 500)
        line = "".join(c if c.isprintable() and c.isascii() else "?" for c in str(error))[:200]
        await self.send(document, headers={"Nats-Service-Error": line, "Nats-Service-Error-Code": str(code)})

    async def end(self) -> None:
        """The empty last one."""
        await self._broker.publish(self._reply, b"")


Handler = Callable[[Exchange], Awaitable[None]]


@dataclass(slots=True)
class _Endpoint:
    name: str
    subject: str
    handler: Handler
    requests: int = 0
    errors: int = 0
    last_error: str = ""
    took_ns: int = 0
    open: int = 0

    def info(self) -> dict[str, Any]:
        return {"name": self.name, "subject": self.subject, "queue_group": API_GROUP, "metadata": {}}

    def stats(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "subject": self.subject,
            "queue_group": API_GROUP,
            "num_requests": self.requests,
            "num_errors": self.errors,
            "last_error": self.last_error,
            "processing_time": self.took_ns,
            "average_processing_time": self.took_ns // max(self.requests, 1),
            "data": {"open": self.open},
        }


@dataclass(slots=True)
class Service:
    """Made with its endpoints, then `start`ed; it ends with its connection."""

    broker: Broker
    name: str
    version: str
    """Semantic versioning's three numbers."""
    description: str
    failure: Callable[[InvestigatorError], bytes]
    """How an error is told to whoever asked."""
    at_a_time: int
    life_s: float
    """How long one request is answered at most."""
    id: str = field(default_factory=lambda: secrets.token_hex(11))
    _endpoints: list[_Endpoint] = field(default_factory=list)
    _open: dict[str, Exchange] = field(default_factory=dict)
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _answering: int = 0
    _all_answered: asyncio.Event = field(default_factory=asyncio.Event)
    _started: str = field(
        default_factory=lambda: datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    )

    def add(self, name: str, subject: str, handler: Handler) -> None:
        """An endpoint; before `start`."""
        self._endpoints.append(_Endpoint(name, subject, handler))

    async def start(self) -> None:
        """Answer from now on.

        Raises:
            NotPermittedError: this user may not listen there.
            BrokerError: no connection.
        """
        await self.broker.subscribe(f"{self.broker.inbox}.gone.{self.id}.*", self._heard_gone)
        for verb, answer in (("PING", self._ping), ("INFO", self._info), ("STATS", self.stats)):
            for place in ("", f".{self.name}", f".{self.name}.{self.id}"):
                await self.broker.subscribe(f"$SRV.{verb}{place}", self._discovery(answer))
        for endpoint in self._endpoints:
            await self.broker.subscribe(endpoint.subject, self._request(endpoint), queue=API_GROUP)

    async def stop(self, within_s: float = 5.0) -> None:
        """Take no more, and tell whoever is being answered that it is over."""
        self._stopping.set()
        self._all_answered.clear()
        if self._answering:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._all_answered.wait(), within_s)

    def _request(self, endpoint: _Endpoint) -> Callable[[Message], Awaitable[None]]:
        async def heard(message: Message) -> None:
            if not is_inbox(message.reply):
                endpoint.errors += 1
                endpoint.last_error = "a request that names no inbox to answer to"
                return
            token = secrets.token_hex(8)
            exchange = Exchange(self.broker, message, f"{self.broker.inbox}.gone.{self.id}.{token}")
            began_ns = time.monotonic_ns()
            endpoint.requests += 1
            endpoint.open += 1
            self._answering += 1
            _log.info("a request to %s", endpoint.subject, extra=about("request", method=endpoint.name, request=token))
            try:
                with suppress(BrokerError):  # then there is nobody to tell
                    await self._answer_or_say_why(endpoint, exchange, token)
            finally:
                self._answering -= 1
                endpoint.open -= 1
                if not self._answering:
                    self._all_answered.set()
            endpoint.took_ns += time.monotonic_ns() - began_ns
            if exchange.problem:
                endpoint.errors += 1
                endpoint.last_error = exchange.problem
            _log.info(
                "a request to %s was answered%s",
                endpoint.subject,
                f": {exchange.problem}" if exchange.problem else "",
                extra=about(
                    "request-answered",
                    action=exchange.action,
                    method=endpoint.name,
                    request=token,
                    problem=exchange.problem,
                ),
            )

        return heard

    async def _answer_or_say_why(self, endpoint: _Endpoint, exchange: Exchange, token: str) -> None:
        try:
            await self._answer(endpoint, exchange, token)
        except InvestigatorError as error:
            await exchange.fail(error, self.failure(error))
        except Exception:  # noqa: BLE001 - one request's defect must not end the others'
            _log.exception("a request to %s failed: a defect", endpoint.subject)
            defect = InvestigatorError("a defect of this service; its log has it")
            await exchange.fail(defect, self.failure(defect))
        await exchange.end()

    async def _answer(self, endpoint: _Endpoint, exchange: Exchange, token: str) -> None:
        """Until it is answered, as long as any is, or until nobody listens."""
        if self._stopping.is_set():
            raise Stopping("this gateway is about to end", hint="Ask again: another one may answer.")
        if len(self._open) >= self.at_a_time:
            raise Busy(f"{self.at_a_time} requests are being answered", hint="Ask again in a moment.")
        self._open[token] = exchange
        work = asyncio.ensure_future(endpoint.handler(exchange))
        gone, stopping = asyncio.create_task(exchange.gone.wait()), asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({work, gone, stopping}, timeout=self.life_s, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not gone.done():
                if stopping.done():
                    raise Stopping("this gateway is about to end", hint="`results` of another one has the rest.")
                raise TooLong(
                    f"not answered to its end within {self.life_s:g} s", hint="`results` has what comes later."
                )
        finally:
            del self._open[token]
            for task in (work, gone, stopping):
                task.cancel()
            await asyncio.wait({work, gone, stopping})
        if not work.cancelled():
            work.result()

    def _heard_gone(self, message: Message) -> None:
        exchange = self._open.get(message.subject.rpartition(".")[2])
        if exchange is not None and message.headers.get(STATUS) == "503":
            exchange.gone.set()

    def _discovery(self, answer: Callable[[], dict[str, Any]]) -> Callable[[Message], Awaitable[None]]:
        async def heard(message: Message) -> None:
            if is_inbox(message.reply):
                with suppress(BrokerError):
                    await self.broker.publish(message.reply, orjson.dumps(answer()))

        return heard

    def _identity(self, kind: str) -> dict[str, Any]:
        return {
            "type": f"{_TYPES}{kind}_response",
            "name": self.name,
            "id": self.id,
            "version": self.version,
            "metadata": {},
        }

    def _ping(self) -> dict[str, Any]:
        return self._identity("ping")

    def _info(self) -> dict[str, Any]:
        endpoints = [endpoint.info() for endpoint in self._endpoints]
        return {**self._identity("info"), "description": self.description, "endpoints": endpoints}

    def stats(self) -> dict[str, Any]:
        """What `$SRV.STATS` is answered with."""
        endpoints = [endpoint.stats() for endpoint in self._endpoints]
        return {**self._identity("stats"), "started": self._started, "endpoints": endpoints}


def is_inbox(subject: str) -> bool:
    """Whether it is a subject on which answers are awaited, and nothing else."""
    return _INBOX.fullmatch(subject) is not None
