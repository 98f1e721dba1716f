"""The console's store as a file: older, newer and damaged ones; and what it keeps once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from investigator.console.inventory import Beat
from investigator.console.schema import VERSIONS
from investigator.console.store import ANSWERS_PER_PAGE, Record, Store, Targeted
from investigator.errors import DeploymentError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console.sqlite"


def within(path: Path, work: Callable[[Store], Awaitable[Any]], *, thorough: bool = False) -> Any:
    async def go() -> Any:
        async with Store(path, thorough=thorough) as store:
            return await work(store)

    return asyncio.run(go())


async def nothing(store: Store) -> Path | None:
    return store.moved_aside


def test_a_store_from_before_versions_is_brought_up_to_date_and_keeps_what_it_has(path: Path) -> None:
    with sqlite3.connect(path) as old:
        for statement in VERSIONS[0]:
            old.execute(statement)
        old.execute("INSERT INTO answers VALUES ('h', 'a', 'x', 'payload')")
        old.execute("INSERT INTO outcomes VALUES ('a', 'x', 'found')")
    old.close()
    assert within(path, lambda store: store.who_came_to()) == {("a", "x", "found")}
    assert within(path, lambda store: store.targeted("a")) == [Targeted("x", "", "found", 0)]
    with sqlite3.connect(path) as now:
        assert now.execute("PRAGMA user_version").fetchone() == (len(VERSIONS),)
    now.close()


def test_a_store_of_a_newer_version_is_refused_in_one_line_and_not_touched(path: Path) -> None:
    within(path, nothing)
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA journal_mode=DELETE")
        newer.execute(f"PRAGMA user_version = {len(VERSIONS) + 5}")
    newer.close()
    before = path.read_bytes()
    with pytest.raises(DeploymentError, match="written by a newer investigator") as caught:
        within(path, nothing)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"rubbish" * 100, b"SQLite format 3\0" + bytes(84)])
def test_what_is_no_database_is_moved_aside_with_its_time_and_said(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    aside = within(path, nothing)
    assert aside.read_bytes() == content
    assert aside.name.startswith("console.sqlite.damaged-2")
    (said,) = caplog.messages
    assert aside.name in said
    assert within(path, nothing) is None


async def answers(store: Store, action: str = "a") -> list[tuple[str, bytes]]:
    return [answer async for page in store.answers(action) for answer in page]


def test_all_answers_come_page_by_page_and_each_agents_together(path: Path) -> None:
    sent = [(f"agent-{n % 700:03}", b"%d" % n) for n in range(2 * ANSWERS_PER_PAGE + 401)]

    async def fill(store: Store) -> list[int]:
        await store.keep_answers("a", sent)
        await store.keep_answers("b", [("agent-000", b"another action's")])
        return [len(page) async for page in store.answers("a")]

    assert within(path, fill) == [ANSWERS_PER_PAGE, ANSWERS_PER_PAGE, 401]
    got = within(path, answers)
    assert [agent for agent, _ in got] == sorted(agent for agent, _ in sent)
    assert sorted(got) == sorted(sent)


def test_damage_in_the_middle_is_found_by_a_thorough_look_and_told_with_the_remedy_before(path: Path) -> None:
    def fill(store: Store) -> Awaitable[int]:
        return store.keep_answers("a", [(f"agent-{n}", b"%d" % n * 400) for n in range(300)])

    assert within(path, fill) == 300
    content = bytearray(path.read_bytes())
    content[4096 * 20 : 4096 * 24] = b"\xff" * 4096 * 4
    path.write_bytes(content)
    with pytest.raises(DeploymentError, match="malformed") as caught:
        within(path, answers)
    assert "`investigator sync`" in caught.value.hint
    aside = within(path, nothing, thorough=True)
    assert aside.read_bytes() == content
    assert within(path, answers) == []


def test_two_consoles_may_make_it_at_once(path: Path) -> None:
    async def both() -> None:
        async def one(number: int) -> None:
            async with Store(path) as store:
                await store.keep_answers("a", [("x", b"%d" % number)])

        await asyncio.gather(*(one(number) for number in range(8)))

    asyncio.run(both())
    assert len(within(path, answers)) == 8


def test_no_answer_and_no_record_is_kept_twice(path: Path) -> None:
    record = Record("action", "a", b"envelope", 1.0)

    async def twice(store: Store) -> list[int]:
        return [
            await store.keep_answers("a", [("x", b"one"), ("x", b"one")]),
            await store.keep_answers("a", [("x", b"one"), ("x", b"two")]),
            await store.keep_records([record, record]),
            await store.keep_records([record, Record("action", "a", b"envelope", 2.0)]),
            await store.keep_records([]),
        ]

    assert within(path, twice) == [1, 1, 1, 0, 0]
    assert within(path, lambda store: store.records()) == [record]
    assert within(path, lambda store: store.records(action="b")) == []


def test_whom_an_action_was_sent_to_is_known_before_and_after_what_they_came_to(path: Path) -> None:
    async def follow(store: Store) -> list[dict[str, str]]:
        await store.keep_targeted("a", [Targeted("x", "web-1"), Targeted("y", "web-2")])
        before = await store.states("a")
        await store.keep_states("a", {"x": "found", "z": "notfound"})
        await store.keep_targeted("a", [Targeted("x", "web-1", sequence=7)])
        return [before, await store.states("a")]

    assert within(path, follow) == [{}, {"x": "found", "z": "notfound"}]
    assert within(path, lambda store: store.targeted("a")) == [
        Targeted("x", "web-1", "found", 7),
        Targeted("y", "web-2", "", 0),
        Targeted("z", "", "notfound", 0),
    ]


def test_a_stream_that_was_made_anew_is_read_from_its_start(path: Path) -> None:
    async def read(store: Store) -> list[int]:
        await store.keep_read_up_to("S", "monday", 7)
        return [await store.read_up_to("S", "monday"), await store.read_up_to("S", "tuesday")]

    assert within(path, read) == [7, 0]


def test_heartbeats_are_remembered_until_they_are_forgotten(path: Path) -> None:
    async def keep(store: Store) -> dict[str, Beat]:
        await store.keep_beats({"x": Beat(5, 6.0), "y": Beat(7, 8.0)})
        await store.keep_beats({"x": Beat(9, 10.0)})
        await store.forget_beats("y")
        return await store.beats()

    assert within(path, keep) == {"x": Beat(9, 10.0)}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DeploymentError, match=r"Not a directory|File exists"):
        within(tmp_path / "file" / "console.sqlite", nothing)


def test_what_one_investigation_could_not_keep_undoes_nothing_of_anothers(path: Path) -> None:
    async def side_by_side(store: Store) -> list[Any]:
        wrong = [("a", "x", object())]  # no value that SQLite takes

        async def keep(number: int) -> int:
            if number % 2:
                return await store.keep_answers("action", [(f"agent-{number}", b"%d" % number)])
            return await store._write("INSERT INTO outcomes VALUES (?, ?, ?)", wrong)

        done = await asyncio.gather(*(keep(number) for number in range(200)), return_exceptions=True)
        assert sum(isinstance(one, DeploymentError) for one in done) == 100
        return [answer async for page in store.answers("action") for answer in page]

    assert len(within(path, side_by_side)) == 100
