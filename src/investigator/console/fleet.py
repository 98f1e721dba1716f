"""The fleet as this console knows it: what the streams say now, held against what it heard before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from investigator.console.heads import keep_heads
from investigator.console.inventory import load_inventory
from investigator.console.sync import rebuild

if TYPE_CHECKING:
    from collections.abc import Iterable

    from investigator.broker.connection import Broker
    from investigator.console.inventory import Host, Inventory
    from investigator.console.store import Store


async def load_fleet(broker: Broker, store: Store) -> tuple[Inventory, list[str]]:
    """The inventory, and a line for each thing that did not verify or is not as it was known.

    A store in whose place a damaged one was moved aside is filled from the streams before.

    Raises:
        BrokerError: the broker does not answer, or has no such streams.
        DeploymentError: the store does not take what was heard.
    """
    warnings = await rebuild(store, broker)
    before = await store.beats()
    inventory = await load_inventory(broker, before)
    warnings += [*inventory.dropped, *await keep_heads(store, inventory)]
    await store.keep_beats({agent: beat for agent, beat in inventory.beats.items() if beat != before.get(agent)})
    return inventory, warnings


def clocks_off(hosts: Iterable[Host]) -> list[str]:
    """A line for each agent whose clock is off: it judges by that clock what is valid yet, and still."""
    return [
        f"{host.name}: its clock is {abs(host.clock_off_s):,} s {'before' if host.clock_off_s > 0 else 'behind'} the broker's"
        for host in hosts
        if host.clock_off_s
    ]
