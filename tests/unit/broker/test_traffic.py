"""What the service notices in what agents send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker.traffic import Traffic
from investigator.protocol.facts import Heartbeat, encode_facts, encode_heartbeat
from investigator.protocol.identity import Identity

WHO = Identity(b"w" * 32)
START_S = 1_795_500_000
NOTICE = "speaks from two processes"


class Watch:
    def __init__(self, flood: int = 1 << 20) -> None:
        self.noted: list[tuple[str, str]] = []
        self.traffic = Traffic(flood_bytes_per_minute=flood, note=lambda *said: self.noted.append(said))

    def facts(self, started: str, tag: str = "") -> str:
        row = {"id": WHO.id, "starttime": started, "tags": {"x": tag}}
        frame, digest = encode_facts(WHO, row, heartbeat_s=60)
        self.traffic.heard(f"mig.facts.{WHO.id}", frame, now_s=0)
        return digest

    def beat(self, digest: str, at_s: int) -> None:
        self.traffic.heard(f"mig.hb.{WHO.id}", encode_heartbeat(WHO, Heartbeat(t=at_s, f=digest)), now_s=0)


EARLY, LATE = "2026-11-24T03:00:00Z", "2026-11-24T03:10:00Z"
LATE_S = 1_795_489_800


def test_bytes_are_counted_per_agent_whatever_they_are() -> None:
    watch = Watch()
    for subject in ("mig.result.abc.a1", "mig.facts.a1", "mig.hb.a1", "mig.alert.a1.fswatch", "mig.other.a1", "x"):
        watch.traffic.heard(subject, b"x" * 10, now_s=0)
    assert watch.traffic.take() == {"a1": 40}
    assert watch.traffic.take() == {}


def test_who_sends_too_much_in_a_minute_is_named_once_a_minute() -> None:
    watch = Watch(flood=100)
    for now_s in (0, 1, 2, 3, 61, 62, 63):
        watch.traffic.heard("mig.result.x.a1", b"x" * 60, now_s=now_s)
    assert watch.noted == [("a1", "sent more than 100 bytes within a minute")] * 2


def test_an_agent_that_starts_again_is_one() -> None:
    watch = Watch()
    first = watch.facts(EARLY)
    watch.beat(first, LATE_S - 60)
    second = watch.facts(LATE)
    watch.beat(second, LATE_S + 60)
    third = watch.facts(LATE, "changed")
    watch.beat(second, LATE_S + 61)
    watch.beat(third, LATE_S + 62)
    watch.beat(first, LATE_S - 30)
    assert watch.noted == [], "a heartbeat of before that comes late is none of a second process"


@pytest.mark.parametrize("by", ["facts", "heartbeat"])
def test_two_processes_of_one_id_are_noticed(by: str) -> None:
    watch = Watch()
    first = watch.facts(EARLY)
    watch.facts(LATE)
    if by == "facts":
        watch.facts(EARLY, "changed")
    else:
        watch.beat(first, LATE_S + 60)
    ((agent, notice),) = watch.noted
    assert agent == WHO.id
    assert NOTICE in notice


@given(st.binary(max_size=200), st.sampled_from(["facts.a", "hb.a", "result.x.a", "alert.a.m", "facts", ""]))
def test_rubbish_is_counted_and_nothing_else(raw: bytes, subject: str) -> None:
    watch = Watch()
    watch.traffic.heard(f"mig.{subject}", raw, now_s=0)
    watch.traffic.heard(f"mig.{subject}", b"x" * 64 + raw, now_s=0)
    assert watch.noted == []
