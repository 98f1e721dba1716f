"""Telling the servers of a cluster, and its leaf nodes, of changed accounts: who was shut out here is shut out there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from investigator.broker.claims import push_claims
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.scopes import Scope
from investigator.broker.server_tls import services_address
from investigator.broker.tls import split_servers
from investigator.errors import BrokerError

if TYPE_CHECKING:
    from investigator.config import BrokerConfig

_CONNECT_WITHIN_S: Final = 5.0


async def push_accounts(config: BrokerConfig) -> list[str]:
    """Give the deployment's accounts to its cluster, and to each leaf node, which keeps a copy of its own.

    Returns what could not be told, one line each; what was told takes effect at once. Nothing is done for an embedded
    broker, which reads the deployment's own files.

    Raises:
        DeploymentError: the system user's credentials or the accounts are not here.
    """
    if config.cluster is None:
        return []
    _, tls = services_address(config)
    user = Credentials.load(config.store / f"{Scope.SYSTEM}.creds")
    # One server of the cluster passes it on to the others.
    places = [config.cluster.url, *(split_servers(config.cluster.leaves) if config.cluster.leaves else [])]
    problems = []
    for place in places:
        try:
            async with await connect(place, user, name="accounts", tls=tls, give_up_after_s=_CONNECT_WITHIN_S) as link:
                await push_claims(link, config.store)
        except BrokerError as error:
            problems.append(f"{place} was not told: {error}")
    return problems
