"""What comes over the wire leaves its line on the host before anything is done about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from investigator.agent.actions import Actions
from investigator.agent.audit_file import NotRecorded
from investigator.agent.runner import Ran
from investigator.agent.state import AgentState
from investigator.agent.trust import Trust
from investigator.protocol.result import Result
from signed import ACTION_ID, ALICE, CAROL, ROW, FakeKeyring, digest_of, sealed_in, sign, weights, written

ALL, LINUX = f"mig.action.all.{ACTION_ID}", f"mig.action.os.linux.{ACTION_ID}"


class Host:
    """An agent whose runner notes what of the audit was on the disk when a run started."""

    def __init__(self, folder: Path, state: AgentState) -> None:
        self.folder, self.state = folder, state
        self.on_disk_at_start: list[list[dict[str, Any]]] = []
        trust = Trust(FakeKeyring(), weights(alice=1, bob=1, carol=0), ())
        self.actions = Actions(
            state, trust, self, name="web-1", row=lambda: ROW, module_timeout_s=30, posted=lambda: None
        )

    async def run(
        self, module: str, parameters: Any, *, deadline_s: float, take: Any = None, limits: Any = None
    ) -> Ran:
        self.on_disk_at_start.append(self.lines())
        return Ran(state="done", code="", result=Result(success=True, foundanything=True))

    async def hear(self, raw: bytes, subject: str = ALL, *, live: bool = True) -> None:
        self.actions.heard(subject, raw, live=live)
        for _ in range(10):
            await asyncio.sleep(0)

    def lines(self) -> list[dict[str, Any]]:
        """All but the chain's beginning."""
        return [orjson.loads(raw) for raw in (self.folder / "audit.jsonl").read_bytes().splitlines()[1:]]

    def said(self) -> list[tuple[str, str]]:
        return [
            (line.get("verdict") or line["kind"], line.get("code") or line.get("state", "")) for line in self.lines()
        ]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with AgentState(tmp_path / "state") as state:
        yield Host(tmp_path / "state", state)


def action(**changes: Any) -> bytes:
    return written(**{"now_s": time.time(), **changes})


def signed(text: bytes, *signers: str) -> bytes:
    return sealed_in(text, *(sign(text, signer, time.time()) for signer in signers or (ALICE,)))


async def test_an_admission_is_on_the_disk_before_the_run_starts_and_its_end_after(host: Host) -> None:
    text = action()
    await host.hear(signed(text))
    ((admitted,),) = host.on_disk_at_start
    assert (admitted["verdict"], admitted["digest"], admitted["signers"]) == ("admitted", digest_of(text), [ALICE])
    assert host.said() == [("admitted", ""), ("end", "found")]


async def test_every_refusal_has_its_line_with_its_code_and_who_signed(host: Host) -> None:
    await host.hear(b"rubbish")
    await host.hear(sealed_in(action()))
    await host.hear(signed(action(name="weak"), CAROL))
    await host.hear(signed(action(expireafter="2020-01-02T00:00:00Z", validfrom="2020-01-01T00:00:00Z")))
    assert host.said() == [(("refused"), code) for code in ("malformed", "signature", "permission", "expired")]
    assert [line.get("signers") for line in host.lines()] == [None, None, [CAROL], [ALICE]]


async def test_what_passes_in_silence_has_no_line_and_a_replay_has_one(host: Host) -> None:
    raw = signed(action())
    await host.hear(signed(action(condition=["bool", False])))
    for subject, live in ((ALL, True), (LINUX, True), (ALL, False)):
        await host.hear(raw, subject, live=live)
    assert host.said() == [("admitted", ""), ("end", "found")]
    await host.hear(raw)
    await host.hear(raw)
    assert host.said()[2:] == [("refused", "replayed")]


async def test_what_cannot_be_recorded_does_not_run_and_is_free_to_come_again(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = action()

    def full(_: object) -> None:
        raise NotRecorded("audit.jsonl: No space left on device")

    with monkeypatch.context() as patched:
        assert host.state.audit._file is not None
        patched.setattr(host.state.audit._file, "append", full)
        await host.hear(signed(text))
    assert host.on_disk_at_start == []
    assert digest_of(text) not in host.state.ledger
    assert len(host.state.outbox.pending()) == 1
    assert host.said() == []


async def test_count_and_head_move_with_each_decision(host: Host) -> None:
    before = host.state.audit.count, host.state.audit.head
    await host.hear(signed(action()))
    assert host.state.audit.count == before[0] + 2
    assert host.state.audit.head != before[1]
