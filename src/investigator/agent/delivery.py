"""Stage 6, the way out: what the outbox holds is published until the stream has acknowledged each letter."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from investigator.agent.counts import Counts
from investigator.broker.problems import MessageTooLargeError, NotPermittedError
from investigator.logs import about

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from investigator.agent.answers import Answers
    from investigator.agent.outbox import Letter, Outbox
    from investigator.broker.connection import Broker

AT_A_TIME: Final = 16
_log = logging.getLogger(__name__)


class Delivery:
    """Of one agent's answers."""

    def __init__(self, outbox: Outbox, answers: Answers, counts: Counts | None = None) -> None:
        """`answers` is told what can never be delivered, and when memory is empty again."""
        self._outbox = outbox
        self._answers = answers
        self._counts = counts or Counts()
        self._acknowledged: set[str] = set()
        """Letters that the stream has, and a full disk does not let go of: they are not sent again."""

    async def go_round(self, broker: Broker) -> None:
        """Publish every letter once, oldest first; each that is acknowledged is removed.

        One that the broker does not permit is passed over, and holds up nothing behind it.

        Raises:
            BrokerError: the first thing that keeps letters here, after what could go has gone.
            DeploymentError: the disk did not let go of a letter.
        """
        problem: BaseException | None = None
        for some in _in_batches(self._outbox.held):
            problem = await self._publish(broker, some) or problem
        self._answers.note_ends()
        after = 0
        while some := self._outbox.pending(after=after, at_most=AT_A_TIME):
            after = some[-1].number
            problem = await self._publish(broker, some) or problem
        if problem is not None:
            raise problem

    async def _publish(self, broker: Broker, letters: Sequence[Letter]) -> BaseException | None:
        """Publish a few at a time; returns what kept one of them here, raises what would keep the others too."""
        ends = await asyncio.gather(*(self._publish_one(broker, letter) for letter in letters), return_exceptions=True)
        problem: BaseException | None = None
        delivered = [letter for letter, end in zip(letters, ends, strict=True) if end is None]
        for letter, end in zip(letters, ends, strict=True):
            if isinstance(end, MessageTooLargeError):
                self._answers.undeliverable(letter, end)
            elif isinstance(end, BaseException):
                self._counts.undelivered += 1
                if problem is None or not isinstance(end, NotPermittedError):
                    problem = end
        self._outbox.remove(*delivered)
        for letter in delivered:
            self._acknowledged.discard(letter.id)
            self._tell(letter)
        if problem is not None and not isinstance(problem, NotPermittedError):
            raise problem
        return problem

    async def _publish_one(self, broker: Broker, letter: Letter) -> None:
        if letter.id not in self._acknowledged:
            await broker.publish_acked(letter.subject, letter.payload, message_id=letter.id)
            self._acknowledged.add(letter.id)

    def _tell(self, letter: Letter) -> None:
        self._counts.delivered += 1
        self._counts.delivered_bytes += len(letter.payload)
        if _log.isEnabledFor(logging.INFO):
            action = letter.subject.split(".")[2]
            _log.info(
                "action %s: the stream has the answer",
                action,
                extra=about("delivered", action=action, letter=letter.id, bytes=len(letter.payload)),
            )


def _in_batches(letters: Sequence[Letter]) -> Iterable[Sequence[Letter]]:
    return (letters[start : start + AT_A_TIME] for start in range(0, len(letters), AT_A_TIME))
