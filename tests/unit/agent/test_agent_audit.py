"""What is written for a decision, for how many, and when it must not be done."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from investigator.agent.audit import MAX_LISTED, UNSIGNED_AT_ONCE, Audit
from investigator.agent.audit_file import NotRecorded
from investigator.agent.audit_reading import AuditLines, verify_audit
from investigator.protocol.action import parse_action
from investigator.protocol.admission import Admitted, Refusal, admit
from investigator.protocol.audit import MAX_LINE_BYTES, line_digest
from signed import ACTION_ID, ALICE, BOB, NOW_S, digest_of, host, sealed_in, sign, written


@pytest.fixture
def audit() -> Audit:
    return Audit(None, agent="agent-a", key_is_new=True, clock=lambda: NOW_S)


def lines(audit: Audit) -> list[dict[str, Any]]:
    return [orjson.loads(raw) for raw in audit.lines]


def admitted(text: bytes) -> Admitted:
    verdict = admit(sealed_in(text, sign(text), sign(text, BOB)), host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(verdict, Admitted)
    return verdict


def test_an_admission_says_who_signed_what_and_when(audit: Audit) -> None:
    text = written()
    audit.admitted(admitted(text))
    (line,) = lines(audit)
    assert line == {
        "n": 1,
        "prev": "0" * 64,
        "time": "2026-11-24T06:00:00.000Z",
        "agent": "agent-a",
        "kind": "decision",
        "type": "action",
        "verdict": "admitted",
        "action": ACTION_ID,
        "name": "who listens",
        "digest": digest_of(text),
        "signers": sorted([ALICE, BOB]),
        "operations": ["netstat"],
    }


def test_a_refusal_says_the_code_and_the_reason_and_nothing_of_bytes_that_nobody_signed(audit: Audit) -> None:
    text = written()
    signed = Refusal(code="permission", reason="need 2, got 1", digest="d", action=parse_action(text), signers=(ALICE,))
    audit.refused(signed, ACTION_ID)
    audit.refused(Refusal(code="signature", reason="no\nsignature", digest="d"), ACTION_ID)
    first, second = lines(audit)
    assert (first["verdict"], first["code"], first["reason"]) == ("refused", "permission", "need 2, got 1")
    assert (first["name"], first["operations"], first["signers"]) == ("who listens", ["netstat"], [ALICE])
    assert (second["code"], second["reason"], second["action"]) == ("signature", "no\\nsignature", ACTION_ID)
    assert not {"name", "operations", "signers"} & set(second)


def test_the_end_of_a_run_and_decisions_of_other_kinds_have_their_lines(audit: Audit) -> None:
    audit.ended(ACTION_ID, "d", "timeout", "deadline")
    audit.decided("cancel", "refused", code="permission", action=ACTION_ID, signers=[ALICE])
    audit.decided("revocation", "admitted", signers=[ALICE])
    end, cancel, revocation = lines(audit)
    assert (end["kind"], end["state"], end["code"]) == ("end", "timeout", "deadline")
    assert (cancel["type"], cancel["verdict"], cancel["code"]) == ("cancel", "refused", "permission")
    assert (revocation["type"], revocation["verdict"]) == ("revocation", "admitted")


def test_count_and_head_are_of_the_newest_line(audit: Audit) -> None:
    assert (audit.count, audit.head) == (0, "0" * 24)
    audit.ended(ACTION_ID, "d", "found", "")
    audit.ended(ACTION_ID, "d", "found", "")
    assert (audit.count, audit.head) == (2, line_digest(audit.lines[-1])[:24])


def test_a_flood_that_nobody_signed_writes_few_lines_and_the_next_one_says_how_many_were_not_written(
    audit: Audit, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = time.monotonic()
    monkeypatch.setattr("investigator.agent.audit.time.monotonic", lambda: stopped)
    for _ in range(10_000):
        audit.refused(Refusal(code="signature", reason="x"), ACTION_ID)
    assert audit.count == UNSIGNED_AT_ONCE
    monkeypatch.setattr("investigator.agent.audit.time.monotonic", lambda: stopped + 61)
    for _ in range(10_000):
        audit.refused(Refusal(code="signature", reason="x"), ACTION_ID)
    audit.admitted(admitted(written()))
    assert [line.get("unwritten") for line in lines(audit)[-2:]] == [10_000 - UNSIGNED_AT_ONCE, 9_999]
    assert audit.count == UNSIGNED_AT_ONCE + 2


def test_what_trusted_keys_signed_is_never_among_the_unwritten(audit: Audit) -> None:
    for _ in range(3 * UNSIGNED_AT_ONCE):
        audit.refused(Refusal(code="expired", reason="x", signers=(ALICE,)), ACTION_ID)
    assert audit.count == 3 * UNSIGNED_AT_ONCE


def test_what_was_only_counted_is_written_when_the_agent_stops(tmp_path: Path) -> None:
    with Audit(tmp_path, agent="a", key_is_new=True) as audit:
        audit.skip()
        audit.skip()
    last = orjson.loads((tmp_path / "audit.jsonl").read_bytes().splitlines()[-1])
    assert (last["kind"], last["unwritten"]) == ("skipped", 2)


def test_the_largest_action_makes_a_line_that_is_read_again(tmp_path: Path) -> None:
    operations = [{"module": "m" * 100, "parameters": {}}] * 1000
    text = written(operations=operations, name="\x9b" + "n" * 2000)
    with Audit(tmp_path, agent="a", key_is_new=True) as audit:
        audit.admitted(admitted(text))
        audit.refused(Refusal(code="x", reason="r" * 100_000, signers=(ALICE,) * 16), ACTION_ID)
    raw = (tmp_path / "audit.jsonl").read_bytes().splitlines()
    assert max(map(len, raw)) < MAX_LINE_BYTES
    line = orjson.loads(raw[1])
    assert (len(line["operations"]), line["operations"][-1]) == (MAX_LISTED + 1, "and 900 more")
    assert all(text.isprintable() for text in (line["name"], raw[2].decode()))
    with AuditLines(tmp_path) as read:
        assert verify_audit(read, ()).last.count == 3


def test_an_admission_that_cannot_be_written_is_an_error_and_anything_else_only_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with Audit(tmp_path, agent="a", key_is_new=True) as audit:
        with monkeypatch.context() as patched:

            def full(_: bytes) -> None:
                raise NotRecorded("disk full")

            assert audit._file is not None
            patched.setattr(audit._file, "append", full)
            with pytest.raises(NotRecorded):
                audit.admitted(admitted(written()))
            audit.ended(ACTION_ID, "d", "failed", "audit")
            audit.refused(Refusal(code="expired", reason="x", signers=(ALICE,)), ACTION_ID)
        assert "not recorded: disk full" in caplog.text
        audit.ended(ACTION_ID, "d", "found", "")
    last = orjson.loads((tmp_path / "audit.jsonl").read_bytes().splitlines()[-1])
    assert last["unwritten"] == 2
