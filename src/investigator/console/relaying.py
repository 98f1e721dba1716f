"""Everything that an investigation tells, passed on to a script in order: each payload as it came, states, and the last word."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from investigator.broker.micro import Exchange
from investigator.console.audience import Shown, Summary
from investigator.console.dispatch import Prepared
from investigator.errors import BrokerError, InvestigatorError
from investigator.protocol import api
from investigator.protocol.action import Action
from investigator.protocol.answer import MAX_PART_BYTES, MAX_PARTS
from investigator.protocol.piece import Piece
from investigator.protocol.result import MAX_PIECES, Outcome

MAX_WAITING_BYTES: Final = 64 << 20
"""Of answers to one request that are not sent yet."""
MAX_PAYLOAD_BYTES: Final = MAX_PART_BYTES + 8 * 1024
"""No agent of ours sends more at a time."""
MAX_PAYLOADS: Final = MAX_PIECES + MAX_PARTS
"""Of one agent: no honest one has more pieces, and parts of its outcome."""
TALLY_EVERY_S: Final = 1.0


class TooSlow(InvestigatorError):
    """Answers come faster than they can be passed on."""

    code = "too-slow"
    exit_code = 4


class Relaying:
    """An audience that passes everything on to a script, in order."""

    def __init__(self, exchange: Exchange, prepared: Prepared) -> None:
        self.stop = asyncio.Event()
        """Set where it makes no sense to go on."""
        self._exchange = exchange
        self._prepared = prepared
        self._id = exchange.action = prepared.action.id
        self._answered: set[str] = set()
        self._payloads: Counter[str] = Counter()
        self._states: dict[str, str] = {}
        self._ready: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting_bytes = 0
        self._overflown = False
        self._dropped = 0
        self._tally_s = 0.0

    async def lead(self, follow: Callable[[Relaying], Awaitable[Summary]]) -> None:
        """Pass on what `follow` tells, until it is over.

        Raises:
            InvestigatorError: what `follow` raises, after what it had told.
        """
        sending = asyncio.create_task(self._send())
        try:
            await follow(self)
            self._ready.put_nowait(None)
            await sending
        except InvestigatorError:
            self._ready.put_nowait(None)
            await sending
            raise
        finally:
            sending.cancel()
        if self._overflown:
            raise TooSlow("answers came faster than they could be passed on", hint="`results` has all of them.")

    async def _send(self) -> None:
        while (document := await self._ready.get()) is not None:
            self._waiting_bytes -= len(document)
            try:
                await self._exchange.send(document)
            except BrokerError:  # it was away for a moment, and may not have been alone
                self._overflown = True

    def _tell(self, reply: api.Reply) -> None:
        document = api.encode(reply)
        if self._waiting_bytes + len(document) > MAX_WAITING_BYTES:
            self._overflown = True
            self.stop.set()
            return
        self._waiting_bytes += len(document)
        self._ready.put_nowait(document)

    def payload(self, agent: str, name: str, payload: bytes) -> None:
        """One payload of an agent."""
        self._payloads[agent] += 1
        if len(payload) > MAX_PAYLOAD_BYTES or self._payloads[agent] > MAX_PAYLOADS:
            self._dropped += 1
            return
        named, sealed = api.Named(id=agent, name=name), payload[:1] == b"\x01"
        self._tell(api.Payload(action=self._id, agent=named, sealed=sealed, payload=base64.b64encode(payload).decode()))
        if sealed and agent not in self._answered:
            self._answered.add(agent)
            self._change(agent, api.StateChange(action=self._id, agent=named, state="answered"))

    def started(self, action: Action, *, targeted: int, expected: int) -> None:
        """It was published."""
        envelope = self._prepared.envelope
        self._tell(
            api.Started(
                action=action.id,
                digest=envelope.digest,
                envelope=hashlib.sha256(envelope.encode()).hexdigest(),
                targeted=targeted,
                expected=expected,
            )
        )

    def piece(self, agent: str, name: str, piece: Piece) -> bool:  # noqa: ARG002 - the audience's
        """Passed on already, as it came."""
        return False

    def outcome(
        self,
        agent: str,
        name: str,
        state: Shown,
        outcome: Outcome | None,
        *,
        unfinished: bool = False,  # noqa: ARG002 - the audience's
    ) -> None:
        """An agent is final, or is said to be silent; what came of one that has no state was passed on."""
        if state == "working":
            return
        said = outcome or Outcome(state=state, name=name)
        named = api.Named(id=agent, name=name)
        self._change(
            agent, api.StateChange(action=self._id, agent=named, state=state, code=said.code, reason=said.reason)
        )

    async def room(self) -> None:
        """There always is: what a script does not take in time is dropped, and it is told so."""

    def progress(self, *, targeted: int, answered: int, found: int, failed: int, elapsed_s: float) -> None:  # noqa: ARG002 - the audience's
        """At most once a second."""
        if time.monotonic() - self._tally_s >= TALLY_EVERY_S:
            self._tally_s = time.monotonic()
            states = dict(Counter(self._states.values()))
            self._tell(api.TallyNow(action=self._id, targeted=targeted, states=states, elapsed_s=round(elapsed_s, 3)))

    def summary(self, summary: Summary) -> None:
        """The last word."""
        counts: dict[str, int] = dict[str, int](**summary.states, answered=summary.sealed, working=summary.working)
        self._tell(
            api.Over(
                action=self._id,
                targeted=summary.targeted,
                states={state: number for state, number in counts.items() if number},
                elapsed_s=round(summary.elapsed_s, 3),
                dropped=summary.dropped + self._dropped,
                cut_short="answers came faster than they could be passed on" if summary.interrupted else "",
            )
        )

    def warn(self, text: str) -> None:
        """For whoever asks."""
        self._tell(api.Notice(text=text))

    def _change(self, agent: str, change: api.StateChange) -> None:
        self._states[agent] = change.state
        self._tell(change)
