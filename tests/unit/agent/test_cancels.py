"""Cancels that wait for their action: known after a restart, capped, and nobody pushes out another's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from investigator.agent import cancels as keeping
from investigator.agent.cancels import Cancels
from investigator.agent.database import open_database
from investigator.errors import DeploymentError
from investigator.protocol.cancel import Cancellation, judge_cancel
from signed import ACTION_ID, ALICE, BOB, CAROL, NOW_S, cancelling, digest_of, host, written


def cancel_of(action: bytes, *signers: str, about: bytes | None = None) -> Cancellation:
    raw = cancelling(action, *(signers or (ALICE,)), about=about)
    verdict = judge_cancel(raw, host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(verdict, Cancellation)
    return verdict


def numbered(number: int) -> bytes:
    return written(name=f"n{number}")


@pytest.fixture
def kept() -> Iterator[Cancels]:
    with contextlib.closing(open_database(None)) as database:
        yield Cancels(database)


def test_a_cancel_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "agent.sqlite"
    cancel = cancel_of(written())
    with contextlib.closing(open_database(path)) as database:
        Cancels(database).keep(cancel)
        with contextlib.closing(open_database(path)) as other:  # as after SIGKILL: the first was never closed
            assert Cancels(other).of(digest_of(written())) == [cancel.bare]


def test_what_is_kept_goes_by_the_actions_digest(kept: Cancels) -> None:
    kept.keep(cancel_of(numbered(1)))
    assert kept.of(digest_of(numbered(2))) == []
    kept.keep(cancel_of(numbered(2)))
    kept.forget(digest_of(numbered(1)))
    assert kept.of(digest_of(numbered(1))) == []
    assert len(kept.of(digest_of(numbered(2)))) == 1


def test_the_same_cancel_is_kept_once_however_it_is_wrapped(kept: Cancels) -> None:
    for _ in range(3):
        kept.keep(cancel_of(written()))
    kept.keep(cancel_of(written(), ALICE, ALICE))
    assert len(kept.of(digest_of(written()))) == 1
    kept.keep(cancel_of(written(), ALICE, BOB))
    assert len(kept.of(digest_of(written()))) == 2


def test_whoever_signs_thousands_pushes_out_only_their_own(kept: Cancels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_KEPT_PER_SIGNER", 3)
    kept.keep(cancel_of(numbered(0), ALICE))
    for number in range(1, 9):
        kept.keep(cancel_of(numbered(number), CAROL))
    assert [bool(kept.of(digest_of(numbered(number)))) for number in range(9)] == [True] + [False] * 5 + [True] * 3


def test_all_together_are_capped_and_the_oldest_goes(kept: Cancels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MAX_KEPT", 2)
    for number, signer in enumerate((ALICE, BOB, CAROL)):
        kept.keep(cancel_of(numbered(number), signer))
    assert [bool(kept.of(digest_of(numbered(number)))) for number in range(3)] == [False, True, True]


def test_a_database_that_goes_bad_is_never_taken_for_an_empty_one() -> None:
    database = open_database(None)
    kept = Cancels(database)
    database.close()
    for ask in (lambda: kept.of("d"), lambda: kept.forget("d"), lambda: kept.keep(cancel_of(written()))):
        with pytest.raises(DeploymentError):
            ask()
