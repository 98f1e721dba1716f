"""Stages 4 to 6 on the host: an envelope comes in, its gate judges it, the runner runs it, an outcome goes out.

Three kinds of thing come on the subjects of actions: an action runs; a cancel stops one that runs, or waits for one that did
not come yet; a key's revocation stops whatever nobody else signed with enough weight.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from investigator.agent.answers import MAX_REASON_CHARACTERS, Answers, forget_oldest
from investigator.agent.audit_file import NotRecorded
from investigator.agent.counts import Counts
from investigator.agent.runner import Ran
from investigator.errors import BadInput, DeploymentError, Refused
from investigator.logs import about
from investigator.modules import MODULES
from investigator.protocol import kinds
from investigator.protocol.action import is_action_id
from investigator.protocol.admission import Admitted, Host, Refusal, admit
from investigator.protocol.answer import MAX_OUTCOME_BYTES
from investigator.protocol.cancel import Cancellation, judge_cancel
from investigator.protocol.codec import one_line
from investigator.protocol.kinds import claimed_kind
from investigator.protocol.piece import Piece
from investigator.protocol.result import MAX_PIECES, PIECE_FRAME_BYTES, Outcome, Result, State, merged_state
from investigator.protocol.revocation import decode_revocation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from investigator.agent.audit import Kind
    from investigator.agent.state import AgentState
    from investigator.agent.trust import Trust
    from investigator.protocol.action import AskedLimits

_DONE: Final = "done"
"""In place of a route: what was taken once and has no more to say, whatever it comes on."""
_DESTROYER: Final = "agentdestroy"
_log = logging.getLogger(__name__)


class Runs(Protocol):
    """Whatever runs one operation: `agent.runner.Runner`, or a simulation's."""

    async def run(
        self,
        module: str,
        parameters: Any,
        *,
        deadline_s: float,
        take: Callable[[bytes], None] | None = None,
        limits: AskedLimits | None = None,
    ) -> Ran:
        """The operation's end, as a value; `deadline_s` is on `time.monotonic()`'s scale.

        `limits` are the action's: they lower the host's own, and never raise one.

        Findings may go to `take` before, each time as JSON; what that raises ends the operation, and is raised.
        """


