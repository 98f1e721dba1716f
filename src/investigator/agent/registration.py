"""Stage 0 of every action: the fleet knows this agent. Facts are stored once; after a gap it is asked whether they still are.

A broker that was restarted gets thousands of agents back at once, and has their facts already. So each sends them on the condition
that the stream has none of its own (which a stream that lost its store has not): one that has stores nothing, and says which it has.
"""

from __future__ import annotations

import logging
import uuid
from typing import TYPE_CHECKING

from investigator.broker.problems import NotLastError

if TYPE_CHECKING:
    from investigator.broker.connection import Broker

_log = logging.getLogger(__name__)


class Registration:
    """What the stream of facts has of one agent, as far as it said."""

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._digest = ""
        self._sequence = 0
        self.stored = 0
        """How often facts were stored."""

    async def tell(self, broker: Broker, frame: bytes, digest: str) -> None:
        """Return when the stream has these facts as the agent's last ones.

        Raises:
            BrokerError: whether it has them is not known; call again.
        """
        if digest == self._digest and await self._still_there(broker, frame):
            return
        self._keep(digest, await broker.publish_acked(self._subject, frame, message_id=uuid.uuid4().hex))

    async def _still_there(self, broker: Broker, frame: bytes) -> bool:
        """Store them if the stream has none; whether it has these now."""
        try:
            sequence = await broker.publish_acked(self._subject, frame, message_id=uuid.uuid4().hex, last=0)
        except NotLastError as error:
            return error.last == self._sequence
        _log.info("the broker had lost this agent's facts")
        self._keep(self._digest, sequence)
        return True

    def _keep(self, digest: str, sequence: int) -> None:
        self._digest, self._sequence = digest, sequence
        self.stored += 1
