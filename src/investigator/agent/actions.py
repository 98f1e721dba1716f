"""Stages 4 to 6 on the host: an envelope comes in, the gate judges it, the runner runs it, an outcome goes out."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from investigator.agent.runner import Ran
from investigator.errors import BadInput, DeploymentError
from investigator.protocol.action import Action, Operation, is_action_id
from investigator.protocol.admission import Admitted, Host, Refusal, admit
from investigator.protocol.answer import pack
from investigator.protocol.codec import one_line
from investigator.protocol.result import Outcome, Result, State, merged_state
from investigator.protocol.subjects import result_subject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from investigator.agent.state import AgentState
    from investigator.agent.trust import Trust

MAX_REMEMBERED: Final = 10_000
MAX_REASON_CHARACTERS: Final = 2000
UNSIGNED_ANSWERS_PER_MINUTE: Final = 10
_log = logging.getLogger(__name__)


class Runs(Protocol):
    """Whatever runs one operation: `agent.runner.Runner`, or a simulation's."""

    async def run(self, module: str, parameters: Any, *, deadline_s: float) -> Ran:
        """The operation's end, as a value; `deadline_s` is on `time.monotonic()`'s scale."""


class Actions:
    """Every action that reaches this agent, from the wire to the outbox."""

    def __init__(
        self,
        state: AgentState,
        trust: Trust,
        runner: Runs,
        *,
        name: str,
        row: Callable[[], Mapping[str, Any]],
        module_timeout_s: float,
        posted: Callable[[], None],
    ) -> None:
        """`row` gives the facts that targets are judged on; `posted` is called when the outbox has something new."""
        self.trust = trust
        self.counted_refusals = 0
        self._state = state
        self._runner = runner
        self._name = name
        self._row = row
        self._module_timeout_s = module_timeout_s
        self._posted = posted
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        self._judged: OrderedDict[bytes, str] = OrderedDict()
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._answered_unsigned: deque[float] = deque(maxlen=UNSIGNED_ANSWERS_PER_MINUTE)

    def heard(self, subject: str, raw: bytes, *, live: bool) -> None:
        """Judge what came on a subject; run it, or answer why not. `live` is false for what was fetched from the stream.

        What runs here comes again on other subjects (an OR in the target) and from the stream: that is routing, not a
        replay, and passes in silence. The same bytes twice on one live subject are a replay, and are answered.
        """
        action_id = subject.rpartition(".")[2]
        if self._closed:  # left for the next start, which finds it in the stream
            return
        if not is_action_id(action_id):  # nothing that is heard there can be admitted
            self.counted_refusals += 1
            return
        # the id belongs to the mark: a copy sent ahead under another id must not make the real one look like a repetition
        mark = hashlib.sha256(raw).digest() + action_id.encode()
        admitted_on = self._judged.get(mark)
        if admitted_on is not None and (not live or admitted_on not in ("", subject)):
            return
        self._judged.setdefault(mark, "")
        _forget_oldest(self._judged)
        try:
            verdict = admit(raw, self._host(), action_id=action_id, now_s=time.time())
        except DeploymentError as error:
            _log.error("action %s not judged: %s", action_id, error)
            del self._judged[mark]  # it comes again from the stream, and the disk may have room by then
            return
        except Exception:  # noqa: BLE001 - one message that finds a defect must not end every agent that reads it
            _log.exception("action %s not judged", action_id)
            return
        if isinstance(verdict, Admitted):
            self._judged[mark] = subject
            self._admitted(verdict)
        else:
            self._refused(verdict, action_id, raw, subject=subject, live=live)

    def report_unfinished(self) -> None:
        """Answer for what was running when the agent ended: it does not run again."""
        for left in self._state.ledger.unfinished():
            outcome = self._outcome("failed", code="interrupted", reason="the agent ended while the action ran")
            self._finish(outcome, left.action, left.digest, left.sealto)

    async def close(self) -> None:
        """Hear nothing more, and stop what runs; each action is answered as interrupted."""
        self._closed = True
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        try:
            self.report_unfinished()  # a task that was cancelled before its first step could not answer
        except DeploymentError as error:
            _log.error("what was stopped is answered at the next start: %s", error)

    def _host(self) -> Host:
        return Host(
            keyring=self.trust.keyring,
            acl=self.trust.acl,
            row=self._row(),
            ledger=self._state.ledger,
            came_to=self._state.ledger.came_to,
            newest_signature_s=self._state.ledger.newest_signature_s,
            not_signed_before_s=self._state.ledger.not_signed_before_s,
        )

    def _admitted(self, admitted: Admitted) -> None:
        action = admitted.action
        try:
            self._state.ledger.enter(admitted)
        except DeploymentError as error:
            _log.error("action %s not run: %s", action.id, error)
            self._post(
                self._outcome("failed", code="ledger", reason=str(error)), action.id, admitted.digest, action.sealto
            )
            return
        _log.info("action %s %r admitted, signed by %s", action.id, action.name, ", ".join(admitted.signers))
        task = asyncio.get_running_loop().create_task(self._run(admitted))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _refused(self, refusal: Refusal, action_id: str, raw: bytes, *, subject: str, live: bool) -> None:
        routine = refusal.code == "not-targeted" and not subject.startswith("mig.action.agent.")
        if routine or (refusal.code == "replayed" and not live):
            # subjects only route: an agent outside the target was not asked, and one that ran it has answered
            _log.debug("action %s passed over: %s", action_id, refusal.reason)
            return
        if not (self._may_answer_again(refusal, action_id) if refusal.signers else self._may_answer_unsigned()):
            self.counted_refusals += 1
            return
        reason = one_line(refusal.reason, at_most=MAX_REASON_CHARACTERS)
        _log.warning("action %s refused: %s: %s", action_id, refusal.code, reason)
        envelope = hashlib.sha256(raw).hexdigest()
        outcome = self._outcome("refused", code=refusal.code, reason=reason, envelope=envelope)
        # `sealto` of bytes that no trusted key signed is never used
        sealto = refusal.action.sealto if refusal.action is not None else None
        self._post(outcome, action_id, refusal.digest, sealto)

    def _may_answer_again(self, refusal: Refusal, action_id: str) -> bool:
        """Whoever can publish could play back an old action for ever: each refusal of it is said once."""
        said = (action_id, refusal.digest, refusal.code)
        if said in self._told:
            return False
        self._told[said] = None
        _forget_oldest(self._told)
        return True

    def _may_answer_unsigned(self) -> bool:
        """Whoever can publish could make every agent answer for ever: ten times a minute is enough to be seen."""
        now = time.monotonic()
        if len(self._answered_unsigned) == UNSIGNED_ANSWERS_PER_MINUTE and now - self._answered_unsigned[0] < 60:
            return False
        self._answered_unsigned.append(now)
        return True

    async def _run(self, admitted: Admitted) -> None:
        action, started_s = admitted.action, time.time()
        try:
            ran = await self._run_operations(action)
        except asyncio.CancelledError:
            outcome = self._outcome("failed", code="interrupted", reason="the agent was stopped while the action ran")
        else:
            outcome = self._outcome_of(ran, started_s=started_s)
        _log.info("action %s ended: %s%s", action.id, outcome.state, f" ({outcome.code})" if outcome.code else "")
        self._finish(outcome, action.id, admitted.digest, action.sealto)

    def _finish(self, outcome: Outcome, action: str, digest: str, sealto: str | None) -> None:
        """First the answer, then the ledger: killed in between, the agent answers twice rather than never."""
        if not self._post(outcome, action, digest, sealto):
            return
        try:
            self._state.ledger.finish(digest, outcome.state)
        except DeploymentError as error:
            _log.error("action %s answered, and not noted: %s", action, error)

    async def _run_operations(self, action: Action) -> Sequence[Ran]:
        left_s = min(action.expireafter.timestamp() - time.time(), self._module_timeout_s)
        deadline_s = time.monotonic() + max(left_s, 0.0)
        return await asyncio.gather(*(self._run_one(operation, deadline_s) for operation in action.operations))

    async def _run_one(self, operation: Operation, deadline_s: float) -> Ran:
        try:
            # compressed ones may be 64 MiB of JSON, which the loop must not wait for
            parameters = await asyncio.to_thread(operation.opened) if operation.is_compressed else operation.parameters
        except BadInput as error:
            return Ran(state="failed", code="bad-parameters", result=Result.failed(str(error)))
        try:
            return await self._runner.run(operation.module, parameters, deadline_s=deadline_s)
        except Exception as error:  # noqa: BLE001 - whatever a defect does, the asker hears of it
            _log.exception("operation %s", operation.module)
            return Ran(state="failed", code="internal", result=Result.failed(f"{type(error).__name__}: {error}"))

    def _outcome_of(self, ran: Sequence[Ran], *, started_s: float) -> Outcome:
        results = [one.result for one in ran]
        state: State = merged_state(results)
        code = "module" if state == "failed" else ""
        for wanted in ("failed", "timeout"):  # a limit says more than a failure beside it
            worst = next((one for one in ran if one.state == wanted), None)
            if worst is not None:
                state, code = wanted, worst.code
        reason = "; ".join(text for one in results if not one.success for text in one.errors or ())
        return self._outcome(state, code=code, reason=reason, results=results, started_s=started_s)

    def _outcome(
        self,
        state: State,
        *,
        code: str = "",
        reason: str = "",
        envelope: str = "",
        results: list[Result] | None = None,
        started_s: float | None = None,
    ) -> Outcome:
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

    def _post(self, outcome: Outcome, action: str, digest: str, sealto: str | None) -> bool:
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
            return self._post(self._outcome("failed", code=code, reason=str(error)), action, digest, sealto)
        self._posted()
        return True


def _forget_oldest(remembered: OrderedDict[Any, Any]) -> None:
    while len(remembered) > MAX_REMEMBERED:
        remembered.popitem(last=False)
