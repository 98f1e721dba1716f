"""The collection of an action's answers, as each way to follow one begins it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from investigator.console.collect import Collection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from investigator.console.audience import Audience
    from investigator.console.dispatch import Prepared
    from investigator.console.fleet import Fleet
    from investigator.console.inventory import Host
    from investigator.console.session import Session
    from investigator.protocol.result import Outcome


def open_collection(
    prepared: Prepared,
    session: Session,
    fleet: Fleet,
    targeted: list[Host],
    *,
    private_key: bytes | None,
    on_outcome: Callable[[str, str, Outcome], None],
    audience: Audience,
    names: Mapping[str, str] | None = None,
) -> Collection:
    """One that nothing was read into yet; whoever opens it closes it.

    `on_outcome` is told each agent that is final, `audience` the warnings, and answers wait until it has room. `names`: further agents that an answer is expected of, id to name, where the inventory may have forgotten them.
    """
    return Collection(
        action=prepared.action,
        digest=prepared.envelope.digest,
        envelope=hashlib.sha256(prepared.envelope.encode()).hexdigest(),
        broker=session.broker,
        store=session.store,
        inventory=fleet.inventory,
        targeted=targeted,
        private_key=private_key,
        on_outcome=on_outcome,
        on_warning=audience.warn,
        room=audience.room,
        enrolled=fleet.enrolled,
        names=names or {},
    )
