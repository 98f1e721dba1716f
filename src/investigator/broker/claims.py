"""Telling servers that run elsewhere of changed accounts, through the system account.

The embedded server reads them from the deployment's own files; a cluster's servers keep copies, and pass on what one of
them was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import orjson

from investigator.broker.operator import account_tokens
from investigator.errors import BrokerError

if TYPE_CHECKING:
    from pathlib import Path

    from investigator.broker.connection import Broker


class _Said(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""
    description: str = ""


class _Answer(msgspec.Struct, frozen=True):
    data: _Said = _Said()
    error: _Said | None = None


async def push_claims(broker: Broker, folder: Path) -> None:
    """Give a deployment's accounts, as its folder has them, to the servers: who is shut out is disconnected at once.

    The connection must be of the user `system`. One server's answer is enough: a server that is away now takes the newer
    of what it has and what the others have when it is back.

    Raises:
        DeploymentError: the folder's accounts cannot be read.
        BrokerError: no server answered, or one refused, naming the account.
    """
    for account, token in account_tokens(folder).items():
        raw = await broker.request(f"$SYS.REQ.ACCOUNT.{account}.CLAIMS.UPDATE", token.encode(), timeout_s=10.0)
        try:
            answer = msgspec.convert(orjson.loads(raw), _Answer)
        except ValueError as error:
            raise BrokerError(f"the broker's answer about account {account}: {error}") from None
        if answer.error is not None or answer.data.code != 200:
            said = answer.error.description if answer.error is not None else answer.data.message
            raise BrokerError(f"account {account} is not changed: {said}")
