"""What is asked of a stream in headers, and what it answers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker.problems import MessageTooLargeError, NotLastError, StreamFullError
from investigator.broker.pub_ack import publish_headers, stored_at
from investigator.errors import BrokerError


def refusal(code, said="said so"):
    return b'{"error":{"code":400,"err_code":%d,"description":"%b"},"stream":"S","seq":0}' % (code, said.encode())


@pytest.mark.parametrize(
    ("ttl_s", "last", "more"),
    [
        (None, None, {}),
        (0.2, None, {"Nats-TTL": "1"}),
        (60.1, 0, {"Nats-TTL": "61", "Nats-Expected-Last-Subject-Sequence": "0"}),
        (None, 7, {"Nats-Expected-Last-Subject-Sequence": "7"}),
    ],
)
def test_a_message_asks_for_what_was_said_and_nothing_else(ttl_s, last, more):
    assert publish_headers("id", ttl_s=ttl_s, last=last) == {"Nats-Msg-Id": "id"} | more


def test_a_stored_message_has_its_sequence_also_when_it_was_there_before():
    assert stored_at("a", 1, b'{"stream":"S","seq":42}') == 42
    assert stored_at("a", 1, b'{"stream":"S","seq":42,"duplicate":true}') == 42


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (10054, MessageTooLargeError),
        (10077, StreamFullError),
        (10023, StreamFullError),
        (10047, StreamFullError),
        (10071, NotLastError),
        (10003, BrokerError),
    ],
)
def test_why_it_is_not_stored_is_an_error_of_its_kind(code, kind):
    with pytest.raises(BrokerError, match=r"^mig\.x is not stored: said so") as caught:
        stored_at("mig.x", 5, refusal(code))
    assert type(caught.value) is kind


@pytest.mark.parametrize(("said", "last"), [("wrong last sequence: 9", 9), ("wrong last sequence", None)])
def test_which_message_is_the_last_is_told_where_the_server_tells(said, last):
    with pytest.raises(NotLastError) as caught:
        stored_at("mig.x", 5, refusal(10071, said))
    assert caught.value.last == last


@given(
    st.one_of(st.binary(), st.sampled_from([b"[]", b"null", b"{", b'{"seq":"x"}', b'{"error":1}', b'{"seq":-1e400}']))
)
def test_whatever_comes_instead_of_an_answer_is_a_sequence_or_one_clear_error(answer):
    with contextlib.suppress(BrokerError):
        assert isinstance(stored_at("mig.x", 5, answer), int)
