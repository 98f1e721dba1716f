"""The fleet as this console knows it: what the streams say now, held against what it heard before and what people signed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from investigator.console.enrolled import load_enrolled
from investigator.console.heads import keep_heads
from investigator.console.inventory import asks_ledger
from investigator.console.inventory_cache import load_inventory
from investigator.console.sync import rebuild

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from investigator.broker.connection import Broker
    from investigator.console.enrolled import Enrolled
    from investigator.console.inventory import Host, Inventory
    from investigator.console.session import Session
    from investigator.console.store import Store
    from investigator.protocol.target import Condition

LOOK_AGAIN_AFTER_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """The inventory, every host of it judged."""

    inventory: Inventory
    enrolled: Enrolled
    warnings: list[str]
    """A line for each thing that did not verify or is not as it was known."""

    def counted(self, hosts: Sequence[Host]) -> list[Host]:
        """Those that are asked, and believed."""
        return [host for host in hosts if self.enrolled.counts(host)]

    def standings(self, hosts: Sequence[Host]) -> list[str]:
        """What to know of who is who before these are asked."""
        return self.enrolled.warnings(hosts, self.inventory.hosts.values())


async def load_fleet(session: Session) -> Fleet:
    """The fleet, by those whose word about agents counts here.

    Raises:
        BrokerError, DeploymentError: as `known_inventory` and `load_enrolled`.
    """
    inventory = await known_inventory(session.broker, session.store)
    enrolled = await load_enrolled(session)
    await enrolled.judge(inventory.hosts.values())
    return Fleet(inventory, enrolled, [*inventory.dropped, *await keep_heads(session.store, inventory)])


async def earlier_outcomes(store: Store, condition: Condition | None) -> set[tuple[str, str, str]]:
    """What `Inventory.matching` needs of them for this condition. Most ask nothing, and there may be millions: none is read then."""
    return await store.who_came_to() if asks_ledger(condition) else set()


class Believed:
    """Whose word counts, agent by agent, for who listens for long; an agent that is not known yet is looked for, now and then."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._fleet: Fleet | None = None
        self._loaded_s = -math.inf

    async def why_not(self, agent: str) -> str:
        """Why the agent with this id is not believed; empty if it is. Raises as `load_fleet`."""
        if self._fleet is None or (
            agent not in self._fleet.inventory.hosts and time.monotonic() - self._loaded_s > LOOK_AGAIN_AFTER_S
        ):
            self._fleet, self._loaded_s = await load_fleet(self._session), time.monotonic()
        return self._fleet.enrolled.why_not(self._fleet.inventory.hosts.get(agent))


async def known_inventory(broker: Broker, store: Store) -> Inventory:
    """The inventory, in which heartbeats count only if they are newer than those that this console heard before.

    A store in whose place a damaged one was moved aside is filled from the records first, which `dropped` tells.

    Raises:
        BrokerError: the broker does not answer, or has no such streams.
        DeploymentError: the store does not take what was heard.
    """
    rebuilt = await rebuild(store, broker)
    before = await store.beats()
    inventory = await load_inventory(broker, before, store=store)
    await store.keep_beats({agent: inventory.beats[agent] for agent in inventory.fresh})
    inventory.dropped[:0] = rebuilt
    return inventory


def clocks_off(hosts: Iterable[Host]) -> list[str]:
    """A line for each agent whose clock is off: it judges by that clock what is valid yet, and still."""
    return [
        f"{host.name}: its clock is {abs(host.clock_off_s):,} s {'before' if host.clock_off_s > 0 else 'behind'} the broker's"
        for host in hosts
        if host.clock_off_s
    ]
