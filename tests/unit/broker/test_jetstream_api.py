"""What a server of streams answers: what was asked for, or one clear error."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker.jetstream_api import ApiAnswer, read_answer
from investigator.broker.problems import JetStreamError
from investigator.errors import BrokerError


class Counted(ApiAnswer):
    count: int = 0


def test_an_answer_is_read_as_what_was_asked_for():
    assert read_answer(b'{"type":"io.nats.jetstream","count":3,"more":[1]}', "MIG_RESULTS", Counted).count == 3


def test_what_the_server_will_not_do_is_an_error_with_its_number():
    said = b'{"error":{"code":404,"err_code":10059,"description":"stream not found"}}'
    with pytest.raises(JetStreamError, match=r"^stream MIG_RESULTS: stream not found$") as caught:
        read_answer(said, "MIG_RESULTS", Counted)
    assert caught.value.number == 10059


@given(st.one_of(st.binary(), st.sampled_from([b"[]", b"null", b'{"count":"x"}', b'{"error":7}', b'{"error":{}}'])))
def test_whatever_comes_instead_is_read_or_one_clear_error(answer):
    with contextlib.suppress(BrokerError):
        assert isinstance(read_answer(answer, "MIG_RESULTS", Counted), Counted)
