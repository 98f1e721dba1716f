"""The enrolment service on its connection: hears requests, investigators and statements, answers, purges, counts."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from investigator.broker.enrolment import Decisions, Trust
from investigator.broker.enrolment_book import Book
from investigator.broker.jetstream_api import purge
from investigator.broker.operator import mint_agent, revoke_user
from investigator.broker.problems import JetStreamError
from investigator.broker.scopes import Account
from investigator.broker.service_stats import ServiceCounts
from investigator.broker.traffic import Traffic
from investigator.errors import BadInput, BrokerError, DeploymentError, Refused
from investigator.protocol import subjects
from investigator.protocol.enrolment import encode_answer, encode_told

if TYPE_CHECKING:
    from pathlib import Path

    from investigator.broker.connection import Broker, Message
    from investigator.config import EnrolmentSettings

READ_STATEMENTS_EVERY_S: Final = 60.0
KEEP_COUNTS_EVERY_S: Final = 10.0
PURGE_AGAIN_AFTER_S: Final = 5.0
MAX_MARKS: Final = 100_000
_OF_AGENTS: Final = (subjects.ALL_RESULTS, subjects.ALL_FACTS, subjects.ALL_HEARTBEATS, subjects.ALL_ALERTS)
_log = logging.getLogger(__name__)


class OperatorAuthority:
    """Mints and revokes with the keys of a deployment's broker folder."""

    def __init__(self, folder: Path, *, changed: Callable[[], None]) -> None:
        """`changed` is called when an account was: the embedded server looks by itself, others must be told."""
        self._folder = folder
        self._changed = changed

    def mint(self, agent: str, user: str, *, lives_s: int, now_s: int) -> str:
        """See `mint_agent`."""
        return mint_agent(self._folder, agent=agent, user_key=user, lives_s=lives_s, now_s=now_s)

    def shut_out(self, user: str, *, now_s: int) -> None:
        """See `revoke_user`."""
        revoke_user(self._folder, account=Account.AGENTS, user_key=user, now_s=now_s)
        self._changed()


async def serve_enrolment(
    broker: Broker,
    folder: Path,
    trust: Trust,
    settings: EnrolmentSettings,
    *,
    ready: Callable[[], None] = lambda: None,
    accounts_changed: Callable[[], None] = lambda: None,
    counts: ServiceCounts | None = None,
) -> None:
    """Serve until cancelled.

    Args:
        broker: a connection as the user `services`.
        folder: the deployment's broker folder, with the keys that mint; the service's database is in it.
        trust: whose statements count.
        settings: of broker.toml.
        ready: called once it hears.
        accounts_changed: called after an agent was shut out.
        counts: where it counts.

    Raises:
        DeploymentError: the database or a key cannot be used, or another service runs here.
        BrokerError: the connection's user may not serve.
    """
    with Book(folder) as book:
        authority = OperatorAuthority(folder, changed=accounts_changed)
        service = _Service(broker, book, trust, settings, authority, counts or ServiceCounts())
        await service.run(ready)


