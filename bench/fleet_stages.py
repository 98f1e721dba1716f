"""Where an agent's time goes: stamps at each stage of the story, put around the agent's own functions.

All processes write to one file, a line per answered action; CLOCK_MONOTONIC is the same for all of a machine's processes.
"""

# ruff: noqa: SLF001 - it looks into the agent, and changes nothing there

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import orjson

from investigator.agent.actions import Actions
from investigator.agent.answers import Answers
from investigator.agent.delivery import Delivery

STAGES = (
    ("received", "published to heard by the agent"),
    ("admitted", "signatures, target, weights, replay; audit and ledger on the disk"),
    ("run", "forked, run, ended"),
    ("signed", "signed, sealed, in the outbox, on the disk"),
    ("acknowledged", "published until the stream has it"),
)


class Stamps:
    """The moments of what one agent is at."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._at: dict[tuple[int, str], list[float]] = {}

    def note(self, owner: object, action: str) -> None:
        """The next stage is reached."""
        self._at.setdefault((id(owner), action), []).append(time.monotonic())

    def close(self, owner: object, action: str) -> None:
        """The last one is."""
        self.note(owner, action)
        moments = self._at.pop((id(owner), action))
        os.write(self._file, orjson.dumps([action, *moments]) + b"\n")


def watch(path: Path) -> None:
    """From now on every agent of this process, and of those forked from it, says when it reached which stage."""
    stamps = Stamps(path)

    def heard(self: Actions, subject: str, raw: bytes, *, live: bool) -> bool:
        if live:
            stamps.note(self._state, subject.rpartition(".")[2])
        return plain_heard(self, subject, raw, live=live)

    def admitted(self: Actions, verdict: Any) -> None:
        plain_admitted(self, verdict)
        stamps.note(self._state, verdict.action.id)

    def ended(self: Actions, running: Any, outcome: Any) -> None:
        stamps.note(self._state, running.admitted.action.id)
        plain_ended(self, running, outcome)

    def post(self: Answers, outcome: Any, action: str, *words: Any, **more: Any) -> None:
        plain_post(self, outcome, action, *words, **more)
        stamps.note(self._state, action)

    async def publish_one(self: Delivery, broker: Any, letter: Any) -> None:
        await plain_publish_one(self, broker, letter)
        stamps.close(self._answers._state, letter.subject.split(".")[2])

    plain_heard, plain_admitted, plain_ended = Actions.heard, Actions._admitted, Actions._ended
    plain_post, plain_publish_one = Answers.post, Delivery._publish_one
    replace(Actions, heard=heard, _admitted=admitted, _ended=ended)
    replace(Answers, post=post)
    replace(Delivery, _publish_one=publish_one)


def replace(owner: type, **functions: Callable[..., Any]) -> None:
    """Of a class, for as long as this process lives."""
    for name, function in functions.items():
        setattr(owner, name, function)


def report(path: Path, published: dict[str, float]) -> Iterable[str]:
    """A line for each stage: of all answers of these actions (id to the moment of publication), median, 99th of 100, largest."""
    spans: dict[str, list[float]] = {name: [] for name, _ in STAGES}
    for line in path.read_bytes().splitlines():
        action, *moments = orjson.loads(line)
        if action in published and len(moments) == len(STAGES):
            before = published[action]
            for (name, _), moment in zip(STAGES, moments, strict=True):
                spans[name].append(moment - before)
                before = moment
    yield f"  {'stage':<14}{'median':>10}{'p99':>10}{'largest':>10}"
    for name, what in STAGES:
        if took := sorted(spans[name]):
            cells = (statistics.median(took), took[int(len(took) * 0.99)], took[-1])
            yield f"  {name:<14}" + "".join(f"{1000 * cell:7.1f} ms" for cell in cells) + f"   {what}"
