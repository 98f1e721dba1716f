"""The ledger: what was admitted once is known for ever after, whatever happens to the process, the clock or the disk."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from investigator.agent import database as databases
from investigator.agent.database import open_database
from investigator.agent.ledger import KEEP_AFTER_EXPIRY_S, Ledger
from investigator.errors import DeploymentError
from investigator.protocol.admission import Admitted, admit
from investigator.protocol.result import State
from signed import ACTION_ID, ALICE, NOW_S, OTHER_ID, digest_of, host, rfc3339, sealed_in, sign, written

DAY_S = 86_400


def admitted(now_s: float = NOW_S, **changes: Any) -> Admitted:
    action = written(now_s=now_s, **changes)
    raw = sealed_in(action, sign(action, ALICE, now_s))
    verdict = admit(raw, host(), action_id=changes.get("id", ACTION_ID), now_s=now_s)
    assert isinstance(verdict, Admitted)
    return verdict


def fresh(*, key_is_new: bool = True) -> Ledger:
    return Ledger(open_database(None), key_is_new=key_is_new, now_s=int(NOW_S))


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


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.sqlite"


def reopened(path: Path, *, now_s: float = NOW_S, key_is_new: bool = False) -> Ledger:
    return Ledger(open_database(path), key_is_new=key_is_new, now_s=int(now_s))


def test_what_was_admitted_is_known_after_the_process_ended_without_a_word(path: Path) -> None:
    one, other = admitted(), admitted(id=OTHER_ID)
    reopened(path, key_is_new=True).enter(one)  # never closed: as after SIGKILL
    ledger = reopened(path)
    assert one.digest in ledger
    assert other.digest not in ledger
    assert ledger.newest_signature_s == NOW_S
    assert ledger.not_signed_before_s == 0


def test_entering_twice_is_an_error_so_that_nothing_runs_twice() -> None:
    ledger = fresh()
    ledger.enter(admitted())
    with pytest.raises(DeploymentError):
        ledger.enter(admitted())
    assert len(ledger.unfinished()) == 1


def test_a_first_start_takes_what_was_signed_before_and_a_lost_ledger_does_not(path: Path) -> None:
    assert fresh(key_is_new=True).not_signed_before_s == 0
    assert reopened(path, key_is_new=False).not_signed_before_s == NOW_S - 120
    assert reopened(path, now_s=NOW_S + DAY_S).not_signed_before_s == NOW_S - 120


def test_the_newest_signature_never_goes_back() -> None:
    ledger = fresh()
    assert ledger.newest_signature_s == 0
    ledger.enter(admitted(now_s=NOW_S))
    ledger.enter(admitted(now_s=NOW_S - DAY_S, id=OTHER_ID))
    assert ledger.newest_signature_s == NOW_S


def test_what_was_running_when_the_agent_ended_is_unfinished_until_it_is_answered(path: Path) -> None:
    one, other = admitted(), admitted(id=OTHER_ID)
    ledger = reopened(path, key_is_new=True)
    ledger.enter(one)
    ledger.enter(other)
    ledger.finish(other.digest, "found")
    after = reopened(path)
    (left,) = after.unfinished()
    assert (left.digest, left.action, left.sealto) == (digest_of(written()), ACTION_ID, None)
    after.finish(left.digest, "failed")
    assert reopened(path).unfinished() == []
    assert left.digest in reopened(path)


@pytest.mark.parametrize(
    ("state", "found", "notfound"), [("found", True, False), ("notfound", False, True), ("failed", False, False)]
)
def test_what_an_action_came_to_is_remembered_for_later_targets(state: State, found: bool, notfound: bool) -> None:
    ledger = fresh()
    ledger.enter(admitted())
    assert not ledger.came_to(ACTION_ID, found=True)
    ledger.finish(admitted().digest, state)
    assert (ledger.came_to(ACTION_ID, found=True), ledger.came_to(ACTION_ID, found=False)) == (found, notfound)
    assert not ledger.came_to(OTHER_ID, found=True)


def test_a_clock_that_is_years_ahead_at_a_start_forgets_nothing_that_could_come_again(path: Path) -> None:
    month_long = admitted(expireafter=rfc3339(NOW_S + 29 * DAY_S))
    reopened(path, key_is_new=True).enter(month_long)
    reopened(path, now_s=NOW_S + 5 * 365 * DAY_S)
    assert month_long.digest in reopened(path)


def test_what_expired_long_before_the_newest_signature_is_forgotten(path: Path) -> None:
    old = admitted()
    reopened(path, key_is_new=True).enter(old)
    later_s = NOW_S + KEEP_AFTER_EXPIRY_S + DAY_S
    reopened(path).enter(admitted(now_s=later_s, id=OTHER_ID))
    assert old.digest not in reopened(path)
    raw = sealed_in(written(), sign(written()))
    verdict = admit(raw, host(newest_signature_s=int(later_s)), action_id=ACTION_ID, now_s=NOW_S)
    assert not isinstance(verdict, Admitted)


def test_an_admission_that_cannot_be_written_is_an_error_and_leaves_nothing() -> None:
    database = open_database(None)
    ledger = Ledger(database, key_is_new=True, now_s=int(NOW_S))
    database.execute("DROP TABLE about")
    database.execute("CREATE TABLE about (name TEXT)")
    with pytest.raises(DeploymentError, match="the ledger"):
        ledger.enter(admitted())
    assert not database.in_transaction
    assert admitted().digest not in ledger


def test_a_database_that_goes_bad_while_running_is_never_taken_for_an_empty_one() -> None:
    database = open_database(None)
    ledger = Ledger(database, key_is_new=True, now_s=int(NOW_S))
    database.close()
    for ask in (
        lambda: admitted().digest in ledger,
        lambda: ledger.newest_signature_s,
        ledger.unfinished,
        lambda: ledger.came_to(ACTION_ID, found=True),
        lambda: ledger.finish("d", "found"),
        lambda: ledger.enter(admitted()),
    ):
        with pytest.raises(DeploymentError):
            ask()


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_moved_aside_and_the_new_ledger_knows_that_one_was_lost(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    assert reopened(path).not_signed_before_s == NOW_S - 120
    (aside,) = path.parent.glob("agent-damaged-*.sqlite")
    assert aside.read_bytes() == content
    assert len(caplog.messages) == 1
    assert f"it is now {aside}" in caplog.messages[0]


def test_pages_that_were_overwritten_are_noticed_before_they_are_read(path: Path) -> None:
    """The head of the file is whole: only a check of all of it finds the damage, and a ledger with a hole runs things twice."""
    with contextlib.closing(open_database(path)) as database:
        ledger = Ledger(database, key_is_new=True, now_s=int(NOW_S))
        for number in range(200):
            ledger.enter(admitted(name=f"n{number}"))
    with path.open("r+b") as file:
        file.seek(4 * 4096)
        file.write(b"\xff" * 8192)
    assert reopened(path).not_signed_before_s == NOW_S - 120


def test_a_database_of_a_newer_program_is_left_alone_and_told_in_one_line(path: Path) -> None:
    with contextlib.closing(open_database(path)) as database:
        database.execute("PRAGMA user_version=7")
    before = path.read_bytes()
    with pytest.raises(DeploymentError, match="a newer version of investigator made it") as caught:
        open_database(path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_memory_and_disk_are_opened_alike(path: Path) -> None:
    for where in (None, path):
        database = open_database(where)
        assert database.isolation_level is None
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        database.close()
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
    assert path.stat().st_mode & 0o777 == 0o600
