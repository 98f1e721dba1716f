"""A fork server that rehearses is the same as before, but for what Python has made meanwhile."""

import os
import threading
from pathlib import Path

import pytest

from investigator.agent import rehearsal
from investigator.agent.channel import Answer
from investigator.agent.worker import encode


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Answer]:
    found: list[Answer] = []

    def seen(reply: Answer, *words: object) -> bytes:
        found.append(reply)
        return encode(reply, *words)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(rehearsal, "encode", seen)
    return found


def test_it_searches_and_finds_our_own_file(answers: list[Answer]) -> None:
    rehearsal.rehearse()
    (reply,) = answers
    assert reply.code == ""
    assert reply.result.success
    assert reply.result.foundanything
    assert not reply.result.errors


def test_it_leaves_no_descriptor_thread_child_or_other_folder_behind(answers: list[Answer]) -> None:
    rehearsal.rehearse()  # what is made once for good is made now
    before = sorted(os.listdir("/proc/self/fd")), threading.active_count(), Path.cwd(), os.nice(0)
    rehearsal.rehearse()
    assert (sorted(os.listdir("/proc/self/fd")), threading.active_count(), Path.cwd(), os.nice(0)) == before
    assert len(answers) == 2


def test_what_goes_wrong_in_it_stops_no_fork_server(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Answer:
        raise RuntimeError("a defect")

    monkeypatch.setattr(rehearsal, "answer", broken)
    rehearsal.rehearse()
