"""A host that is no more, out of the inventory: what the streams hold of it, for all consoles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from investigator.broker.jetstream_api import delete_message
from investigator.errors import BadInput
from investigator.protocol.subjects import FACTS, HEARTBEATS, facts_subject, heartbeat_subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from investigator.broker.connection import Broker
    from investigator.console.inventory import Host, Inventory
    from investigator.console.store import Store


def chosen(inventory: Inventory, words: Sequence[str], *, now: datetime, force: bool) -> list[Host]:
    """The hosts that these ids or names mean, each once.

    Raises:
        BadInput: one means none or several, or one that was just seen, unless `force`.
    """
    found: dict[str, Host] = {}
    for word in words:
        means = [host for host in inventory.hosts.values() if word in (host.id, host.name)]
        if not means:
            raise BadInput(f"there is no agent {word[:80]!r}", hint="`investigator agents` lists them.")
        if len(means) > 1:
            ids = ", ".join(sorted(host.id for host in means))
            raise BadInput(f"{len(means)} agents are called {word[:80]!r}; give an id: {ids}")
        if means[0].row(now)["status"] != "offline" and not force:
            raise BadInput(
                f"{means[0].name} was seen {int((now - means[0].last_seen).total_seconds())} s ago",
                hint="An agent that is there comes back by itself. --force forgets it anyhow.",
            )
        found[means[0].id] = means[0]
    return list(found.values())


async def forget_agent(broker: Broker, store: Store, agent: str) -> None:
    """Take an agent's facts and heartbeat out of their streams, and what was known of its clock out of the store.

    Raises:
        BrokerError: they are still there; NotPermittedError, if this user may not.
        DeploymentError: the store does not take it.
    """
    for stream, subject in ((HEARTBEATS, heartbeat_subject(agent)), (FACTS, facts_subject(agent))):
        async for stored in broker.read_stream(stream, subject):
            await delete_message(broker, stream, stored.sequence)
    await store.forget_beats(agent)
