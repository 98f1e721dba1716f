"""From the wire to the outbox: each action runs once, each asker hears once, and strangers move nothing."""

import asyncio
import base64
import time
from collections.abc import Iterator
from typing import Any

import pytest

from investigator.agent import actions as acting
from investigator.agent import answers as answering
from investigator.agent import outbox as outboxes
from investigator.agent.answers import UNSIGNED_ANSWERS_PER_MINUTE
from investigator.agent.runner import Ran
from investigator.agent.state import AgentState
from investigator.agent.trust import Trust
from investigator.errors import BadInput, DeploymentError
from investigator.protocol import answer
from investigator.protocol.result import Result
from investigator.protocol.sealing import NotSealedToUs
from scene import ALL, FOUND, LINUX, PRIVATE, SEALTO, Scene, action, operations, signed
from signed import (
    ACTION_ID,
    ALICE,
    BOB,
    CAROL,
    MALLORY,
    OTHER_ID,
    FakeKeyring,
    digest_of,
    sealed_in,
    weights,
)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with AgentState(None) as state:
        yield Scene(state)


async def test_an_admitted_action_runs_and_is_answered_with_what_was_found(scene: Scene) -> None:
    text = action(operations=[{"module": "netstat", "parameters": {"port": 22}}])
    await scene.hear(signed(text))
    ((head, outcome),) = scene.answers()
    assert scene.runner.ran == [("netstat", {"port": 22})]
    assert (outcome.state, outcome.code, outcome.name, outcome.results) == ("found", "", "web-1", [FOUND.result])
    assert (head.digest, head.sealto, head.action) == (digest_of(text), None, ACTION_ID)
    assert scene.state.ledger.came_to(ACTION_ID, found=True)
    assert scene.posted == 1


async def test_the_same_bytes_on_several_routes_and_from_the_stream_run_once_in_silence(scene: Scene) -> None:
    raw = signed()
    for subject, live in ((ALL, True), (LINUX, True), (ALL, False), (LINUX, False), (LINUX, True)):
        await scene.hear(raw, subject, live=live)
    assert len(scene.runner.ran) == 1
    assert scene.said() == [("found", "")]


async def test_what_a_lost_ledger_keeps_from_running_is_answered_also_when_it_comes_from_the_stream(
    scene: Scene,
) -> None:
    """It is this agent's last word: passed over in silence, the console would wait for it until the expiry."""
    far_ahead_s = 1 << 40
    scene.state.ledger._database.execute(
        "UPDATE about SET value = ? WHERE name = 'not_signed_before_s'", (far_ahead_s,)
    )
    await scene.hear(signed(), live=False)
    assert scene.said() == [("refused", "ledger-lost")]
    assert scene.runner.ran == []


async def test_the_same_bytes_twice_on_one_subject_are_answered_as_replayed_once(scene: Scene) -> None:
    raw = signed()
    for _ in range(5):
        await scene.hear(raw)
    assert len(scene.runner.ran) == 1
    assert scene.said() == [("found", ""), ("refused", "replayed")]
    assert scene.actions.counted_refusals == 3


async def test_after_a_restart_the_stream_brings_it_again_and_nothing_is_said(scene: Scene) -> None:
    raw = signed()
    await scene.hear(raw)
    scene.actions = scene.restarted()
    await scene.hear(raw, live=False)
    assert len(scene.runner.ran) == 1
    assert scene.said() == [("found", "")]


async def test_the_same_action_in_another_envelope_is_a_replay_too(scene: Scene) -> None:
    text = action()
    await scene.hear(signed(text))
    await scene.hear(signed(text, ALICE, BOB))
    assert len(scene.runner.ran) == 1
    assert scene.said() == [("found", ""), ("refused", "replayed")]


async def test_a_copy_without_signatures_is_refused_and_the_real_one_still_runs(scene: Scene) -> None:
    text = action()
    await scene.hear(sealed_in(text))
    await scene.hear(signed(text))
    assert scene.said() == [("refused", "signature"), ("found", "")]


async def test_a_copy_sent_ahead_under_another_id_does_not_silence_the_real_one(scene: Scene) -> None:
    for live, name in ((True, "heard live"), (False, "fetched from the stream")):
        raw = signed(action(name=name))
        await scene.hear(raw, f"mig.action.all.{OTHER_ID}")
        await scene.hear(raw, live=live)
    assert scene.said(OTHER_ID) == [("refused", "subject")] * 2
    assert scene.said() == [("found", "")] * 2


async def test_an_agent_outside_the_target_says_nothing_unless_it_was_meant_by_its_id(scene: Scene) -> None:
    raw = signed(action(condition=["=", ["column", "os"], ["text", "darwin"]]))
    await scene.hear(raw, LINUX)
    assert scene.said() == []
    raw = signed(action(condition=["=", ["column", "os"], ["text", "darwin"]], name="again"))
    await scene.hear(raw, f"mig.action.agent.{scene.state.identity.id}.{ACTION_ID}")
    assert scene.said() == [("refused", "not-targeted")]
    assert scene.runner.ran == []


