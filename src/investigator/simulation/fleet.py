"""What simulated agents do: say who they are, that they are there, and what became of what they were asked.

What they share is said here, because it is what a real fleet would pay for on its own hosts: the OpenPGP verification of an envelope is
done once for all of them, and no module runs. Each passes the real gate on its own facts, and signs and seals its own answer.
Cancels and revocations pass them by.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BrokerError, Refused
from investigator.protocol import kinds
from investigator.protocol.action import utc
from investigator.protocol.admission import Admitted, Host, Refusal, admit
from investigator.protocol.answer import pack
from investigator.protocol.kinds import claimed_kind
from investigator.protocol.result import Outcome, Result
from investigator.protocol.subjects import facts_subject, heartbeat_subject, result_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from investigator.broker.connection import Broker, Message
    from investigator.protocol.acl import Acl
    from investigator.protocol.admission import Keyring, Signature
    from investigator.protocol.identity import Identity
    from investigator.simulation.population import Population

AT_A_TIME: Final = 256
"""Messages that wait for their acknowledgement."""
MAX_WAITING: Final = 16
"""Actions that wait for their answers; the next ones are not heard."""
MAX_REMEMBERED: Final = 256
"""Actions of which it is known who ran them."""
_PAUSE_S: Final = 0.5
_TICK_S: Final = 0.1


class Once:
    """A keyring that verifies each signature once, in place of one keyring a host."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self._known: dict[tuple[bytes, bytes], Signature | Refused] = {}

    def verify(self, data: bytes, signature: bytes, now: int, *, max_age_s: int | None = None) -> Signature:
        """As the real one said the first time."""
        key = (hashlib.sha256(data).digest(), hashlib.sha256(signature).digest())
        if key not in self._known:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            try:
                self._known[key] = self._keyring.verify(data, signature, now, max_age_s=max_age_s)
            except Refused as error:
                self._known[key] = error
        said = self._known[key]
        if isinstance(said, Refused):
            raise said
        return said


