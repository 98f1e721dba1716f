"""The console's connection to the broker."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from investigator.broker.connection import Broker, connect
from investigator.broker.credentials import Credentials
from investigator.broker.tls import plain_text_notice
from investigator.config import ConsoleConfig
from investigator.errors import BrokerError

CONNECT_WITHIN_S: Final = 5.0


@asynccontextmanager
async def console_link(config: ConsoleConfig) -> AsyncIterator[Broker]:
    """Connect as the investigator; that it is in plain text, on loopback, is said on standard error.

    Raises:
        BrokerError: there is none within five seconds.
        DeploymentError: no credentials, no CA, or an address beyond this machine that is not `tls://`.
    """
    # a lost connection is told by who waits on it, in its own words, and not by the log as well
    logging.getLogger("investigator.broker").setLevel(logging.ERROR)
    credentials = Credentials.load(config.broker.credentials)
    notice = plain_text_notice(config.broker.url)
    if notice:
        print(f"[notice] {notice}", file=sys.stderr)  # noqa: T201 - each command that asks the broker says it
    try:
        broker = await connect(
            config.broker.url,
            credentials,
            name="console",
            tls=config.broker.tls,
            give_up_after_s=CONNECT_WITHIN_S,
        )
    except BrokerError as error:
        error.hint = error.hint or "`investigator broker` runs the one of this deployment."
        raise
    try:
        yield broker
    finally:
        await broker.close()
