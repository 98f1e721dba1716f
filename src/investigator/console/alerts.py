"""Alerts, as their stream holds them: read, verified, shown, acknowledged by taking them out.

A letter that its agent did not sign is told and never shown. One that was acknowledged here and comes again was sent by
somebody who kept a copy: that is told too.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from investigator.broker.jetstream_api import delete_message
from investigator.broker.problems import JetStreamError
from investigator.broker.streams import stream_state
from investigator.errors import BadInput, BrokerError, Refused
from investigator.protocol.alert import ID_DIGITS, SEVERITIES, letter_id, unpack_alerts
from investigator.protocol.subjects import ALERTS, ALL_ALERTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection

    from investigator.broker.connection import Broker, Stored
    from investigator.protocol.alert import Alert, Letter, Severity

READ_STREAM_EVERY_S: Final = 2.0
MAX_TOLD: Final = 20
LEAST_ID_DIGITS: Final = 4
EVERY: Final = "all"


@dataclass(frozen=True, slots=True)
class Kept:
    """One verified letter as the stream holds it."""

    id: str
    letter: Letter
    sequences: list[int]
    """Where it stands: an agent that was not told that it is stored sends it again, which the stream may not notice."""

    def alerts(self, wanted: Wanted) -> list[Alert]:
        """Those of its alerts that are wanted."""
        return [alert for alert in self.letter.alerts if SEVERITIES.index(alert.severity) >= wanted.rank]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which alerts are meant."""

    agent: str = ""
    """An agent's id or name."""
    module: str = ""
    severity: Severity = "low"
    """This, or worse."""

    @property
    def rank(self) -> int:
        """The severity's place among all."""
        return SEVERITIES.index(self.severity)

    def means(self, letter: Letter) -> bool:
        """Whether an alert of this letter is wanted."""
        return (
            self.agent in ("", letter.agent, letter.name)
            and self.module in ("", letter.module)
            and any(SEVERITIES.index(alert.severity) >= self.rank for alert in letter.alerts)
        )


class AlertReader:
    """Reads the stream from where it was read last; each letter is given out once."""

    def __init__(
        self,
        broker: Broker,
        wanted: Wanted,
        *,
        known: Collection[str],
        warn: Callable[[str], None],
        why_not: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        """`known`: ids of letters that were acknowledged here; `why_not`: why an agent, by its id, is not believed."""
        self._why_not = why_not
        self._broker = broker
        self._wanted = wanted
        self._known = known
        self._warn = warn
        self._told = 0
        self._made = ""
        self._last_sequence = 0
        self._read: dict[str, Kept] = {}
        self._changed = asyncio.Event()

    async def waiting(self) -> AsyncIterator[Kept]:
        """What the stream has and was not given out yet, in the order in which it came.

        Raises:
            BrokerError: it cannot be read.
        """
        made = (await stream_state(self._broker, ALERTS)).made
        if made != self._made:  # another stream under the same name counts from one again
            self._made, self._last_sequence = made, 0
        async for stored in self._broker.read_stream(ALERTS, ALL_ALERTS, after_seq=self._last_sequence):
            self._last_sequence = max(self._last_sequence, stored.sequence)
            kept = self._verified(stored)
            if kept is not None and self._wanted.means(kept.letter) and await self._is_ours(kept.letter):
                yield kept

    async def follow(self, stop: asyncio.Event) -> AsyncIterator[Kept]:
        """The same, and what comes from now on, until `stop` is set."""
        await self._broker.subscribe(ALL_ALERTS, lambda _: self._changed.set())
        stopping = asyncio.create_task(stop.wait())
        lost = False
        try:
            while not stop.is_set():
                self._changed.clear()
                try:
                    async for kept in self.waiting():
                        yield kept
                    if lost:
                        self._warn("the broker is back")
                    lost = False
                except BrokerError as error:
                    if not lost:
                        self._warn(f"{error}; trying again")
                    lost = True
                changed = asyncio.create_task(self._changed.wait())
                await asyncio.wait(
                    {changed, stopping}, timeout=READ_STREAM_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                changed.cancel()
        finally:
            stopping.cancel()

    async def _is_ours(self, letter: Letter) -> bool:
        why = "" if self._why_not is None else await self._why_not(letter.agent)
        if why:
            self._tell(f"an alert in the name of {letter.name} ({letter.agent}) is dropped: {why}")
        return not why

    def _verified(self, stored: Stored) -> Kept | None:
        *_, agent, module = stored.subject.split(".")
        try:
            letter = unpack_alerts(stored.data, agent=agent, module=module)
        except (BadInput, Refused) as error:
            self._tell(f"message {stored.sequence} of {ALERTS} is dropped: {error}")
            return None
        kept = Kept(letter_id(stored.data), letter, [stored.sequence])
        if kept.id in self._known:
            self._tell(f"alert {kept.id} of {letter.name} was acknowledged here, and somebody sent it again")
            return None
        first = self._read.setdefault(kept.id, kept)
        if first is not kept:
            first.sequences.append(stored.sequence)
            return None
        return kept

    def _tell(self, text: str) -> None:
        self._told += 1
        if self._told <= MAX_TOLD:
            self._warn(text if self._told < MAX_TOLD else f"{text}; no more of this kind is told")


def chosen(letters: Collection[Kept], ids: Collection[str]) -> list[Kept]:
    """The letters that these ids, or the starts of ids, mean; `all` means each.

    Raises:
        BadInput: one is no id, or means none or several.
    """
    found: dict[str, Kept] = {}
    for given in ids:
        if given == EVERY:
            found.update((kept.id, kept) for kept in letters)
            continue
        text = given.lower()
        if not LEAST_ID_DIGITS <= len(text) <= ID_DIGITS or set(text) - set("0123456789abcdef"):
            raise BadInput(f"{given[:40]!r} is no alert's id: {LEAST_ID_DIGITS} to {ID_DIGITS} hexadecimal digits")
        means = {kept.id: kept for kept in letters if kept.id.startswith(text)}
        if len(means) != 1:
            what = "no alert that waits" if not means else f"{len(means)} alerts: {', '.join(sorted(means))}"
            raise BadInput(f"{given!r} means {what}", hint="`investigator alerts` lists them.")
        found.update(means)
    return sorted(found.values(), key=lambda kept: kept.sequences)


async def take_out(broker: Broker, kept: Kept) -> None:
    """Take a letter out of the stream; that somebody else did so meanwhile is as good.

    Raises:
        BrokerError: it is still there.
    """
    for sequence in kept.sequences:
        try:
            await delete_message(broker, ALERTS, sequence)
        except JetStreamError as error:
            raise BrokerError(f"alert {kept.id} is not acknowledged: {error}") from None
