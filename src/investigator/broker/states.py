"""What a connection tells whoever holds it: that it comes and goes, and who is at the other end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from investigator.broker.link import Link


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

    @classmethod
    def of(cls, link: Link) -> Self:
        """Whom this link leads to."""

        def said(what: str) -> str:
            return str(link.greeting.get(what) or "")

        return cls(
            server=said("server_name"),
            version=said("version"),
            cluster=said("cluster"),
            domain=said("domain"),
            certificate=link.peer_certificate or b"",
        )