class _NotTaken(Exception):
    """A piece of an operation's findings could not be told, so that the operation fails."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(slots=True)
class _Run:
    """An action that runs here."""

    admitted: Admitted
    started_s: float
    task: asyncio.Task[None] | None = None
    stopped_as: Outcome | None = None
    """What is answered in place of its end, once it was cancelled."""
    pieces: list[int] = field(default_factory=list)
    """How many pieces of each operation's findings are in the outbox."""
    piece_bytes: int = 0
    destroys: bool = False
    """Whether it proved this agent to be the one that it ends; the agent does that itself, once it has answered."""


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
        destroyed: Callable[[], None] = lambda: None,
        counts: Counts | None = None,
    ) -> None:
        """`row` gives the facts that targets are judged on; `posted` is called when the outbox has something new.

        `destroyed` is called when an action ended this very agent, and its answer is in the outbox.
        """
        self.trust = trust
        self.counted_refusals = 0
        self.counts = counts or Counts()
        self._state = state
        self._runner = runner
        self._row = row
        self._module_timeout_s = module_timeout_s
        self.answers = Answers(state, name=name, posted=posted)
        self._running: dict[str, _Run] = {}
        """By the action's digest."""
        self._closed = False
        self._tell_destroyed = destroyed
        self._judged: OrderedDict[bytes, str] = OrderedDict()
        """By mark, the route on which it was admitted, or nothing where it was not: 10,000 of them are 2 MB of every host."""

    @property
    def running(self) -> int:
        """How many actions run."""
        return len(self._running)

    def heard(self, subject: str, raw: bytes, *, live: bool) -> bool:
        """Judge what came on a subject; run it, or answer why not. `live` is false for what was fetched from the stream.

        What runs here comes again on other subjects (an OR in the target) and from the stream: that is routing, not a
        replay, and passes in silence. The same bytes twice on one live subject are a replay, and are answered.

        Returns false where it could not be judged and must be heard again: the disk is full.
        """
        route, _, action_id = subject.rpartition(".")
        if self._closed:  # left for the next start, which finds it in the stream
            return True
        if not is_action_id(action_id):  # nothing that is heard there can be admitted
            self.counted_refusals += 1
            self._state.audit.skip()
            return True
        mark = _mark(action_id, raw)
        admitted_on = self._judged.get(mark)
        if admitted_on is not None and (not live or admitted_on not in ("", route)):
            return True
        self.counts.heard += 1
        self._judged.setdefault(mark, "")
        forget_oldest(self._judged)
        try:
            self._judged[mark] = self._judge(subject, raw, action_id, live=live)
        except DeploymentError as error:
            _log.error("action %s not judged: %s", action_id, error)
            self._judged.pop(mark, None)
            return False
        except Exception:  # noqa: BLE001 - one message that finds a defect must not end every agent that reads it
            _log.exception("action %s not judged", action_id)
        return True

    def knows(self, subject: str, raw: bytes) -> bool:
        """Whether this was judged before, so that it passes in silence when it is fetched from the stream."""
        return _mark(subject.rpartition(".")[2], raw) in self._judged

    def _judge(self, subject: str, raw: bytes, action_id: str, *, live: bool) -> str:
        """Take it to its gate; the route on which it was admitted, or nothing where it was refused."""
        match claimed_kind(raw):
            case kinds.CANCEL:
                return self._judge_cancel(subject, raw, action_id, live=live)
            case kinds.REVOCATION:
                return self._judge_revocation(raw, action_id)
        verdict = admit(raw, self._host(), action_id=action_id, now_s=time.time())
        if verdict.signers:  # what nobody signed is told elsewhere, and only so often
            _log.info(
                "action %s received on %s",
                action_id,
                subject,
                extra=about("received", action=action_id, digest=verdict.digest, subject=subject, live=live),
            )
        if isinstance(verdict, Admitted):
            self._admitted(verdict)
            return sys.intern(subject.rpartition(".")[0])
        self._refused(verdict, action_id, raw, subject=subject, live=live)
        return ""

    def _judge_cancel(self, subject: str, raw: bytes, action_id: str, *, live: bool) -> str:
        """Stop the action if it runs; keep the cancel if it did not come yet. What is over stays as it is."""
        verdict = judge_cancel(raw, self._host(), action_id=action_id, now_s=time.time())
        if isinstance(verdict, Refusal):
            self._refused(verdict, action_id, raw, subject=subject, live=live, kind="cancel")
            return ""
        running = self._running.get(verdict.cancel.digest)
        if running is not None:
            outcome = self._cancelled(running.admitted, [verdict])
            if outcome is not None:
                self._stop(running, outcome)
        elif verdict.cancel.digest not in self._state.ledger:
            self._state.cancels.keep(verdict)
            self._note_cancel(verdict, "kept")
            if verdict.about is not None:  # it took the action's place in the stream: here is the action
                self.heard(subject, verdict.about, live=False)
        return _DONE

    def _judge_revocation(self, raw: bytes, action_id: str) -> str:
        """Keep the revocation of a key of our keyring by itself, and stop what only that key had asked for."""
        kept = self._state.revocations
        try:
            packet = decode_revocation(raw, came_under=action_id)
            self.trust.look()
            fingerprint = kept.whose(packet, self.trust.keyring)
        except (BadInput, Refused) as error:
            self.counted_refusals += 1
            self._state.audit.skip()
            _log.info("revocation %s passed over: %s", action_id, error)
            return _DONE
        if fingerprint not in kept:
            _log.warning("key %s was revoked by its owner: from now on it counts for nothing here", fingerprint)
            self._note("revocation", code="kept", digest=hashlib.sha256(packet).hexdigest(), signers=[fingerprint])
            try:
                kept.keep(fingerprint, packet)
            finally:
                self._stop_what_lost_its_weight()
        return _DONE

    def _stop_what_lost_its_weight(self) -> None:
        """Stop what runs, and has not enough weight without the keys that were revoked."""
        gone = set(self._state.revocations.fingerprints)
        for running in list(self._running.values()):
            admitted = running.admitted
            modules = [operation.module for operation in admitted.action.operations]
            if gone & set(admitted.signers) and self.trust.acl.shortages(modules, set(admitted.signers) - gone):
                reason = f"key {', '.join(sorted(gone & set(admitted.signers)))}, which signed it, was revoked"
                self._stop(running, self.answers.outcome("cancelled", code="revoked", reason=reason))

    def report_unfinished(self) -> None:
        """Answer for what was running when the agent ended: it does not run again."""
        for left in self.answers.unfinished():
            outcome = self._interrupted("ended", left.pieces)
            self._finish(outcome, left.action, left.digest, left.sealto)

    async def close(self) -> None:
        """Hear nothing more, and stop what runs; each action is answered as interrupted."""
        self._closed = True
        tasks = [running.task for running in self._running.values() if running.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            self.report_unfinished()  # a task that was cancelled before its first step could not answer
        except DeploymentError as error:
            _log.error("what was stopped is answered at the next start: %s", error)

    def _host(self) -> Host:
        self.trust.look()  # keys and weights may have changed on the disk
        return Host(
            keyring=self._state.revocations.applied(self.trust.keyring),
            acl=self.trust.acl,
            row=self._row(),
            ledger=self._state.ledger,
            came_to=self._state.ledger.came_to,
            newest_signature_s=self._state.ledger.newest_signature_s,
            not_signed_before_s=self._state.ledger.not_signed_before_s,
            recalled=self._state.ledger.recalled,
        )

    def _admitted(self, admitted: Admitted) -> None:
        action, answers = admitted.action, self.answers
        try:
            self._state.audit.admitted(admitted)
            self._state.ledger.enter(admitted)
            cancelled = self._cancelled_before(admitted)
        except DeploymentError as error:
            code = "audit" if isinstance(error, NotRecorded) else "ledger"
            _log.error(
                "action %s not run: %s",
                action.id,
                error,
                extra=about("not-run", action=action.id, digest=admitted.digest, code=code),
            )
            self._state.audit.ended(action.id, admitted.digest, "failed", code)
            outcome = answers.outcome("failed", code=code, reason=str(error))
            answers.post(outcome, action.id, admitted.digest, action.sealto)
            return
        self.counts.admit()
        _log.info(
            "action %s %r admitted, signed by %s",
            action.id,
            action.name,
            ", ".join(admitted.signers),
            extra=about("admitted", action=action.id, digest=admitted.digest, signers=admitted.signers),
        )
        running = _Run(admitted, time.time(), pieces=[0] * len(action.operations))
        if cancelled is not None:
            self._ended(running, cancelled)
            return
        self._running[admitted.digest] = running
        running.task = asyncio.get_running_loop().create_task(self._run(running))
        running.task.add_done_callback(lambda task: self._over(running, task))

    def _cancelled_before(self, admitted: Admitted) -> Outcome | None:
        """What is answered for an action that was cancelled before it came."""
        kept = self._state.cancels.of(admitted.digest)
        if not kept:
            return None
        host, now_s = self._host(), time.time()
        verdicts = [judge_cancel(raw, host, action_id=admitted.action.id, now_s=now_s) for raw in kept]
        outcome = self._cancelled(admitted, [one for one in verdicts if isinstance(one, Cancellation)])
        self._state.cancels.forget(admitted.digest)
        return outcome

    def _cancelled(self, admitted: Admitted, cancels: Sequence[Cancellation]) -> Outcome | None:
        """The action's outcome by the first of these that may stop it; the others are refused."""
        for cancel in cancels:
            authority = cancel.authority(admitted.action, admitted.signers, self.trust.acl)
            if authority:
                why = f": {cancel.cancel.reason}" if cancel.cancel.reason else ""
                reason = f"cancelled by {', '.join(cancel.signers)}{why}"
                self._note_cancel(cancel, authority)
                return self.answers.outcome("cancelled", code=authority, reason=reason)
            refusal = Refusal(
                code="permission",
                reason=f"no signer of the action, and {cancel.shortage}",
                digest=cancel.digest,
                sealto=cancel.cancel.sealto,
                signers=cancel.signers,
            )
            self._refused(refusal, cancel.cancel.id, cancel.raw, subject="", live=True, kind="cancel")
        return None

    def _note_cancel(self, cancel: Cancellation, code: str) -> None:
        signed = cancel.cancel
        self._note(
            "cancel", code=code, reason=signed.reason, action=signed.id, digest=cancel.digest, signers=cancel.signers
        )

    def _note(self, kind: Kind, **said: Any) -> None:
        """Record what stops something. A full disk does not keep it from being stopped."""
        try:
            self._state.audit.decided(kind, "admitted", **said)
        except NotRecorded as error:
            self._state.audit.skip()
            _log.error("not recorded: %s", error)

    def _stop(self, running: _Run, outcome: Outcome) -> None:
        """End a run at once: the runner kills its workers."""
        if running.stopped_as is None and running.task is not None:
            running.stopped_as = outcome
            running.task.cancel()

    def _refused(
        self, refusal: Refusal, action_id: str, raw: bytes, *, subject: str, live: bool, kind: Kind = "action"
    ) -> None:
        routine = refusal.code == "not-targeted" and not subject.startswith("mig.action.agent.")
        if routine or (refusal.code == "replayed" and not live):
            # subjects only route: an agent outside the target was not asked, and one that ran it has answered
            self.counts.passed_over += 1
            _log.debug(
                "action %s passed over: %s", action_id, refusal.reason, extra=about("passed-over", action=action_id)
            )
            return
        if not self.answers.may_refuse(refusal, action_id):
            self.counted_refusals += 1
            self.counts.refused["unanswered"] += 1
            self._state.audit.skip()
            return
        self.counts.refused[refusal.code] += 1
        self._state.audit.refused(refusal, action_id, kind=kind)
        reason = one_line(refusal.reason, at_most=MAX_REASON_CHARACTERS)
        _log.warning(
            "action %s refused: %s: %s",
            action_id,
            refusal.code,
            reason,
            extra=about("refused", action=action_id, digest=refusal.digest, code=refusal.code),
        )
        envelope = hashlib.sha256(raw).hexdigest()
        outcome = self.answers.outcome("refused", code=refusal.code, reason=reason, envelope=envelope)
        # `sealto` of bytes that no trusted key signed is never used
        self.answers.post(outcome, action_id, refusal.digest, refusal.sealto)

    async def _run(self, running: _Run) -> None:
        try:
            ran = await self._run_operations(running)
        except asyncio.CancelledError:
            outcome = running.stopped_as or self._interrupted("was stopped", running.pieces)
        else:
            outcome = self._outcome_of(ran, started_s=running.started_s)
        self._ended(running, outcome)
        if running.destroys and running.stopped_as is None:
            _log.warning("action %s ends this agent", running.admitted.action.id)
            self._closed = True  # it answers what it runs, and takes nothing more
            self._tell_destroyed()

    def _over(self, running: _Run, task: asyncio.Task[None]) -> None:
        self._running.pop(running.admitted.digest, None)
        if task.cancelled():  # before its first step: it could not answer for itself
            self._ended(running, running.stopped_as or self._interrupted("was stopped", running.pieces))

    def _interrupted(self, how: str, pieces: list[int]) -> Outcome:
        reason, sent = f"the agent {how} while the action ran", sum(pieces)
        if sent:
            reason += (
                f"; {sent} {'piece' if sent == 1 else 'pieces'} of findings had been sent, what it found after is lost"
            )
        outcome = self.answers.outcome("failed", code="interrupted", reason=reason)
        return msgspec.structs.replace(outcome, pieces=pieces) if sent else outcome

    def _ended(self, running: _Run, outcome: Outcome) -> None:
        action = running.admitted.action
        self.counts.ended[outcome.state] += 1
        _log.info(
            "action %s ended: %s%s",
            action.id,
            outcome.state,
            f" ({outcome.code})" if outcome.code else "",
            extra=about(
                "ended",
                action=action.id,
                digest=running.admitted.digest,
                state=outcome.state,
                code=outcome.code,
                took_s=round(time.time() - running.started_s, 3),
            ),
        )
        if any(running.pieces):
            outcome = msgspec.structs.replace(outcome, pieces=running.pieces)
        self._finish(outcome, action.id, running.admitted.digest, action.sealto)

    def _finish(self, outcome: Outcome, action: str, digest: str, sealto: str | None) -> None:
        self._state.audit.ended(action, digest, outcome.state, outcome.code)
        self.answers.finish(outcome, action, digest, sealto)

    async def _run_operations(self, running: _Run) -> Sequence[Ran]:
        action = running.admitted.action
        left_s = min(action.expireafter.timestamp() - time.time(), self._module_timeout_s)
        deadline_s = time.monotonic() + max(left_s, 0.0)
        runs = (self._run_counted(running, number, deadline_s) for number in range(len(action.operations)))
        return await asyncio.gather(*runs)

    async def _run_counted(self, running: _Run, number: int, deadline_s: float) -> Ran:
        """Run one operation; its start and its end are logged by its number, and counted."""
        admitted, began_s = running.admitted, time.monotonic()
        module = admitted.action.operations[number].module
        on: dict[str, Any] = {
            "action": admitted.action.id,
            "digest": admitted.digest,
            "operation": number,
            "module": module,
        }
        _log.info(
            "action %s: operation %d (%s) started", admitted.action.id, number, module, extra=about("started", **on)
        )
        code = "stopped"
        try:
            ran = await self._run_one(running, number, deadline_s)
            code = ran.code
        finally:
            took_s = time.monotonic() - began_s
            self.counts.operation(module if module in MODULES else "unknown", code, took_s)
            _log.info(
                "action %s: operation %d (%s) %s after %.3f s",
                admitted.action.id,
                number,
                module,
                code or "done",
                took_s,
                extra=about("operation-ended", **on, code=code or "done", took_s=round(took_s, 3)),
            )
        return ran

    async def _run_one(self, running: _Run, number: int, deadline_s: float) -> Ran:
        operation = running.admitted.action.operations[number]
        try:
            # compressed ones may be 64 MiB of JSON, which the loop must not wait for
            parameters = await asyncio.to_thread(operation.opened) if operation.is_compressed else operation.parameters
        except BadInput as error:
            return Ran(state="failed", code="bad-parameters", result=Result.failed(str(error)))
        try:
            ran = await self._runner.run(
                operation.module,
                parameters,
                deadline_s=deadline_s,
                take=lambda elements: self._take(running, number, elements),
                limits=operation.limits,
            )
        except _NotTaken as error:
            return Ran(state="failed", code=error.code, result=Result.failed(str(error)))
        except Exception as error:  # noqa: BLE001 - whatever a defect does, the asker hears of it
            _log.exception("operation %s", operation.module)
            return Ran(state="failed", code="internal", result=Result.failed(f"{type(error).__name__}: {error}"))
        if operation.module == _DESTROYER and ran.state == "done" and isinstance(parameters, dict):
            running.destroys = running.destroys or parameters.get("pid") == os.getpid()
        return ran

    def _take(self, running: _Run, operation: int, elements: bytes) -> None:
        """Post findings of an operation that still runs, as its next piece.

        Raises:
            _NotTaken: they are too many, or the disk does not take them.
        """
        if sum(running.pieces) >= MAX_PIECES:
            raise _NotTaken("output", f"more than {MAX_PIECES:,} pieces of findings")
        running.piece_bytes += len(elements) + PIECE_FRAME_BYTES
        if running.piece_bytes > MAX_OUTCOME_BYTES:
            raise _NotTaken("too-large", f"findings of more than {MAX_OUTCOME_BYTES:,} bytes")
        action = running.admitted.action
        piece = Piece(operation=operation, number=running.pieces[operation] + 1, elements=msgspec.Raw(elements))
        try:
            self.answers.post_piece(piece, action.id, running.admitted.digest, action.sealto)
        except DeploymentError as error:
            raise _NotTaken("outbox", str(error)) from None
        running.pieces[operation] += 1

    def _outcome_of(self, ran: Sequence[Ran], *, started_s: float) -> Outcome:
        results = [one.result for one in ran]
        state: State = merged_state(results)
        code = "module" if state == "failed" else ""
        for wanted in ("failed", "timeout"):  # a limit says more than a failure beside it
            worst = next((one for one in ran if one.state == wanted), None)
            if worst is not None:
                state, code = wanted, worst.code
        reason = "; ".join(text for one in results if not one.success for text in one.errors or ())
        return self.answers.outcome(state, code=code, reason=reason, results=results, started_s=started_s)


def _mark(action_id: str, raw: bytes) -> bytes:
    """What a message is remembered by. A copy sent ahead under another id must not make the real one look like a repetition."""
    return hashlib.sha256(action_id.encode() + b"\0" + raw).digest()
