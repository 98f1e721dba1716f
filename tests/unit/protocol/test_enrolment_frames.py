"""Requests and answers of enrolment, as they come from the wire."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput, Refused
from investigator.protocol.enrolment import (
    Answer,
    Request,
    Told,
    decode_answer,
    decode_request,
    decode_told,
    encode_answer,
    encode_request,
    encode_told,
    request_mark,
)
from investigator.protocol.identity import BadFrame, Identity
from signed import NOW_S

AGENT, OTHER = Identity(b"a" * 32), Identity(b"b" * 32)
REQUEST = Request(
    key=base64.b64encode(AGENT.public_key).decode(), user="U" + "A" * 55, name="db-1", machine=".", t=int(NOW_S)
)


def test_a_request_is_read_as_it_was_written() -> None:
    frame = encode_request(AGENT, REQUEST)
    assert decode_request(frame) == REQUEST
    assert REQUEST.agent == AGENT.id


def test_a_request_with_anothers_key_is_refused() -> None:
    with pytest.raises(BadFrame):
        decode_request(encode_request(OTHER, REQUEST))


@pytest.mark.parametrize(
    "change",
    [
        {"user": "A" * 56},
        {"user": "U1"},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 256},
        {"machine": "somewhere"},
        {"key": "AA=="},
    ],
)
def test_what_is_wrong_in_a_request_is_refused(change) -> None:
    with pytest.raises((BadInput, Refused)):
        decode_request(encode_request(AGENT, msgspec.structs.replace(REQUEST, **change)))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_request_or_refused(raw: bytes) -> None:
    with pytest.raises((BadInput, Refused)):
        decode_request(raw)


@given(st.integers(0, 1000), st.integers(1, 255))
def test_an_altered_request_is_refused(place: int, by: int) -> None:
    frame = bytearray(encode_request(AGENT, REQUEST))
    frame[place % len(frame)] ^= by
    with pytest.raises((BadInput, Refused)):
        decode_request(bytes(frame))


def test_an_answer_is_for_the_request_that_it_names() -> None:
    frame, other = encode_request(AGENT, REQUEST), encode_request(OTHER, REQUEST)
    answer = Answer(request=request_mark(frame), state="enrolled", jwt="ey")
    assert decode_answer(encode_answer(answer), to=frame) == answer
    with pytest.raises(BadFrame):
        decode_answer(encode_answer(answer), to=other)


@given(st.binary(max_size=100))
def test_any_bytes_are_an_answer_or_bad_input(raw: bytes) -> None:
    with pytest.raises(BadInput):
        decode_answer(raw, to=b"")
    with pytest.raises(BadInput):
        decode_told(raw)


def test_what_investigators_are_told_comes_back() -> None:
    told = Told(ok=True, said="done", policy="token")
    assert decode_told(encode_told(told)) == told
