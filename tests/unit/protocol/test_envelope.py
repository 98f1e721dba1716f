"""An envelope is read for its shape alone; what is signed is the text of the action, byte for byte."""

import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.protocol.envelope import MAX_ENVELOPE_BYTES, MAX_SIGNATURES, Envelope, decode_envelope

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.binary())
def test_any_bytes_are_an_envelope_or_bad_input(raw: bytes) -> None:
    with pytest.raises(BadInput, match=r"^envelope: "):
        decode_envelope(raw)


@given(TEXT, st.lists(TEXT, max_size=MAX_SIGNATURES))
def test_the_signed_bytes_arrive_as_they_were_signed(action: str, signatures: list[str]) -> None:
    arrived = decode_envelope(Envelope(action=action, pgpsignatures=tuple(signatures)).encode())
    assert arrived.signed_bytes == action.encode()
    assert arrived.digest == hashlib.sha256(action.encode()).hexdigest()
    assert list(arrived.pgpsignatures) == signatures


def test_the_digest_is_of_the_text_however_the_envelope_is_written() -> None:
    plain = b'{"v":1,"action":"{}","pgpsignatures":[]}'
    other = b' { "pgpsignatures" : [ "x" ] , "action" : "\\u007b}" }'
    assert decode_envelope(plain).digest == decode_envelope(other).digest


@pytest.mark.parametrize(
    "raw",
    [
        b'{"v":2,"action":"{}"}',
        b'{"action":{}}',
        b'{"v":1}',
        b'{"action":"{}","pgpsignatures":"x"}',
        b'{"action":"{}","pgpsignatures":[1]}',
        b'{"action":"{}","pgpsignatures":null}',
        b'{"action":"{}","action":"[]"}',
        b'{"action":"{}","Action":"[]"}',
        b'{"action":"\\ud800"}',
        b'["{}"]',
        orjson.dumps({"action": "{}", "pgpsignatures": ["x"] * (MAX_SIGNATURES + 1)}),
    ],
)
def test_another_shape_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput):
        decode_envelope(raw)


def test_what_agents_do_not_take_is_not_sent_either() -> None:
    room = MAX_ENVELOPE_BYTES - len(Envelope(action="").encode())
    full = Envelope(action="x" * room).encode()
    assert decode_envelope(full).action == "x" * room
    with pytest.raises(BadInput) as caught:
        Envelope(action="x" * (room + 1)).encode()
    assert "-z" in caught.value.hint
    with pytest.raises(BadInput, match="at most"):
        decode_envelope(full + b" ")