async def test_strangers_are_answered_ten_times_a_minute_and_counted_beyond_that(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_s = 1000.0
    monkeypatch.setattr("investigator.agent.actions.time.monotonic", lambda: clock_s)
    for number in range(30):
        await scene.hear(signed(action(name=f"n{number}"), MALLORY))
    assert scene.said() == [("refused", "signature")] * UNSIGNED_ANSWERS_PER_MINUTE
    assert scene.actions.counted_refusals == 20
    await scene.hear(signed(action(name="meanwhile")))
    clock_s += 60
    await scene.hear(signed(action(name="later"), MALLORY))
    assert scene.said()[-2:] == [("found", ""), ("refused", "signature")]
    assert scene.actions.counted_refusals == 20


async def test_what_trusted_keys_signed_is_answered_without_limit_but_each_refusal_once(scene: Scene) -> None:
    envelopes = [signed(action(name=f"n{number}"), CAROL) for number in range(30)]
    for raw in envelopes * 3:
        await scene.hear(raw)
    assert scene.said() == [("refused", "permission")] * 30
    assert scene.actions.counted_refusals == 60


async def test_a_recipient_that_no_trusted_key_signed_is_never_used(scene: Scene) -> None:
    text = action(sealto=SEALTO)
    await scene.hear(signed(text, MALLORY))
    await scene.hear(sealed_in(text))
    assert [head.sealto for head, _ in scene.answers()] == [None, None]
    await scene.hear(signed(text))
    with pytest.raises(NotSealedToUs):
        scene.answers()


async def test_an_answer_is_sealed_to_whom_the_signed_action_names(scene: Scene) -> None:
    await scene.hear(signed(action(sealto=SEALTO)))
    await scene.hear(signed(action(sealto=SEALTO, name="other"), CAROL))
    told = scene.answers(key=PRIVATE)
    assert [(head.sealto, outcome.state) for head, outcome in told] == [(SEALTO, "found"), (SEALTO, "refused")]
    assert not any(b"web-1" in letter.payload for letter in scene.state.outbox.pending())


async def test_a_recipient_that_nobody_can_seal_to_is_refused_and_stops_nothing(scene: Scene) -> None:
    await scene.hear(signed(action(sealto=base64.b64encode(bytes(32)).decode())))
    assert scene.said() == [("refused", "malformed")]


async def test_a_subject_that_is_no_action_is_only_counted(scene: Scene) -> None:
    for subject in (
        "mig.action.all.x",
        "mig.action.all.",
        "mig.action.all.\x1b[2J",
        f"mig.action.all.{ACTION_ID.upper()}",
    ):
        await scene.hear(signed(), subject)
    assert scene.actions.counted_refusals == 4
    assert scene.state.outbox.pending() == []


async def test_a_reason_is_one_short_line_whatever_a_stranger_sent(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    for raw in (b'{"' + b"k" * 500_000 + b'":1}', b'{"a\\nERROR root":1}', b'{"\\u001b[2J":1,"\\u001b[2J":2}'):
        await scene.hear(raw)
    reasons = [outcome.reason for _, outcome in scene.answers()]
    assert len(reasons) == 3
    assert all(reason.isprintable() and len(reason) < 2100 for reason in reasons)
    assert all(record.getMessage().isprintable() for record in caplog.records)


async def test_a_flood_leaves_no_more_in_memory_than_is_remembered(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "MAX_REMEMBERED", 5)
    for number in range(20):
        await scene.hear(signed(action(name=f"n{number}"), CAROL))
    assert len(scene.actions._judged) == 5
    assert len(scene.actions.answers._told) == 5


@pytest.mark.parametrize(
    ("ends", "state", "code"),
    [
        ({"a": FOUND, "b": Ran(state="done", code="", result=Result(success=True))}, "found", ""),
        ({"a": Ran(state="done", code="", result=Result(success=True))}, "notfound", ""),
        ({"a": FOUND, "b": Ran(state="failed", code="crashed", result=Result.failed("gone"))}, "failed", "crashed"),
        ({"a": FOUND, "b": Ran(state="done", code="", result=Result.failed("no such file"))}, "failed", "module"),
        (
            {
                "a": Ran(state="failed", code="memory", result=Result.failed("gone")),
                "b": Ran(state="timeout", code="deadline", result=Result.failed("slow")),
            },
            "timeout",
            "deadline",
        ),
        ({"a": FOUND, "b": RuntimeError("a defect")}, "failed", "internal"),
        ({"a": MemoryError()}, "failed", "internal"),
    ],
)
async def test_operations_come_to_one_state_with_each_ones_result(
    scene: Scene, ends: dict[str, Any], state: str, code: str
) -> None:
    scene.runner.ends = ends
    await scene.hear(signed(action(operations=operations(*ends))))
    ((_, outcome),) = scene.answers()
    assert (outcome.state, outcome.code) == (state, code)
    assert len(outcome.results) == len(ends)
    assert bool(outcome.reason) == (state in ("failed", "timeout"))


async def test_compressed_parameters_are_opened_after_the_gate_and_bad_ones_are_an_answer(scene: Scene) -> None:
    bad = [{"module": "netstat", "parameters": "no gzip", "is_compressed": True}]
    await scene.hear(signed(action(operations=bad)))
    await asyncio.gather(
        *(run.task for run in scene.actions._running.values() if run.task)
    )  # they are opened in a thread
    assert scene.said() == [("failed", "bad-parameters")]
    assert scene.runner.ran == []


async def test_an_operation_ends_with_the_action_or_the_modules_limit_whichever_is_first(scene: Scene) -> None:
    now_s = time.time()
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s + 10))
    before_s = time.monotonic()
    await scene.hear(signed(action(now_s=now_s, expireafter=soon)))
    await scene.hear(signed(action(name="long-lived")))
    short_s, long_s = (deadline_s - before_s for deadline_s in scene.runner.deadlines_s)
    assert short_s <= 10
    assert 10 < long_s <= 30 + time.monotonic() - before_s


