"""What nobody asks for and the streams need: results whose end is on record are let go a day later.

A million results cost the server 400 MB of memory and two seconds at its start, and each console keeps those that it asked
for. Results that nobody recorded an end of stay for the stream's seven days.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from investigator.broker.jetstream_api import purge
from investigator.broker.service_stats import ServiceCounts
from investigator.errors import BadInput, BrokerError
from investigator.logs import about
from investigator.protocol.envelope import decode_envelope
from investigator.protocol.record import parse_tally
from investigator.protocol.subjects import ALL_TALLIES, RECORDS, RESULTS, results_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.broker.connection import Broker, Stored

_log = logging.getLogger(__name__)
KEPT_AFTER: Final = timedelta(hours=24)
LOOK_EVERY_S: Final = 600.0
_FORGOTTEN_ANYHOW: Final = timedelta(days=8)
"""The stream itself lets go of results after seven days: what was recorded before that has none left."""


@dataclass(frozen=True, slots=True)
class _Due:
    """Results up to a place in their stream, of one action, and from when on they may go."""

    action: str
    through: int
    at: datetime


@dataclass(slots=True)
class Housekeeper:
    """Purges recorded results; `run` it beside a broker, as its user `broker`."""

    broker: Broker
    kept: timedelta = KEPT_AFTER
    """How long after the record results stay."""
    counts: ServiceCounts = field(default_factory=ServiceCounts)
    _last_sequence: int = 0
    _waiting: list[_Due] = field(default_factory=list)

    async def run(self, tell: Callable[[str], None]) -> None:
        """Until cancelled; a broker that is away is told once, and tried again."""
        problem = ""
        while True:
            try:
                for line in await self.once(now=datetime.now(UTC)):
                    tell(line)
                problem = ""
            except BrokerError as error:
                if str(error) != problem:
                    tell(f"recorded results are not purged: {error}")
                problem = str(error)
            await asyncio.sleep(LOOK_EVERY_S)

    async def once(self, *, now: datetime) -> list[str]:
        """Purge what is due; a line for each action of which something went.

        Raises:
            BrokerError: the records cannot be read, or the results not be purged; the next call goes on there.
        """
        async for stored in self.broker.read_stream(RECORDS, ALL_TALLIES, after_seq=self._last_sequence):
            self._last_sequence = max(self._last_sequence, stored.sequence)
            if now - stored.time < _FORGOTTEN_ANYHOW:
                self._note(stored)
        done = []
        for due in [due for due in self._waiting if due.at <= now]:
            purged = await self._purge(due)
            self._waiting.remove(due)
            self.counts.purged += purged
            _log.info(
                "action %s: %d results purged",
                due.action,
                purged,
                extra=about("purged", action=due.action, results=purged),
            )
            if purged:
                done.append(f"purged {purged:,} results of action {due.action}, the end of which is on record")
        return done

    def _note(self, stored: Stored) -> None:
        """Anything may stand in the records; what is no final tally of the action that its subject names is nothing."""
        action = stored.subject.split(".")[3]
        try:
            tally = parse_tally(decode_envelope(stored.data).signed_bytes)
        except BadInput:
            return
        if tally.final and tally.id == action:
            self.counts.recorded += 1
            _log.info(
                "action %s: its end is on record",
                action,
                extra=about(
                    "recorded", action=action, digest=tally.digest, targeted=tally.targeted, states=tally.states
                ),
            )
            self._waiting.append(_Due(action, tally.through, stored.time + self.kept))

    async def _purge(self, due: _Due) -> int:
        """Only what was there when it was counted: what came later has not been recorded."""
        return await purge(self.broker, RESULTS, results_of(due.action), before=due.through + 1, timeout_s=30.0)
