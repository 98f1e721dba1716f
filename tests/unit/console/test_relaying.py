"""What a script is passed on, and what not: in order, and within bounds whatever agents send."""

from __future__ import annotations

import asyncio
import base64
import time
from datetime import timedelta
from typing import Any, cast

import orjson
import pytest

from investigator.broker.micro import Exchange
from investigator.console.audience import Summary
from investigator.console.dispatch import Prepared, prepare, write_action
from investigator.console.relaying import MAX_PAYLOAD_BYTES, MAX_PAYLOADS, MAX_WAITING_BYTES, Relaying, TooSlow
from investigator.errors import BrokerError
from investigator.protocol.action import Operation
from investigator.protocol.envelope import Envelope
from investigator.protocol.result import Outcome

SUMMARY = Summary(action="a", targeted=2, states={"offline": 1}, elapsed_s=0.1, sealed=1, dropped=1)


class Way:
    """The way back to a script, kept."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, document: bytes) -> None:
        await self.open.wait()
        self.sent.append(orjson.loads(document))


def prepared() -> Prepared:
    action = write_action(
        name="n", target="all", operations=[Operation(module="file")], now_s=time.time(), life=timedelta(minutes=1),
        macros={}, sealto=None,
    )  # fmt: skip
    return prepare(Envelope(action=action.encode().decode()))


def relaying(way: Way) -> Relaying:
    return Relaying(cast("Exchange", way), prepared())


async def test_everything_is_told_in_its_order_and_the_summary_last() -> None:
    way = Way()

    async def follow(passing: Relaying) -> Summary:
        passing.payload("a1", "web-1", b"\x01box")
        passing.payload("a1", "web-1", b"\x01another")
        passing.payload("a2", "web-2", b"\x00frame")
        passing.outcome("a2", "web-2", "refused", Outcome(state="refused", name="w", code="signature", reason="why"))
        passing.warn("take care")
        passing.summary(SUMMARY)
        return SUMMARY

    await relaying(way).lead(follow)
    assert [reply["type"] for reply in way.sent] == [
        "result", "state", "result", "result", "state", "warning", "summary",
    ]  # fmt: skip
    assert base64.b64decode(way.sent[0]["payload"]) == b"\x01box"
    assert [(r["agent"]["name"], r["state"], r["code"]) for r in way.sent if r["type"] == "state"] == [
        ("web-1", "answered", ""),
        ("web-2", "refused", "signature"),
    ]
    assert way.sent[-1]["states"] == {"offline": 1, "answered": 1}


async def test_what_no_honest_agent_sends_is_dropped_and_counted() -> None:
    way = Way()

    async def follow(passing: Relaying) -> Summary:
        passing.payload("a1", "web-1", b"\x01" * (MAX_PAYLOAD_BYTES + 1))
        for number in range(MAX_PAYLOADS + 3):
            passing.payload("a1", "web-1", b"\x01%d" % number)
        passing.payload("a2", "web-2", b"\x01x")
        passing.summary(SUMMARY)
        return SUMMARY

    await relaying(way).lead(follow)
    results = [reply for reply in way.sent if reply["type"] == "result"]
    assert len(results) == MAX_PAYLOADS
    assert results[-1]["agent"]["id"] == "a2"
    assert way.sent[-1]["dropped"] == 5 + SUMMARY.dropped


async def test_who_is_too_slow_is_told_and_holds_only_so_much_memory() -> None:
    way = Way()
    way.open.clear()
    payload = b"\x01" * (MAX_PAYLOAD_BYTES - 100)

    async def follow(passing: Relaying) -> Summary:
        number = 0
        while not passing.stop.is_set():
            number += 1
            passing.payload(f"a{number}", "", payload)
        assert number * len(payload) < MAX_WAITING_BYTES
        way.open.set()
        return SUMMARY

    with pytest.raises(TooSlow):
        await relaying(way).lead(follow)
    assert way.sent


async def test_what_was_told_before_an_error_is_passed_on_before_it() -> None:
    way = Way()

    async def follow(passing: Relaying) -> Summary:
        passing.warn("first")
        raise BrokerError("gone")

    with pytest.raises(BrokerError):
        await relaying(way).lead(follow)
    assert [reply["text"] for reply in way.sent] == ["first"]
