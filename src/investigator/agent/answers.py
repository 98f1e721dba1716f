"""Stage 6 on the host: what this agent says of an action, into the outbox and, once it is over, the ledger."""

from __future__ import annotations

import contextlib
import logging
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final

import msgspec

from investigator.agent.database import NotStored
from investigator.agent.outbox import SMALL_BYTES
from investigator.errors import BadInput, DeploymentError
from investigator.logs import about
from investigator.protocol.answer import pack
from investigator.protocol.codec import one_line
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, Result, State
from investigator.protocol.subjects import result_subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.agent.ledger import Entered
    from investigator.agent.outbox import Letter
    from investigator.agent.state import AgentState
    from investigator.broker.problems import MessageTooLargeError
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
        self._unnoted: dict[str, State] = {}
        self._too_large: OrderedDict[str, None] = OrderedDict()
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
        """Post an outcome, and note in the ledger that the run is over: both or, killed in between, neither."""
        self.post(outcome, action, digest, sealto, ends=outcome.state)

    def post(
        self, outcome: Outcome, action: str, digest: str, sealto: str | None, *, ends: State | None = None
    ) -> None:
        """Into the outbox; what is too large or does not fit becomes a small answer that says so.

        With `ends` the ledger notes it as the run's end in the same transaction. What the disk does not take waits in
        memory, and the ledger knows of no end: if this process ends first, the next one answers for the run.
        """
        identity, subject = self._state.identity, result_subject(action, self._state.identity.id)
        try:
            try:
                with self._state.transaction():
                    self._state.outbox.add(
                        subject, pack(outcome, identity, action=action, digest=digest, sealto=sealto)
                    )
                    if ends is not None:
                        self._state.ledger.finish(digest, ends)
            except NotStored as error:
                _log.error("action %s: the answer is in memory only: %s", action, error)
                self._state.outbox.hold(subject, pack(outcome, identity, action=action, digest=digest, sealto=sealto))
                if ends is not None:
                    self._unnoted[digest] = ends
        except (BadInput, DeploymentError) as error:
            self._post_smaller(outcome, error, action=action, digest=digest, sealto=sealto, ends=ends)
        else:
            _log.info(
                "action %s: the answer is in the outbox",
                action,
                extra=about("answered", action=action, digest=digest, state=outcome.state),
            )
            self._posted()

    def _post_smaller(
        self,
        outcome: Outcome,
        error: BadInput | DeploymentError,
        *,
        action: str,
        digest: str,
        sealto: str | None,
        ends: State | None,
    ) -> None:
        code = "too-large" if isinstance(error, BadInput) else "outbox"
        if outcome.code == code:
            _log.error("action %s: the answer is lost: %s", action, error)
            return
        _log.warning("action %s: %s", action, error)
        smaller = self.outcome("failed", code=code, reason=str(error))
        smaller = msgspec.structs.replace(smaller, pieces=outcome.pieces)
        self.post(smaller, action, digest, sealto, ends=ends)

    def unfinished(self) -> list[Entered]:
        """Runs that ended without an answer, by the ledger; not those whose answer is in memory.

        Raises:
            NotStored: the ledger cannot be read.
        """
        return [left for left in self._state.ledger.unfinished() if left.digest not in self._unnoted]

    def note_ends(self) -> None:
        """Once no answer is in memory only: note in the ledger which runs are over, if the disk takes that by now."""
        if self._state.outbox.held:
            return
        with contextlib.suppress(NotStored):
            for digest, state in list(self._unnoted.items()):
                self._state.ledger.finish(digest, state)
                del self._unnoted[digest]

    def undeliverable(self, letter: Letter, error: MessageTooLargeError) -> None:
        """The broker will never take this letter: answer for its action that it is so, and let go of it.

        Raises:
            NotStored: that could not be written; the letter stays.
        """
        action = letter.subject.rpartition(".")[0].rpartition(".")[2]
        _log.error("action %s: %s", action, error)
        entered = self._state.ledger.entered(action)
        if entered is None or len(letter.payload) <= SMALL_BYTES:  # then the answer that says so would not go either
            _log.error("action %s: the answer is lost", action)
        elif letter.subject not in self._too_large:
            self._too_large[letter.subject] = None
            forget_oldest(self._too_large)
            outcome = self.outcome("failed", code="too-large", reason=str(error))
            self.post(outcome, action, entered.digest, entered.sealto)
        self._state.outbox.remove(letter)

    def post_piece(self, piece: Piece, action: str, digest: str, sealto: str | None) -> None:
        """Findings ahead of the outcome.

        Raises:
            BadInput: they do not fit one payload.
            DeploymentError: the outbox, or the disk and then memory, is full.
        """
        identity = self._state.identity
        subject = result_subject(action, identity.id)
        (payload,) = pack(piece, identity, action=action, digest=digest, sealto=sealto)
        try:
            with self._state.transaction():
                self._state.outbox.add(subject, [payload])
                self._state.ledger.count_piece(digest, *piece.place)  # killed next, the agent can still say how many
        except NotStored:
            self._state.outbox.hold(subject, [payload])
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
