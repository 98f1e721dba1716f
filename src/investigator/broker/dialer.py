"""One attempt to reach one of the servers."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from investigator.broker.link import Link
from investigator.broker.problems import ExpiredError, NotPermittedError, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from investigator.broker.credentials import Credentials
    from investigator.broker.tls import Contexts

_random = secrets.SystemRandom()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """What every link is opened with, whichever server it leads to; each as `connection.connect` describes it."""

    name: str
    tls: Contexts | None
    inbox: str | None
    ping_interval_s: float
    max_message_bytes: int | None

    def inbox_of(self, credentials: Credentials) -> str:
        """The subject under which whoever has these credentials may hear answers."""
        return self.inbox or f"_INBOX.{credentials.name}"


class Dialer:
    """Opens links to several servers, whose order is drawn by lot: not all agents begin with the same."""

    def __init__(
        self,
        servers: Sequence[str],
        options: LinkOptions,
        *,
        on_denied: Callable[[str, str], None],
        on_dropped: Callable[[str], None],
    ) -> None:
        """`on_denied` and `on_dropped` are told by each link that is made here, as `Link` says."""
        self.servers = _random.sample(list(servers), len(servers))
        self.options = options
        self._on_denied = on_denied
        self._on_dropped = on_dropped

    async def open(self, attempt: int, credentials: Credentials, *, timeout_s: float) -> Link:
        """A link to the server whose turn it is in this attempt.

        Raises:
            NotPermittedError: it does not let these credentials in; ExpiredError, if that is because their time is over.
            UnansweredError: it is there, and did not answer in time.
            BrokerError: it cannot be reached, or is no broker of ours.
            DeploymentError: what TLS needs is not there.
        """
        server = self.servers[attempt % len(self.servers)]
        tls = self.options.tls
        link = Link(
            credentials,
            tls=tls.now() if tls is not None else None,
            on_denied=self._on_denied,
            on_dropped=self._on_dropped,
        )
        try:
            with translated(f"broker {server}"):
                await link.open(
                    server,
                    name=self.options.name,
                    inbox=self.options.inbox_of(credentials),
                    ping_interval_s=self.options.ping_interval_s,
                    max_message_bytes=self.options.max_message_bytes,
                    timeout_s=timeout_s,
                )
        except NotPermittedError as refused:
            raise _expired(credentials, server) or refused from None
        return link


def _expired(credentials: Credentials, server: str) -> ExpiredError | None:
    """What a server does not say of credentials that it refuses: that their time is over, if it is."""
    ended_s = credentials.expires_s
    if not ended_s or time.time() < ended_s:
        return None
    ended = datetime.fromtimestamp(ended_s, UTC)
    return ExpiredError(f"broker {server}: these credentials expired at {ended:%Y-%m-%d %H:%M:%S} UTC")
