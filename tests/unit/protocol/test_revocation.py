"""A revocation on the wire: one packet, under an id that is derived from it."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.protocol.action import is_action_id
from investigator.protocol.kinds import REVOCATION, claimed_kind
from investigator.protocol.revocation import (
    MAX_REVOCATION_BYTES,
    decode_revocation,
    encode_revocation,
    revocation_id,
    revocation_subject,
)


@given(st.binary(min_size=1, max_size=2000))
def test_a_packet_arrives_as_it_was_sent(packet: bytes) -> None:
    raw = encode_revocation(packet)
    assert claimed_kind(raw) == REVOCATION
    assert decode_revocation(raw, came_under=revocation_id(packet)) == packet


def test_agents_hear_it_on_the_subject_of_actions_for_all() -> None:
    subject = revocation_subject(b"packet")
    assert subject.startswith("mig.action.all.")
    assert is_action_id(subject.rpartition(".")[2])


def test_one_that_comes_under_another_id_is_refused() -> None:
    with pytest.raises(BadInput, match="another id"):
        decode_revocation(encode_revocation(b"packet"), came_under=revocation_id(b"other"))


def test_the_largest_fits_and_more_does_not() -> None:
    largest = b"x" * MAX_REVOCATION_BYTES
    assert decode_revocation(encode_revocation(largest), came_under=revocation_id(largest)) == largest
    with pytest.raises(BadInput):
        encode_revocation(largest + b"x")
    over = orjson.dumps({"v": 1, "revocation": base64.b64encode(largest + b"x").decode()})
    with pytest.raises(BadInput, match="bytes"):
        decode_revocation(over, came_under=revocation_id(largest + b"x"))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"v":1}',
        b'{"v":2,"revocation":"AAAA"}',
        b'{"v":1,"revocation":""}',
        b'{"v":1,"revocation":"no base64!"}',
        b'{"v":1,"revocation":"AAAA","revocation":"AAAB"}',
        b'{"v":1,"Revocation":"AAAA"}',
        b'{"v":1,"revocation":"AAAA","more":1}',
        b'{"v":1,"revocation":"' + b"A" * 100_000 + b'"}',
    ],
)
def test_what_is_none_is_bad_input(raw: bytes) -> None:
    with pytest.raises(BadInput, match=r"^revocation: "):
        decode_revocation(raw, came_under=revocation_id(base64.b64decode("AAAA")))


@given(st.binary())
def test_any_bytes_are_bad_input(raw: bytes) -> None:
    with pytest.raises(BadInput):
        decode_revocation(raw, came_under="0" * 32)
