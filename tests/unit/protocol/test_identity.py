"""What an agent says is signed with its kind bound in; anything flipped, cut or passed off is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol.identity import (
    FACTS,
    HEARTBEAT,
    OUTCOME,
    SIGNATURE_BYTES,
    BadFrame,
    Identity,
    agent_id,
    open_frame,
    signable,
)

AGENT = Identity(bytes(range(32)))
OTHER = Identity(bytes(range(1, 33)))


@given(st.binary())
def test_a_frame_opens_to_its_body_with_its_key_and_kind(body: bytes) -> None:
    assert open_frame(FACTS, AGENT.frame(FACTS, body), AGENT.public_key) == body


@given(st.binary(max_size=100), st.data())
def test_any_flipped_bit_is_refused(body: bytes, data: st.DataObject) -> None:
    frame = bytearray(AGENT.frame(OUTCOME, body))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BadFrame):
        open_frame(OUTCOME, bytes(frame), AGENT.public_key)


@given(st.binary(), st.binary(max_size=40))
def test_any_bytes_with_any_key_are_refused(frame: bytes, key: bytes) -> None:
    for public in (key, AGENT.public_key):
        with pytest.raises(BadFrame):
            open_frame(FACTS, frame, public)


def test_a_frame_cut_anywhere_or_made_longer_is_refused() -> None:
    frame = AGENT.frame(FACTS, b"body")
    for bad in [frame[:at] for at in range(len(frame))] + [frame + b"x", b"x" + frame]:
        with pytest.raises(BadFrame):
            open_frame(FACTS, bad, AGENT.public_key)


def test_one_kind_never_passes_for_another_nor_one_agent_for_another() -> None:
    frame = AGENT.frame(HEARTBEAT, b"{}")
    for kind, key in ((FACTS, AGENT.public_key), (OUTCOME, AGENT.public_key), (HEARTBEAT, OTHER.public_key)):
        with pytest.raises(BadFrame):
            open_frame(kind, frame, key)


@given(
    st.tuples(st.text("abc 19", max_size=6), st.binary(max_size=12)),
    st.tuples(st.text("abc 19", max_size=6), st.binary(max_size=12)),
)
def test_two_things_never_sign_as_the_same_bytes(one: tuple[str, bytes], other: tuple[str, bytes]) -> None:
    assert (signable(*one) == signable(*other)) == (one == other)


def test_the_signed_bytes_are_those_that_the_protocol_names() -> None:
    assert signable("facts", b"{}") == b"investigator/1 5 facts 2 {}"
    assert len(AGENT.frame(FACTS, b"")) == SIGNATURE_BYTES


def test_an_id_is_the_keys_and_a_token_of_a_subject() -> None:
    assert AGENT.id == agent_id(AGENT.public_key) != OTHER.id
    assert re.fullmatch(r"[a-z2-7]{26}", AGENT.id)


def test_a_key_survives_its_private_bytes_and_new_ones_differ() -> None:
    new = Identity.generate()
    assert Identity(new.private_bytes).id == new.id
    assert Identity.generate().id != new.id