class Ran:
    """The ledgers of all agents: who ran what, a bit each."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bits: dict[str, bytearray] = {}
        self.number = 0
        """Whose ledger it is right now."""

    def __contains__(self, digest: object) -> bool:
        bits = self._bits.get(str(digest))
        return bits is not None and bool(bits[self.number >> 3] & 1 << (self.number & 7))

    def enter(self, digest: str) -> None:
        """The agent whose turn it is runs it."""
        if digest not in self._bits:
            if len(self._bits) >= MAX_REMEMBERED:
                del self._bits[next(iter(self._bits))]
            self._bits[digest] = bytearray((self._size + 7) // 8)
        self._bits[digest][self.number >> 3] |= 1 << (self.number & 7)


class Answered:
    """How the answering of one envelope went."""

    def __init__(self, action: str, action_bytes: int) -> None:
        self.action = action
        self.action_bytes = action_bytes
        self.began_s = time.monotonic()
        self.took_s = 0.0
        """Until the stream had acknowledged the last answer; 0: not yet."""
        self.answers = 0
        self.payload_bytes = 0
        self.over = asyncio.Event()


class Fleet:
    """All simulated agents, on one connection."""

    def __init__(self, population: Population, keyring: Keyring, acl: Acl, *, answer_bytes: int, found: float) -> None:
        """`answer_bytes`: what each result is filled up to; `found`: the share of agents that find something."""
        self.population = population
        self.broker: Broker
        """Set once there is one."""
        self.asked: list[Answered] = []
        self.passed_by = 0
        """Messages that were no action, or came while too many waited."""
        self._keyring = Once(keyring)
        self._acl = acl
        self._padding = "x" * answer_bytes
        self._found_one_of = round(1 / found) if found else 0
        self._ran = Ran(population.size)
        self._waiting: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(MAX_WAITING)

    async def register(self, progress: Callable[[int], None]) -> None:
        """Store the facts of all."""
        now_s = int(time.time())

        def told(number: int, identity: Identity) -> tuple[str, bytes]:
            return facts_subject(identity.id), self.population.facts(number, identity, now_s=now_s)

        await self._publish_all(told, progress)

    async def beat(self, progress: Callable[[int], None]) -> None:
        """A heartbeat of each, as fast as it goes."""
        for start in range(0, self.population.size, AT_A_TIME):
            await self._beat(range(start, min(start + AT_A_TIME, self.population.size)))
            progress(start)
        await self._patiently(self.broker.flush)

    async def beat_regularly(self) -> None:
        """Heartbeats at the pace of real ones, one agent after the other, until cancelled."""
        size, next_one, due = self.population.size, 0, 0.0
        began_s = time.monotonic()
        while True:
            await asyncio.sleep(_TICK_S)
            due = (time.monotonic() - began_s) / self.population.heartbeat_s * size
            while next_one < due:
                some = range(next_one, min(next_one + AT_A_TIME, int(due) + 1))
                await self._patiently(lambda some=some: self._beat([number % size for number in some]))  # type: ignore[misc]
                next_one = some.stop
                await asyncio.sleep(0)

    async def _beat(self, numbers: Iterable[int]) -> None:
        now_s, answered = time.time(), len(self.asked)
        for number in numbers:
            identity = self.population.identity(number)
            frame = self.population.heartbeat(number, identity, now_s=now_s, answered=answered, seen=answered)
            await self.broker.publish(heartbeat_subject(identity.id), frame)

    def heard(self, message: Message) -> None:
        """What came on a subject of actions."""
        if claimed_kind(message.data) != kinds.ACTION or self._waiting.full():
            self.passed_by += 1
        else:
            self._waiting.put_nowait((message.subject, message.data))

    async def answer_regularly(self) -> None:
        """Answer what is heard, one envelope after the other, until cancelled."""
        while True:
            subject, raw = await self._waiting.get()
            route, _, action_id = subject.rpartition(".")
            run = Answered(action_id, len(raw))
            self.asked.append(run)

            def told(
                number: int, identity: Identity, *, raw: bytes = raw, route: str = route, run: Answered = run
            ) -> tuple[str, bytes] | None:
                if not self.population.hears(number, identity.id, route):
                    return None
                payload = self._judge(number, identity, raw, run.action)
                if payload is not None:
                    run.answers += 1
                    run.payload_bytes += len(payload)
                return None if payload is None else (result_subject(run.action, identity.id), payload)

            await self._publish_all(told, lambda _: None)
            run.took_s = time.monotonic() - run.began_s
            run.over.set()

    def _judge(self, number: int, identity: Identity, raw: bytes, action_id: str) -> bytes | None:
        """What one agent says of an envelope, by the real gate on its own facts; None: it was not asked, or says nothing."""
        now_s = time.time()
        row = self.population.row(number, identity.id)
        self._ran.number = number
        host = Host(
            keyring=self._keyring,
            acl=self._acl,
            row={**row, "status": "online", "heartbeattime": utc(now_s)},
            ledger=self._ran,
        )
        verdict = admit(raw, host, action_id=action_id, now_s=now_s)
        if isinstance(verdict, Refusal):
            if verdict.code in ("not-targeted", "replayed") or not verdict.signers:
                return None
            mark = hashlib.sha256(raw).hexdigest()
            outcome = Outcome(
                state="refused", name=row["name"], code=verdict.code, reason=verdict.reason, envelope=mark
            )
            return self._packed(outcome, identity, action_id, verdict.digest, verdict.sealto)
        self._ran.enter(verdict.digest)
        return self._packed(
            self._outcome(number, row["name"], verdict, now_s),
            identity,
            action_id,
            verdict.digest,
            verdict.action.sealto,
        )

    def _outcome(self, number: int, name: str, admitted: Admitted, now_s: float) -> Outcome:
        found = bool(self._found_one_of) and number % self._found_one_of == 0
        results = [
            Result(success=True, foundanything=found, statistics={"simulated": self._padding})
            for _ in admitted.action.operations
        ]
        state: Any = "found" if found else "notfound"
        return Outcome(state=state, name=name, results=results, started_s=now_s, finished_s=time.time())

    def _packed(self, outcome: Outcome, identity: Identity, action: str, digest: str, sealto: str | None) -> bytes:
        (payload,) = pack(outcome, identity, action=action, digest=digest, sealto=sealto)
        return payload

    async def _publish_all(
        self, told: Callable[[int, Identity], tuple[str, bytes] | None], progress: Callable[[int], None]
    ) -> None:
        """Store what each agent tells, until the stream has acknowledged all of it."""
        window = asyncio.Semaphore(AT_A_TIME)
        async with asyncio.TaskGroup() as tasks:
            for number in range(self.population.size):
                letter = told(number, self.population.identity(number))
                if letter is not None:
                    await window.acquire()
                    tasks.create_task(self._publish(*letter, window))
                if number % AT_A_TIME == 0:
                    progress(number)
                    await asyncio.sleep(0)

    async def _publish(self, subject: str, payload: bytes, window: asyncio.Semaphore) -> None:
        message_id = hashlib.sha256(payload).hexdigest()
        try:
            await self._patiently(
                lambda: self.broker.publish_acked(subject, payload, message_id=message_id, timeout_s=30.0)
            )
        finally:
            window.release()

    async def _patiently(self, attempt: Callable[[], Any]) -> None:
        while True:
            try:
                await attempt()
            except BrokerError:
                await asyncio.sleep(_PAUSE_S)
            else:
                return
