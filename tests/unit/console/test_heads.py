"""The console as witness: what heartbeats said of the hosts' audits, kept, compared and exported."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from investigator.console.heads import ChainHead, keep_heads, named, read_heads
from investigator.console.inventory import Inventory
from investigator.console.store import MAX_HEADS, Store
from investigator.errors import BadInput
from investigator.protocol.facts import Heartbeat, encode_facts, encode_heartbeat
from investigator.protocol.identity import Identity

AGENT = Identity(bytes(range(32)))
FACTS, DIGEST = encode_facts(AGENT, {"id": AGENT.id, "name": "web-1"}, heartbeat_s=60)


def head(count: int, digit: str = "a", told_s: int | None = None, agent: str = "x") -> ChainHead:
    return ChainHead(agent, count, digit * 24, told_s if told_s is not None else count, float(count))


def heard(count: int, digit: str, told_s: int) -> Inventory:
    """What the console knows after one heartbeat."""
    inventory = Inventory()
    now = datetime.fromtimestamp(told_s, UTC)
    inventory.hear_facts(AGENT.id, FACTS, now)
    heartbeat = Heartbeat(t=told_s, f=DIGEST, n=count, h=digit * 24)
    assert inventory.hear_heartbeat(AGENT.id, encode_heartbeat(AGENT, heartbeat), now)
    return inventory


def told(path: Path, inventories: Iterable[Inventory]) -> list[list[str]]:
    async def listen() -> list[list[str]]:
        async with Store(path) as store:
            return [await keep_heads(store, inventory) for inventory in inventories]

    return asyncio.run(listen())


def kept(path: Path, *batches: list[ChainHead]) -> list[ChainHead]:
    async def keep() -> list[ChainHead]:
        async with Store(path) as store:
            for batch in batches:
                await store.keep_heads(batch)
            return await store.heads("x")

    return asyncio.run(keep())


def test_a_chain_that_grows_is_kept_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "store"
    assert told(path, [heard(1, "a", 10), heard(1, "a", 20), heard(5, "b", 30)]) == [[], [], []]
    assert told(path, [heard(5, "b", 40), heard(9, "c", 50)]) == [[], []]


def test_a_chain_that_became_shorter_is_warned_of_until_it_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "store"
    first, second, third = told(path, [heard(500, "a", 10), heard(3, "b", 20), heard(4, "c", 30)])
    assert first == []
    for (warning,) in (second, third):
        assert warning.startswith("web-1: its audit has ")
        assert "had 500 on 1970-01-01T00:00:10Z: it was cut, or begun anew" in warning

    async def forget() -> int:
        async with Store(path) as store:
            return await store.forget_heads(AGENT.id)

    assert asyncio.run(forget()) == 1
    assert told(path, [heard(4, "c", 40), heard(5, "d", 50)]) == [[], []]


def test_another_line_in_the_place_of_a_known_one_is_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "store"
    for _ in range(2):
        ((), (warning,)) = told(path, [heard(7, "a", 10), heard(7, "b", 20)])
        assert "line 7 of its audit is not the one that was known" in warning


def test_an_old_heartbeat_that_is_played_back_is_no_alarm(tmp_path: Path) -> None:
    assert told(tmp_path / "store", [heard(500, "a", 20), heard(3, "b", 10)]) == [[], []]


def test_a_heartbeat_of_a_chain_that_somebody_else_signed_is_not_heard(tmp_path: Path) -> None:
    inventory = heard(1, "a", 10)
    forged = encode_heartbeat(Identity(bytes(range(1, 33))), Heartbeat(t=11, f=DIGEST, n=9, h="f" * 24))
    assert not inventory.hear_heartbeat(AGENT.id, forged, datetime.fromtimestamp(11, UTC))
    assert [head.count for head in inventory.heads()] == [1]


def test_heads_are_kept_in_a_limited_number_the_first_and_the_newest_among_them(tmp_path: Path) -> None:
    many = kept(tmp_path / "store", *([head(count)] for count in range(1, 6 * MAX_HEADS)))
    assert MAX_HEADS / 2 <= len(many) <= MAX_HEADS
    assert many[0].count == 1
    newest = [head.count for head in many[-MAX_HEADS // 4 :]]
    assert newest == list(range(6 * MAX_HEADS - MAX_HEADS // 4, 6 * MAX_HEADS))


def test_other_agents_keep_theirs_when_one_has_too_many(tmp_path: Path) -> None:
    path = tmp_path / "store"
    kept(path, [head(1, agent="y")], *([head(count)] for count in range(1, 3 * MAX_HEADS)))

    async def others() -> list[ChainHead]:
        async with Store(path) as store:
            return await store.heads("y")

    assert asyncio.run(others()) == [head(1, agent="y")]


def test_what_is_exported_is_read_back() -> None:
    heads = [head(1), head(2, "b", agent="y")]
    text = orjson.dumps({"heads": [one.document("web-1") for one in heads]})
    assert read_heads(text, what="x") == heads


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"heads":[{"agent":"x"}]}',
        b'{"heads":[{"agent":"x","count":-1,"head":"aaaaaaaaaaaaaaaaaaaaaaaa","told_s":1,"seen_s":1}]}',
        b'{"heads":[{"agent":"x","count":1,"head":"","told_s":1,"seen_s":1}]}',
        b'{"heads":[{"agent":"x","count":1,"head":"aaaaaaaaaaaaaaaaaaaaaaaa","told_s":1,"seen_s":1e300}]}',
    ],
)
def test_an_export_that_is_none_is_refused_and_never_compared_as_empty(text: bytes) -> None:
    with pytest.raises(BadInput, match="HEADS"):
        read_heads(text, what="HEADS")


def test_an_agent_is_meant_by_its_id_or_by_a_name_that_only_one_has() -> None:
    known = [("id-1", "web-1"), ("id-2", "db"), ("id-3", "db")]
    assert (named(known, "web-1"), named(known, "id-2"), named(known, "gone")) == ("id-1", "id-2", "gone")
    with pytest.raises(BadInput, match="id-2, id-3"):
        named(known, "db")
