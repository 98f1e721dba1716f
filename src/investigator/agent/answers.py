"""Stage 6 on the host: what this agent says of an action, into the outbox and, once it is over, the ledger."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from investigator.errors import BadInput, DeploymentError
from investigator.protocol.answer import pack
from investigator.protocol.codec import one_line
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, Result, State
from investigator.protocol.subjects import result_subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.agent.state import AgentState
    from investigator.protocol.admission import Refusal

MAX_REMEMBERED: Final = 10_000
MAX_REASON_CHARACTERS: Final = 2000
UNSIGNED_ANSWERS_PER_MINUTE: Final = 10
_log = logging.getLogger(__name__)


class Answers:
    """Outcomes of this agent; `posted` is called when the outbox has something new."""

    def __init__(self, state: AgentState, *, name: str, posted: Callable[[], None]) -> None:
        self._state = state
        self._name = name
        self._posted = posted
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._unsigned: deque[float] = deque(maxlen=UNSIGNED_ANSWERS_PER_MINUTE)

    def outcome(
        self,
        state: State,
        *,
        code: str = "",
        reason: str = "",
        envelope: str = "",
        results: list[Result] | None = None,
        started_s: float | None = None,
    ) -> Outcome:
        """What is said, as of now."""
        now_s = time.time()
        return Outcome(
            state=state,
            name=self._name,
            code=code,
            reason=one_line(reason, at_most=MAX_REASON_CHARACTERS),
            envelope=envelope,
            results=results or [],
            started_s=started_s or now_s,
            finished_s=now_s,
        )

    def finish(self, outcome: Outcome, action: str, digest: str, sealto: str | None) -> None:
        """First the answer, then the ledger: killed in between, the agent answers twice rather than never."""
        if not self.post(outcome, action, digest, sealto):
            return
        try:
            self._state.ledger.finish(digest, outcome.state)
        except DeploymentError as error:
            _log.error("action %s answered, and not noted: %s", action, error)

    def post(self, outcome: Outcome, action: str, digest: str, sealto: str | None) -> bool:
        """Into the outbox, true if it came there; what is too large or does not fit becomes a small answer that says so."""
        identity, subject = self._state.identity, result_subject(action, self._state.identity.id)
        try:
            payloads = pack(outcome, identity, action=action, digest=digest, sealto=sealto)
            self._state.outbox.add(subject, payloads)
        except (BadInput, DeploymentError) as error:
            code = "too-large" if isinstance(error, BadInput) else "outbox"
            if outcome.code == code:
                _log.error("action %s: the answer is lost: %s", action, error)
                return False
            _log.warning("action %s: %s", action, error)
            smaller = self.outcome("failed", code=code, reason=str(error))
            smaller = msgspec.structs.replace(smaller, pieces=outcome.pieces)
            return self.post(smaller, action, digest, sealto)
        self._posted()
        return True

    def post_piece(self, piece: Piece, action: str, digest: str, sealto: str | None) -> None:
        """Findings ahead of the outcome.

        Raises:
            BadInput: they do not fit one payload.
            DeploymentError: the outbox, or the disk, is full.
        """
        identity = self._state.identity
        payloads = pack(piece, identity, action=action, digest=digest, sealto=sealto)
        self._state.outbox.add(
            result_subject(action, identity.id),
            payloads,
            also=lambda: self._state.ledger.count_piece(digest, *piece.place),  # killed next, it can still say how many
        )
        self._posted()

    def may_refuse(self, refusal: Refusal, action: str) -> bool:
        """Whether a refusal is told: whoever can publish could otherwise make every agent answer for ever."""
        if not refusal.signers:
            return self._may_answer_unsigned()
        said = (action, refusal.digest, refusal.code)  # an old action can be played back again and again
        if said in self._told:
            return False
        self._told[said] = None
        forget_oldest(self._told)
        return True

    def _may_answer_unsigned(self) -> bool:
        """Ten times a minute is enough to be seen."""
        now = time.monotonic()
        if len(self._unsigned) == UNSIGNED_ANSWERS_PER_MINUTE and now - self._unsigned[0] < 60:
            return False
        self._unsigned.append(now)
        return True


def forget_oldest(remembered: OrderedDict[Any, Any]) -> None:
    """Keep no more than is remembered."""
    while len(remembered) > MAX_REMEMBERED:
        remembered.popitem(last=False)
