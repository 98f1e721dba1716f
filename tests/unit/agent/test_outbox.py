"""The outbox: on the disk before it is published, in order, once, and no more than fits."""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from investigator.agent import database as databases
from investigator.agent import outbox as outboxes
from investigator.agent.database import open_database
from investigator.agent.outbox import Outbox
from investigator.errors import DeploymentError

SUBJECT = "mig.result.x.y"


@pytest.fixture(autouse=True)
def _closed_at_the_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Databases stay open while a test lasts, as those of a killed process do; then each is closed."""
    with contextlib.ExitStack() as opened:

        def open_and_note(path: Path | None) -> sqlite3.Connection:
            database = databases.open_database(path)
            opened.callback(database.close)
            return database

        monkeypatch.setitem(globals(), "open_database", open_and_note)
        yield


def payloads(outbox: Outbox, at_most: int = 64) -> list[bytes]:
    return [letter.payload for letter in outbox.pending(at_most=at_most)]


def test_letters_wait_in_order_until_each_is_acknowledged_even_over_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    first = Outbox(open_database(path))  # never closed: as after SIGKILL
    first.add(SUBJECT, [b"1", b"2"])
    first.add(SUBJECT, [b"3"])
    second = Outbox(open_database(path))
    assert payloads(second) == [b"1", b"2", b"3"]
    for letter in second.pending(at_most=2):
        second.remove(letter)
    second.add(SUBJECT, [b"4"])
    assert payloads(Outbox(open_database(path))) == [b"3", b"4"]
    assert payloads(second, at_most=1) == [b"3"]


def test_a_letters_id_is_that_of_its_exact_bytes_and_the_same_letter_waits_once() -> None:
    outbox = Outbox(open_database(None))
    outbox.add(SUBJECT, [b"a"])
    (letter,) = outbox.pending()
    assert letter.id == hashlib.sha256(b"a").hexdigest()
    outbox.add(SUBJECT, [b"a", b"b", b"b"])
    assert payloads(outbox) == [b"a", b"b"]
    outbox.add(SUBJECT, [b"a"])
    assert payloads(outbox) == [b"a", b"b"]
    outbox.remove(letter)
    outbox.remove(letter)
    assert payloads(outbox) == [b"b"]


def test_what_does_not_fit_is_refused_whole_and_smaller_letters_still_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outboxes, "MAX_OUTBOX_BYTES", 10)
    monkeypatch.setattr(outboxes, "RESERVED_BYTES", 0)
    outbox = Outbox(open_database(None))
    outbox.add(SUBJECT, [b"12345"])
    with pytest.raises(DeploymentError, match="the outbox is full: 5 bytes wait"):
        outbox.add(SUBJECT, [b"1", b"23456"])
    assert payloads(outbox) == [b"12345"]
    outbox.add(SUBJECT, [b"1234", b"6"])
    assert payloads(outbox) == [b"12345", b"1234", b"6"]
    outbox.remove(outbox.pending()[0])
    outbox.add(SUBJECT, [b"54321"])


def test_letters_that_were_acknowledged_together_leave_in_one_write() -> None:
    database = open_database(None)
    outbox = Outbox(database)
    outbox.add(SUBJECT, [b"1", b"2", b"3", b"4"])
    written: list[str] = []
    database.set_trace_callback(written.append)
    outbox.remove(*outbox.pending(at_most=3))
    outbox.remove()
    database.set_trace_callback(None)
    assert sum("DELETE" in statement or "COMMIT" in statement for statement in written) == 1
    assert payloads(outbox) == [b"4"]


def test_a_failure_half_way_leaves_no_half_answer() -> None:
    database = open_database(None)
    outbox = Outbox(database)
    database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON outbox WHEN NEW.payload = x'32' BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    )
    with pytest.raises(DeploymentError, match="disk full"):
        outbox.add(SUBJECT, [b"1", b"2", b"3"])
    assert payloads(outbox) == []
    outbox.add(SUBJECT, [b"1", b"3"])
    assert payloads(outbox) == [b"1", b"3"]


def test_a_lost_database_is_an_error_of_the_deployment() -> None:
    database = open_database(None)
    outbox = Outbox(database)
    outbox.add(SUBJECT, [b"1"])
    (letter,) = outbox.pending()
    database.close()
    for ask in (outbox.pending, lambda: outbox.add(SUBJECT, [b"2"]), lambda: outbox.remove(letter)):
        with pytest.raises(DeploymentError, match="the outbox: "):
            ask()
