"""What heartbeats count for: only newer ones by the agent's own clock, whoever delivers them, however often."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.console.fleet import clocks_off
from investigator.console.inventory import AHEAD_S, Beat, Inventory
from investigator.protocol.facts import Heartbeat, encode_facts, encode_heartbeat
from investigator.protocol.identity import Identity

AGENT = Identity(bytes(range(32)))
FACTS, DIGEST = encode_facts(AGENT, {"id": AGENT.id, "name": "web-1"}, heartbeat_s=60)
START_S = 1_795_500_000


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START_S + seconds, UTC)


def knowing(beats: dict[str, Beat] | None = None, *, facts_s: float = -1e6) -> Inventory:
    inventory = Inventory(beats)
    inventory.hear_facts(AGENT.id, FACTS, at(facts_s))
    return inventory


def beat(t: float, **more: Any) -> bytes:
    return encode_heartbeat(AGENT, Heartbeat(t=int(START_S + t), f=DIGEST, **more))


def hear(inventory: Inventory, frame: bytes, seen_s: float) -> bool:
    return inventory.hear_heartbeat(AGENT.id, frame, at(seen_s))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.randoms(use_true_random=False))
def test_whatever_is_played_back_the_last_word_stays_the_newest_by_the_agents_clock(
    times: list[int], rng: random.Random
) -> None:
    played = times + rng.choices(times, k=5)
    inventory, newest = knowing(), -1
    for number, t in enumerate(played):
        taken = hear(inventory, beat(t), 1000.0 + number)
        assert taken == (t > newest)
        newest = max(newest, t)
    heartbeat = inventory.hosts[AGENT.id].heartbeat
    assert heartbeat is not None
    assert heartbeat.t == START_S + newest


def test_a_heartbeat_that_comes_again_makes_nobody_look_alive() -> None:
    inventory = knowing()
    assert hear(inventory, beat(0), 0)
    assert not hear(inventory, beat(0), 600)
    assert inventory.hosts[AGENT.id].last_seen == at(0)
    assert not inventory.hosts[AGENT.id].is_online(at(600))
    assert inventory.dropped == []


def test_nor_does_one_that_was_heard_before_by_this_console() -> None:
    before = knowing()
    hear(before, beat(0), 0)
    later = knowing(before.beats)
    assert hear(later, beat(0), 86_400)  # the stream gives it as new
    assert later.hosts[AGENT.id].last_seen == at(0)
    older = knowing(before.beats)
    assert not hear(older, beat(-30), 86_400)
    assert older.hosts[AGENT.id].heartbeat is None
    (line,) = older.dropped
    assert line.startswith("web-1: its heartbeats are older than one that was heard before")


def test_facts_that_are_played_back_make_nobody_look_alive_either() -> None:
    before = knowing()
    hear(before, beat(0, x=True), 0)
    later = knowing(before.beats, facts_s=86_400)
    assert later.hosts[AGENT.id].stopped
    assert later.hosts[AGENT.id].last_seen == at(0)


def test_an_agent_that_is_back_within_the_second_is_there() -> None:
    inventory = knowing()
    hear(inventory, beat(0, n=3, x=True, s=9), 0)
    assert inventory.hosts[AGENT.id].stopped
    assert hear(inventory, beat(0, n=3), 0)
    assert not inventory.hosts[AGENT.id].stopped


def test_what_is_played_back_again_and_again_is_told_once() -> None:
    inventory = knowing()
    hear(inventory, beat(100), 100)
    for number in range(50):
        assert not hear(inventory, beat(number), 200)
    assert len(inventory.dropped) == 1


def test_of_two_heartbeats_in_one_second_the_one_with_news_counts() -> None:
    inventory = knowing()
    assert hear(inventory, beat(0, n=1), 0)
    assert hear(inventory, beat(0, n=2), 0)
    assert not hear(inventory, beat(0, n=1), 0)
    assert hear(inventory, encode_heartbeat(AGENT, Heartbeat(t=START_S, f=DIGEST, n=2, x=True)), 0)
    assert inventory.hosts[AGENT.id].stopped


def test_a_clock_that_was_ahead_and_is_put_right_silences_nobody_for_long() -> None:
    inventory = knowing()
    assert hear(inventory, beat(7200), 0)
    assert inventory.hosts[AGENT.id].clock_off_s == 7200
    assert not hear(inventory, beat(60), 60)
    assert hear(inventory, beat(AHEAD_S), AHEAD_S)
    assert inventory.hosts[AGENT.id].clock_off_s == 0


@pytest.mark.parametrize(("told", "words"), [(-3600, "3,600 s behind"), (90, "90 s before"), (30, ""), (-59, "")])
def test_a_clock_that_is_off_is_named_with_the_direction(told: int, words: str) -> None:
    inventory = knowing()
    hear(inventory, beat(told), 0)
    lines = clocks_off(inventory.hosts.values())
    assert lines == ([f"web-1: its clock is {words} the broker's"] if words else [])


def test_forged_heartbeats_fill_no_memory() -> None:
    inventory = knowing()
    for number in range(1500):
        hear(inventory, b"x" * 64 + b"%d" % number, 0)
    assert len(inventory.dropped) == 1000


def test_a_host_that_was_off_for_a_month_is_still_there_and_offline() -> None:
    inventory = knowing(facts_s=0)
    (host,) = inventory.matching(None, at(31 * 86_400))
    assert host.row(at(31 * 86_400))["status"] == "offline"


def test_a_heartbeat_of_the_same_second_as_the_goodbye_played_back_after_it_makes_nobody_look_alive() -> None:
    inventory = knowing()
    alive = encode_heartbeat(AGENT, Heartbeat(t=START_S + 0.25, f=DIGEST, n=1))
    hear(inventory, alive, 0)
    assert hear(inventory, encode_heartbeat(AGENT, Heartbeat(t=START_S + 0.75, f=DIGEST, n=1, x=True)), 1)
    assert not hear(inventory, alive, 2)
    assert inventory.hosts[AGENT.id].stopped
