"""The broker's errors as this program tells them: nobody above this package knows that nats exists."""

from __future__ import annotations

import os
import re
import ssl
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import nats.errors

from investigator.broker.tls import said_by_tls
from investigator.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator

DENIED: Final = re.compile(r'permissions violation for (publish|subscription)[^"]*"([^"]*)"')
"""The server's words, lower-cased by nats-py, for what an account's permissions do not allow."""


class NotPermittedError(BrokerError):
    """The broker does not let this user in, or not do this; trying again does not help."""

    code = "not-permitted"


class ExpiredError(NotPermittedError):
    """The credentials' own time is over: others are needed."""

    code = "credentials-expired"


class MessageTooLargeError(BrokerError):
    """More than the broker or the stream takes in one message; trying again does not help."""

    code = "message-too-large"


class StreamFullError(BrokerError):
    """The stream takes no more until something in it has expired or was purged."""

    code = "stream-full"


class NotLastError(BrokerError):
    """The subject's last message in the stream is another than the sender said; nothing was stored."""

    code = "not-last"

    def __init__(self, message: str, last: int | None) -> None:
        """`last`: the sequence of the one that it is, where the server tells."""
        super().__init__(message)
        self.last = last


class JetStreamError(BrokerError):
    """The server will not do what its streams were asked for."""

    code = "jetstream"

    def __init__(self, message: str, number: int) -> None:
        """`number`: nats-server's own of the reason (`err_code`)."""
        super().__init__(message)
        self.number = number


class UnansweredError(BrokerError):
    """Something is there, and does not answer in time: it may have too much to do, and asking it again makes that more."""

    code = "unanswered"


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Whatever the connection raises within, as a `BrokerError` that begins with `doing`."""
    try:
        yield
    except Exception as error:
        problem = readable(doing, error)
        if problem is None:
            raise
        raise problem from None


def readable(doing: str, error: Exception) -> BrokerError | None:
    """An error of the connection as one line; None for what is none of the connection's."""
    match error:
        case BrokerError():
            return error
        case nats.errors.UnexpectedEOF() | ConnectionResetError(args=()):
            said = "it hung up"
        case nats.errors.StaleConnectionError():
            said = "it answers no more"
        case nats.errors.Error() if not isinstance(error, TimeoutError):
            return _as_said(doing, str(error).removeprefix("nats: ").strip("' "))
        case TimeoutError():
            return UnansweredError(f"{doing}: no answer in time")
        case ssl.SSLError():
            said = said_by_tls(error)
        case ConnectionError(errno=int(number)):  # asyncio's own words repeat the address
            said = os.strerror(number).lower()
        case OSError(strerror=str(words)):
            said = words
        case OSError() | ValueError():  # a name that is no host, or a broker that talks rubbish
            said = str(error)
        case _:
            return None
    return BrokerError(f"{doing}: {said}")


def _as_said(doing: str, said: str) -> BrokerError:
    lower = said.lower()
    if "authentication expired" in lower:
        return ExpiredError(f"{doing}: these credentials have expired")
    if "authentication revoked" in lower:
        return NotPermittedError(f"{doing}: these credentials were revoked")
    if "authorization violation" in lower or "authentication" in lower:
        return NotPermittedError(
            f"{doing}: it does not know these credentials",
            hint="Are they of the deployment that this broker serves, and not revoked since?",
        )
    if "empty response" in lower:  # it hung up while we shook hands: it waits only so long for that
        return UnansweredError(f"{doing}: it hung up before it said anything")
    denied = DENIED.search(lower)
    if denied:
        verb = "publish" if denied[1] == "publish" else "subscribe"
        return NotPermittedError(f"{doing}: not allowed to {verb} to {denied[2]!r}")
    return BrokerError(f"{doing}: {said or 'the connection ended'}")
