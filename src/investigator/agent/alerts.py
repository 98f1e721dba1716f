"""Alerts of this host, from its modules to their stream: on the disk first, at a bounded rate, until the broker has them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from typing import TYPE_CHECKING, Final

from investigator.agent.outbox import Outbox
from investigator.broker.problems import MessageTooLargeError, StreamFullError
from investigator.errors import BrokerError, DeploymentError
from investigator.protocol.alert import pack_alerts
from investigator.protocol.subjects import alert_subject

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from investigator.broker.connection import Broker
    from investigator.protocol.alert import Alert
    from investigator.protocol.identity import Identity

MAX_WAITING_BYTES: Final = 16 << 20
"""What a host gives to alerts that no broker takes; beyond it its modules wait, and note nothing as told."""
AT_ONCE: Final = 20
"""Letters of one module that may go at once; on average it is `alerts_per_minute`."""
ROOM_LOOK_S: Final = 5.0
RETRY_CAP_S: Final = 10.0
FULL_RETRY_S: Final = 60.0
"""How long a module whose subject is full in the stream waits before it is tried again."""
DELIVERIES_AT_A_TIME: Final = 16
_log = logging.getLogger(__name__)


class AlertBox:
    """Alerts that were told here and are not in the stream yet."""

    def __init__(self, database: sqlite3.Connection, identity: Identity) -> None:
        """Open the table in the agent's database."""
        self._outbox = Outbox(database, table="alerts", max_bytes=MAX_WAITING_BYTES, reserved_bytes=0)
        self._identity = identity
        self._mail = asyncio.Event()
        self._mail.set()  # what an earlier life left
        self._rates: dict[str, _Rate] = {}
        self._full_until_s: dict[str, float] = {}
        self.per_minute = AT_ONCE

    def waiting(self) -> tuple[int, int]:
        """How many letters wait, and their bytes; raises `NotStored`."""
        return self._outbox.waiting()

    def clear(self) -> None:
        """Forget what was told and is not delivered; raises `DeploymentError`."""
        self._outbox.clear()

    async def keep(self, module: str, alerts: Sequence[Alert], *, name: str) -> None:
        """On return they are on the disk: at once, or when the module's rate and the outbox have room.

        Raises:
            BadInput: one of them cannot be told at all.
        """
        for payload in pack_alerts(alerts, self._identity, module=module, name=name):
            while wait_s := self._rate(module).take():  # noqa: ASYNC110 - a clock has no event
                await asyncio.sleep(wait_s)
            if not self._put(module, payload):
                while not self._put(module, payload, quiet=True):  # noqa: ASYNC110 - a disk has no event
                    await asyncio.sleep(ROOM_LOOK_S)

    def keep_now(self, module: str, alert: Alert, *, name: str) -> bool:
        """Keep one if there is room for it now; the agent's own, which waits for nothing."""
        if self._rate(module).take() > 0:
            return False
        return all(
            self._put(module, payload) for payload in pack_alerts([alert], self._identity, module=module, name=name)
        )

    async def deliver(self, broker: Broker) -> None:
        """Publish what waits until each letter is acknowledged by the stream, for as long as the agent lives."""
        pause_s = 0.25
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FULL_RETRY_S if self._full_until_s else None):
                    await self._mail.wait()
            self._mail.clear()
            try:
                while await self.deliver_some(broker):
                    pause_s = 0.25
            except (BrokerError, DeploymentError) as error:
                _log.info("alerts wait: %s", error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
                pause_s = min(pause_s * 2, RETRY_CAP_S)
                self._mail.set()

    async def deliver_some(self, broker: Broker) -> bool:
        """The oldest letters whose subjects are not full; false when there are none.

        Raises:
            BrokerError: the first that could not be published, for another reason than a full stream.
            DeploymentError: the disk.
        """
        now_s = time.monotonic()
        self._full_until_s = {subject: until for subject, until in self._full_until_s.items() if until > now_s}
        letters = self._outbox.pending(at_most=DELIVERIES_AT_A_TIME, passing_over=self._full_until_s)
        answers = await asyncio.gather(
            *(broker.publish_acked(letter.subject, letter.payload, message_id=letter.id) for letter in letters),
            return_exceptions=True,
        )
        problem: BaseException | None = None
        settled = []
        for letter, answer in zip(letters, answers, strict=True):
            if isinstance(answer, StreamFullError):
                self._full_until_s[letter.subject] = now_s + FULL_RETRY_S
                _log.warning("%s; what waits for it stays here", answer)
            elif isinstance(answer, BaseException) and not isinstance(answer, MessageTooLargeError):
                problem = answer
            else:
                if isinstance(answer, BaseException):
                    _log.error("an alert cannot be told: %s", answer)
                settled.append(letter)
        self._outbox.remove(*settled)
        if problem is not None:
            raise problem
        return bool(letters)

    def _put(self, module: str, payload: bytes, *, quiet: bool = False) -> bool:
        try:
            self._outbox.add(alert_subject(self._identity.id, module), [payload])
        except DeploymentError as error:
            if not quiet:
                _log.warning("alerts of module %s wait: %s", module, error)
            return False
        self._mail.set()
        return True

    def _rate(self, module: str) -> _Rate:
        return self._rates.setdefault(module, _Rate(self.per_minute))


class _Rate:
    """A bucket of `AT_ONCE` letters, filled again at so many a minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_s = per_minute / 60
        self._most = float(max(1, min(AT_ONCE, per_minute)))
        self._left = self._most
        self._at_s = time.monotonic()

    def take(self) -> float:
        """Take one: 0; or, if there is none, the seconds until there is."""
        now_s = time.monotonic()
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return (1 - self._left) / self._per_s
        self._left -= 1
        return 0.0
