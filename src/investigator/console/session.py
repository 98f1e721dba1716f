"""What an open console works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from investigator.broker.connection import Broker
    from investigator.console.rules import Rules
    from investigator.console.standing import Policy
    from investigator.console.store import Store


@dataclass(frozen=True, slots=True)
class Session:
    """A connection, a store, and by whose word agents count; valid for as long as the first two are open."""

    broker: Broker
    store: Store
    rules: Rules | None
    """Whose statements about agents count; None: they cannot be read, and what was judged by them before stays in force."""
    policy: Policy
    """Which agents are asked, and believed."""
