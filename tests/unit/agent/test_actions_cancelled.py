"""Cancels and revocations on the host: what runs is stopped, what did not come yet does not start, and nothing else changes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from investigator.agent.audit_file import NotRecorded
from investigator.agent.state import AgentState
from investigator.agent.trust import Trust
from investigator.errors import DeploymentError
from investigator.protocol.result import Outcome
from investigator.protocol.revocation import encode_revocation, revocation_subject
from scene import ALL, LINUX, PRIVATE, SEALTO, Scene, action, operations, signed
from signed import (
    ACTION_ID,
    ALICE,
    BOB,
    CAROL,
    MALLORY,
    OTHER_ID,
    FakeKeyring,
    cancelling,
    digest_of,
    entry,
    revoking,
    rules,
    sealed_in,
)

NOT_HERE = ["=", ["column", "os"], ["text", "darwin"]]


@pytest.fixture
def scene() -> Iterator[Scene]:
    with AgentState(None) as state:
        yield Scene(state)


def endless(**changes: Any) -> bytes:
    """An action that runs until it is stopped."""
    return action(operations=operations("endless"), **changes)


def cancel(text: bytes, *signers: str, carries: bytes | None = None, **changes: Any) -> bytes:
    return cancelling(text, *(signers or (ALICE,)), now_s=time.time(), about=carries, **changes)


def lines(scene: Scene) -> list[tuple[str, ...]]:
    """What the audit says of cancels and revocations."""
    read = [orjson.loads(line) for line in scene.state.audit.lines]
    wanted = [line for line in read if line.get("type") in ("cancel", "revocation")]
    return [(line["type"], line["verdict"], line.get("code", "")) for line in wanted]


async def test_what_runs_is_stopped_at_once_and_the_answer_says_by_whom(scene: Scene) -> None:
    text = endless()
    await scene.hear(signed(text))
    assert scene.said() == []
    await scene.hear(cancel(text, reason="wrong hosts"))
    ((head, outcome),) = scene.answers()
    assert (outcome.state, outcome.code) == ("cancelled", "by-signer")
    assert outcome.reason == f"cancelled by {ALICE}: wrong hosts"
    assert head.digest == digest_of(text)
    assert scene.actions._running == {}
    assert scene.state.ledger.unfinished() == []
    assert lines(scene) == [("cancel", "admitted", "by-signer")]


async def test_what_has_not_taken_its_first_step_is_stopped_too(scene: Scene) -> None:
    text = endless()
    scene.actions.heard(ALL, signed(text), live=True)
    scene.actions.heard(ALL, cancel(text), live=True)
    await scene.settle()
    assert scene.said() == [("cancelled", "by-signer")]
    assert scene.runner.ran == []


async def test_what_is_over_stays_as_it_is(scene: Scene) -> None:
    text = action()
    await scene.hear(signed(text))
    await scene.hear(cancel(text, carries=signed(text)))
    assert scene.said() == [("found", "")]
    assert scene.state.cancels.of(digest_of(text)) == []


async def test_the_same_cancel_again_says_and_stops_nothing_more(scene: Scene) -> None:
    text = endless()
    raw = cancel(text)
    await scene.hear(signed(text))
    for subject, live in ((ALL, True), (ALL, True), (LINUX, True), (ALL, False)):
        await scene.hear(raw, subject, live=live)
    await scene.hear(cancel(text, ALICE, BOB))
    assert scene.said() == [("cancelled", "by-signer")]


async def test_only_the_action_that_it_names_is_stopped(scene: Scene) -> None:
    text, other = endless(), endless(name="other", id=OTHER_ID)
    await scene.hear(signed(text))
    await scene.hear(signed(other), f"mig.action.all.{OTHER_ID}")
    await scene.hear(cancel(text))
    assert scene.said() == [("cancelled", "by-signer")]
    assert scene.said(OTHER_ID) == []
    await scene.hear(cancel(text, id=OTHER_ID), f"mig.action.all.{OTHER_ID}")  # its id, and another's digest
    assert scene.said(OTHER_ID) == []
    await scene.actions.close()


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_cancel_that_comes_first_waits_for_its_action(scene: Scene, restarted: bool) -> None:
    text = action()
    await scene.hear(cancel(text))
    assert scene.said() == []
    if restarted:
        scene.actions = scene.restarted()
    await scene.hear(signed(text))
    assert scene.said() == [("cancelled", "by-signer")]
    assert scene.runner.ran == []
    assert digest_of(text) in scene.state.ledger
    assert scene.state.cancels.of(digest_of(text)) == []
    await scene.hear(signed(text, ALICE, BOB))
    assert scene.runner.ran == []


async def test_a_late_agent_that_sees_only_the_cancel_answers_cancelled(scene: Scene) -> None:
    text = action(sealto=SEALTO)
    await scene.hear(cancel(text, carries=signed(text)), live=False)
    ((head, outcome),) = scene.answers(key=PRIVATE)
    assert (outcome.state, outcome.code, head.sealto) == ("cancelled", "by-signer", SEALTO)
    assert scene.runner.ran == []
    await scene.hear(signed(text))
    assert [state for _, outcome in scene.answers(key=PRIVATE) for state in [outcome.state]] == ["cancelled", "refused"]


async def test_a_late_agent_outside_the_target_stays_silent(scene: Scene) -> None:
    text = action(condition=NOT_HERE)
    await scene.hear(cancel(text, carries=signed(text)), live=False)
    assert scene.said() == []


async def test_a_late_agent_whose_acl_would_not_have_run_it_says_that(scene: Scene) -> None:
    text = action()
    await scene.hear(cancel(text, ALICE, carries=signed(text, CAROL)), live=False)
    assert scene.said() == [("refused", "permission")]


async def test_a_cancel_without_the_right_stops_nothing_that_runs_and_is_refused(scene: Scene) -> None:
    text = endless()
    await scene.hear(signed(text))
    await scene.hear(cancel(text, CAROL, sealto=SEALTO))
    ((head, outcome),) = scene.answers(key=PRIVATE)
    assert (outcome.state, outcome.code, head.sealto) == ("refused", "permission", SEALTO)
    assert head.digest != digest_of(text)  # so that it never passes for the action's refusal
    assert "permission denied for operation cancel" in outcome.reason
    assert len(scene.actions._running) == 1
    assert lines(scene) == [("cancel", "refused", "permission")]
    await scene.actions.close()


async def test_a_cancel_without_the_right_that_takes_the_actions_place_keeps_nobody_from_running_it(
    scene: Scene,
) -> None:
    text = action()
    await scene.hear(cancel(text, CAROL, carries=signed(text)), live=False)
    assert ("found", "") in scene.said()
    assert ("refused", "permission") in scene.said()


async def test_the_right_is_judged_when_the_action_comes_by_the_keys_and_weights_of_then(scene: Scene) -> None:
    text = action()
    await scene.hear(cancel(text, BOB))
    scene.actions.trust = Trust(FakeKeyring(), rules(default=entry(1, alice=1), cancel=entry(1, carol=1)))
    await scene.hear(signed(text))
    assert ("found", "") in scene.said()
    other = action(name="other")
    await scene.hear(cancel(other, CAROL))
    scene.actions.trust = Trust(FakeKeyring((ALICE, BOB)), scene.actions.trust.acl)
    await scene.hear(signed(other))
    assert scene.said().count(("found", "")) == 2


async def test_another_investigator_with_the_weight_for_cancel_stops_it(scene: Scene) -> None:
    scene.actions.trust = Trust(FakeKeyring(), rules(default=entry(1, alice=1), cancel=entry(1, bob=1)))
    text = endless()
    await scene.hear(signed(text))
    await scene.hear(cancel(text, BOB))
    assert scene.said() == [("cancelled", "by-weight")]


async def test_a_forged_cancel_stops_nothing(scene: Scene) -> None:
    text = endless()
    raw = signed(text)
    await scene.hear(raw)
    action_signature = orjson.loads(raw)["pgpsignatures"][0]
    unsigned = orjson.loads(cancel(text))["action"]
    for forged in (
        cancel(text, MALLORY),
        cancelling(text),
        sealed_in(unsigned.encode(), action_signature),
        sealed_in(text.replace(b'"type":"action"', b'"type":"cancel"'), action_signature),
        b'{"v":1,"action":"{\\"type\\":\\"cancel\\"}","pgpsignatures":[]}',
    ):
        await scene.hear(forged)
    assert len(scene.actions._running) == 1
    assert set(scene.said()) == {("refused", "signature")}
    assert scene.state.cancels.of(digest_of(text)) == []
    await scene.actions.close()


async def test_a_refused_copy_of_a_cancel_leaves_the_real_one_free(scene: Scene) -> None:
    text = endless()
    whole = orjson.loads(cancel(text, carries=signed(text)))
    await scene.hear(signed(text))
    await scene.hear(orjson.dumps({**whole, "pgpsignatures": []}))
    await scene.hear(orjson.dumps({**whole, "about": orjson.loads(signed(action(name="other")))}))
    await scene.hear(orjson.dumps(whole))
    assert scene.said()[-1] == ("cancelled", "by-signer")


async def test_a_cancel_of_an_action_that_expired_is_refused(scene: Scene) -> None:
    await scene.hear(cancel(action(), expireafter="2020-01-01T00:00:00Z"))
    assert scene.said() == [("refused", "expired")]


async def test_a_full_disk_keeps_nothing_from_being_stopped(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise NotRecorded("disk full")

    text = endless()
    await scene.hear(signed(text))
    monkeypatch.setattr(scene.state.audit, "record", full)
    await scene.hear(cancel(text))
    assert scene.said() == [("cancelled", "by-signer")]


async def test_where_the_kept_cancels_cannot_be_read_nothing_runs(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(_: str) -> list[bytes]:
        raise DeploymentError("the kept cancels: disk I/O error")

    monkeypatch.setattr(scene.state.cancels, "of", unreadable)
    await scene.hear(signed())
    assert scene.said() == [("failed", "ledger")]
    assert scene.runner.ran == []


def by_signer(scene: Scene) -> list[Outcome]:
    return [outcome for _, outcome in scene.answers()]


async def revoke(scene: Scene, signer: str, *, subject: str | None = None) -> None:
    packet = revoking(signer)
    await scene.hear(encode_revocation(packet), subject or revocation_subject(packet))


async def test_a_revoked_key_counts_no_more_and_what_only_it_signed_is_stopped(scene: Scene) -> None:
    await scene.hear(signed(endless()))
    await revoke(scene, ALICE)
    (outcome,) = by_signer(scene)
    assert (outcome.state, outcome.code) == ("cancelled", "revoked")
    assert ALICE in outcome.reason
    await scene.hear(signed(action(name="after")))
    assert scene.said()[-1] == ("refused", "signature")
    assert lines(scene) == [("revocation", "admitted", "kept")]
    assert scene.state.revocations.fingerprints == [ALICE]


async def test_what_others_signed_with_enough_weight_goes_on(scene: Scene) -> None:
    await scene.hear(signed(endless(), ALICE, BOB))
    await revoke(scene, ALICE)
    assert scene.said() == []
    assert len(scene.actions._running) == 1
    await revoke(scene, BOB)
    assert scene.said() == [("cancelled", "revoked")]


async def test_nobody_revokes_a_key_that_is_not_theirs(scene: Scene) -> None:
    await revoke(scene, MALLORY)
    packet = revoking(ALICE)
    await scene.hear(encode_revocation(packet), f"mig.action.all.{ACTION_ID}")
    await scene.hear(b'{"v":1,"revocation":"' + b"A" * 50_000 + b'"}')
    await scene.hear(b'{"v":1,"revocation":"AAAA","action":"{}"}')
    assert scene.actions.counted_refusals == 4
    assert scene.state.revocations.fingerprints == []
    assert scene.state.outbox.pending() == []
    assert lines(scene) == []


async def test_a_revocation_again_says_nothing_more(scene: Scene) -> None:
    for _ in range(3):
        await revoke(scene, ALICE)
    assert lines(scene) == [("revocation", "admitted", "kept")]
    assert scene.actions.counted_refusals == 0


async def test_the_cancel_of_a_key_that_was_given_up_meanwhile_does_not_count(scene: Scene) -> None:
    text = action()
    await scene.hear(cancel(text, ALICE))
    await revoke(scene, ALICE)
    await scene.hear(signed(text, BOB))
    assert scene.said() == [("found", "")]
