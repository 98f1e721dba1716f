"""The fleet as this console knows it: what the streams say now, held against what it heard before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from investigator.console.inventory import load_inventory
from investigator.console.sync import rebuild

if TYPE_CHECKING:
    from collections.abc import Iterable

    from investigator.broker.connection import Broker
    from investigator.console.inventory import Host, Inventory
    from investigator.console.store import Store


async def known_inventory(broker: Broker, store: Store) -> Inventory:
    """The inventory, in which heartbeats count only if they are newer than those that this console heard before.

    A store in whose place a damaged one was moved aside is filled from the records first, which `dropped` tells.

    Raises:
        BrokerError: the broker does not answer, or has no such streams.
        DeploymentError: the store does not take what was heard.
    """
    rebuilt = await rebuild(store, broker)
    before = await store.beats()
    inventory = await load_inventory(broker, before)
    await store.keep_beats({agent: beat for agent, beat in inventory.beats.items() if beat != before.get(agent)})
    inventory.dropped[:0] = rebuilt
    return inventory


def clocks_off(hosts: Iterable[Host]) -> list[str]:
    """A line for each agent whose clock is off: it judges by that clock what is valid yet, and still."""
    return [
        f"{host.name}: its clock is {abs(host.clock_off_s):,} s {'before' if host.clock_off_s > 0 else 'behind'} the broker's"
        for host in hosts
        if host.clock_off_s
    ]