async def test_what_runs_when_the_agent_is_stopped_is_answered_as_interrupted(scene: Scene) -> None:
    await scene.hear(signed(action(operations=operations("endless"))))
    await scene.actions.close()
    assert scene.said() == [("failed", "interrupted")]
    assert scene.state.ledger.unfinished() == []


async def test_what_was_admitted_in_the_same_breath_as_the_stop_is_answered_too(scene: Scene) -> None:
    scene.actions.heard(ALL, signed(), live=True)
    await scene.actions.close()
    assert scene.said() == [("failed", "interrupted")]
    assert scene.runner.ran == []


async def test_what_comes_after_the_stop_is_left_for_the_next_start(scene: Scene) -> None:
    raw = signed()
    await scene.actions.close()
    await scene.hear(raw)
    assert scene.said() == []
    scene.actions = scene.restarted()
    await scene.hear(raw, live=False)
    assert scene.said() == [("found", "")]


async def test_what_ran_when_the_agent_was_killed_is_answered_at_the_next_start_and_not_run_again(scene: Scene) -> None:
    text = action(operations=operations("endless"), sealto=SEALTO)
    await scene.hear(signed(text))
    restarted = scene.restarted()
    restarted.report_unfinished()
    restarted.report_unfinished()
    ((head, outcome),) = scene.answers(key=PRIVATE)
    assert (outcome.state, outcome.code, head.digest, head.sealto) == ("failed", "interrupted", digest_of(text), SEALTO)
    restarted.heard(ALL, signed(text), live=False)
    await scene.settle()
    assert len(scene.runner.ran) == 1
    await scene.actions.close()


async def test_a_result_that_is_too_large_is_answered_as_such(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MAX_OUTCOME_BYTES", 1000)
    scene.runner.ends = {"netstat": Ran(state="done", code="", result=Result(success=True, elements="x" * 2000))}
    await scene.hear(signed())
    assert scene.said() == [("failed", "too-large")]
    assert scene.state.ledger.unfinished() == []


async def test_a_result_that_does_not_fit_in_the_outbox_is_answered_as_such(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "MAX_OUTBOX_BYTES", 0)  # full: only the room for small answers is left
    monkeypatch.setattr(outboxes, "SMALL_BYTES", 1500)
    scene.runner.ends = {"netstat": Ran(state="done", code="", result=Result(success=True, elements="x" * 2000))}
    await scene.hear(signed())
    assert scene.said() == [("failed", "outbox")]


async def test_an_answer_that_could_not_be_kept_at_all_is_made_up_for_at_the_next_start(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "MAX_OUTBOX_BYTES", 10)
    monkeypatch.setattr(outboxes, "RESERVED_BYTES", 0)
    await scene.hear(signed())
    assert scene.said() == []
    monkeypatch.undo()
    scene.restarted().report_unfinished()
    assert scene.said() == [("failed", "interrupted")]


async def test_without_a_ledger_entry_nothing_runs(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_admitted: object) -> None:
        raise DeploymentError("the ledger: disk full")

    monkeypatch.setattr(scene.state.ledger, "enter", full)
    await scene.hear(signed())
    assert scene.runner.ran == []
    assert scene.said() == [("failed", "ledger")]


@pytest.mark.parametrize("error", [DeploymentError("the ledger: disk I/O error"), BadInput("x"), ZeroDivisionError()])
async def test_a_message_that_finds_a_defect_ends_no_agent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(acting, "admit", broken)
        await scene.hear(signed(action(name="poison")))
    await scene.hear(signed())
    assert scene.said() == [("found", "")]


async def test_what_could_not_be_judged_for_want_of_a_disk_runs_when_it_comes_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object, **__: object) -> None:
        raise DeploymentError("the ledger: disk I/O error")

    raw = signed()
    with monkeypatch.context() as patched:
        patched.setattr(acting, "admit", unreadable)
        await scene.hear(raw)
    await scene.hear(raw, live=False)
    assert scene.said() == [("found", "")]


async def test_new_trust_counts_from_the_next_message_on(scene: Scene) -> None:
    text = action()
    await scene.hear(signed(text, CAROL))
    scene.actions.trust = Trust(FakeKeyring(), weights(carol=1), ())
    await scene.hear(signed(text, CAROL))
    assert scene.said() == [("refused", "permission"), ("found", "")]
