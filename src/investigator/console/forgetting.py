"""A host that is no more, out of the inventory: what the streams hold of it, for all consoles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
import orjson

from investigator.errors import BadInput, BrokerError
from investigator.protocol.subjects import FACTS, HEARTBEATS, facts_subject, heartbeat_subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from investigator.broker.connection import Broker
    from investigator.console.inventory import Host, Inventory
    from investigator.console.store import Store

_GONE: Final = frozenset((10037, 10043, 10057))
"""No message found; deleted by somebody else meanwhile (what nats-server says of it)."""


class _Refusal(msgspec.Struct):
    description: str = ""
    err_code: int = 0


class _Answer(msgspec.Struct):
    error: _Refusal | None = None


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
            await _take_out(broker, stream, stored.sequence)
    await store.forget_beats(agent)


async def _take_out(broker: Broker, stream: str, sequence: int) -> None:
    request = orjson.dumps({"seq": sequence, "no_erase": True})
    answer = await broker.request(f"$JS.API.STREAM.MSG.DELETE.{stream}", request)
    try:
        said = msgspec.convert(orjson.loads(answer), _Answer)
    except ValueError as error:
        raise BrokerError(f"stream {stream}: the broker's answer: {error}") from None
    if said.error is not None and said.error.err_code not in _GONE:
        raise BrokerError(f"stream {stream}: message {sequence} is not taken out: {said.error.description}")
