"""How long a connection waits before it tries again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker import backoff
from investigator.broker.backoff import MAX_PAUSE_S, MAX_PAUSE_UNANSWERED_S, Backoff


@pytest.fixture
def longest(monkeypatch):
    """Pauses are as long as they may be."""
    monkeypatch.setattr(backoff._random, "uniform", lambda _, most_s: most_s)


def test_pauses_double_up_to_a_bound(longest):
    waiting = Backoff()
    assert [waiting.pause_s() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, MAX_PAUSE_S, MAX_PAUSE_S]


def test_the_bound_is_higher_while_a_server_is_there_and_does_not_answer(longest):
    waiting = Backoff()
    pauses_s = []
    for _ in range(8):
        waiting.failed(unanswered=True)
        pauses_s.append(waiting.pause_s())
    assert pauses_s == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, MAX_PAUSE_UNANSWERED_S, MAX_PAUSE_UNANSWERED_S]
    waiting.failed(unanswered=False)
    assert waiting.pause_s() == MAX_PAUSE_S


def test_an_attempt_may_take_longer_after_one_that_was_not_answered():
    waiting = Backoff()
    assert waiting.patience_s() == 10.0
    for expected_s in (20.0, 20.0):
        waiting.failed(unanswered=True)
        assert waiting.patience_s() == expected_s
    waiting.failed(unanswered=False)
    assert waiting.patience_s() == 10.0


def test_after_a_reset_pauses_are_short_again(longest):
    waiting = Backoff()
    for _ in range(20):
        waiting.failed(unanswered=True)
        waiting.pause_s()
    waiting.reset()
    assert (waiting.pauses, waiting.pause_s(), waiting.patience_s()) == (0, 0.5, 10.0)


@given(st.lists(st.booleans(), max_size=100))
def test_whatever_fails_a_pause_is_never_nothing_nor_beyond_its_bound(failures):
    waiting = Backoff()
    for number, unanswered in enumerate(failures):
        assert waiting.pauses == number
        waiting.failed(unanswered=unanswered)
        assert 0.02 <= waiting.pause_s() <= (MAX_PAUSE_UNANSWERED_S if unanswered else MAX_PAUSE_S)


def test_two_that_lost_the_same_server_do_not_come_back_at_the_same_time():
    assert Backoff().pause_s() != Backoff().pause_s()


def test_a_server_that_is_gone_for_a_year_is_still_tried(longest):
    waiting = Backoff()
    waiting.pauses = 10_000_000
    waiting._unanswered = 10_000_000
    assert waiting.pause_s() == MAX_PAUSE_UNANSWERED_S