class _Service:
    def __init__(  # noqa: PLR0917 - what a service consists of
        self,
        broker: Broker,
        book: Book,
        trust: Trust,
        settings: EnrolmentSettings,
        authority: OperatorAuthority,
        counts: ServiceCounts,
    ) -> None:
        self._counts = counts
        self._broker = broker
        self._book = book
        self._purges: asyncio.Queue[str] = asyncio.Queue()
        self._marks: set[bytes] = set()
        self._decisions = Decisions(
            book,
            trust,
            authority,
            settings,
            gone=self._purges.put_nowait,
            monotonic_s=time.monotonic,
            now_s=time.time,
        )
        self._traffic = Traffic(flood_bytes_per_minute=settings.flood_bytes_per_minute, note=self._decisions.note)

    async def run(self, ready: Callable[[], None]) -> None:
        await self._read_statements()  # before anybody is let in whom an investigator has revoked
        for subject in _OF_AGENTS:
            await self._broker.subscribe(subject, self._count)
        await self._broker.subscribe(subjects.ALL_STATEMENTS, self._on_statement)
        await self._broker.subscribe(subjects.ENROL_ADMIN, self._on_investigator)
        await self._broker.subscribe(subjects.ENROL_REQUEST, self._on_request)
        ready()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_regularly())
            tasks.create_task(self._purge())
            tasks.create_task(self._keep_counts())

    async def _on_request(self, message: Message) -> None:
        answer = self._decisions.answer(message.data)
        self._counts.enrolment[answer.state] += 1
        await self._reply(message, encode_answer(answer))

    async def _on_investigator(self, message: Message) -> None:
        self._counts.statements += 1
        await self._reply(message, encode_told(self._decisions.hear(message.data)))

    async def _reply(self, message: Message, answer: bytes) -> None:
        """To an inbox alone: a reply subject is what the asker says it is."""
        if message.reply.startswith(("_INBOX.", "_R_.")):
            with suppress(BrokerError):  # whoever asked asks again
                await self._broker.publish(message.reply, answer)

    def _on_statement(self, message: Message) -> None:
        self._rule(message.data)

    def _rule(self, raw: bytes) -> None:
        """One from the records: each is judged once, what is none is told once."""
        mark = hashlib.sha256(raw).digest()
        if mark in self._marks:
            return
        if len(self._marks) > MAX_MARKS:
            self._marks.clear()
        self._marks.add(mark)
        try:
            self._decisions.rule(raw)
        except (BadInput, Refused) as error:
            _log.warning("enrolment: a statement counts nothing: %s", error)
        except DeploymentError as error:
            self._marks.discard(mark)
            _log.error("enrolment: %s", error)

    async def _read_statements(self) -> None:
        async for stored in self._broker.read_stream(subjects.RECORDS, subjects.ALL_STATEMENTS):
            self._rule(stored.data)

    async def _read_regularly(self) -> None:
        while True:
            await asyncio.sleep(READ_STATEMENTS_EVERY_S)
            with suppress(BrokerError):
                await self._read_statements()

    def _count(self, message: Message) -> None:
        self._counts.messages += 1
        self._counts.bytes += len(message.data)
        self._traffic.heard(message.subject, message.data, now_s=time.monotonic())

    async def _keep_counts(self) -> None:
        try:
            while True:
                await asyncio.sleep(KEEP_COUNTS_EVERY_S)
                self._keep()
        finally:
            self._keep()

    def _keep(self) -> None:
        heard = self._traffic.take()
        if heard:
            try:
                self._book.count_bytes(heard)
            except DeploymentError as error:
                _log.error("enrolment: %s", error)

    async def _purge(self) -> None:
        """What the streams hold of agents that were let go: now, and once more when the broker has hung up on them."""
        loop, again = asyncio.get_running_loop(), set[str]()
        while True:
            agent = await self._purges.get()
            if agent not in again:
                again.add(agent)
                loop.call_later(PURGE_AGAIN_AFTER_S, self._purges.put_nowait, agent)
            else:
                again.discard(agent)
            filters = {
                subjects.FACTS: subjects.facts_subject(agent),
                subjects.HEARTBEATS: subjects.heartbeat_subject(agent),
                subjects.RESULTS: f"mig.result.*.{subjects.token(agent)}",
                subjects.ALERTS: f"mig.alert.{subjects.token(agent)}.*",
            }
            for stream, wanted in filters.items():
                while not await self._purged(stream, wanted):  # noqa: ASYNC110 - a broker that is away has no event here
                    await asyncio.sleep(PURGE_AGAIN_AFTER_S)

    async def _purged(self, stream: str, wanted: str) -> bool:
        """Whether there is nothing to be tried again."""
        try:
            await purge(self._broker, stream, wanted)
        except JetStreamError as error:
            _log.error("enrolment: purging %s: %s", wanted, error)
        except BrokerError as error:
            _log.warning("enrolment: purging %s: %s", wanted, error)
            return False
        return True
