"""Facts and heartbeats: an agent's own words, and nobody else's."""

import base64
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput, Refused
from investigator.protocol.audit import HEAD_DIGITS
from investigator.protocol.facts import (
    MAX_FACTS_BYTES,
    MAX_HEARTBEAT_BYTES,
    Heartbeat,
    decode_facts,
    decode_heartbeat,
    encode_facts,
    encode_heartbeat,
)
from investigator.protocol.identity import FACTS, HEARTBEAT, Identity

AGENT, OTHER = Identity(bytes(range(32))), Identity(bytes(range(1, 33)))


def key(of: Identity = AGENT) -> str:
    return base64.b64encode(of.public_key).decode()


def frame(by: Identity = AGENT, kind: str = FACTS, **changes: Any) -> bytes:
    body = {"key": key(), "row": {"id": AGENT.id}, "heartbeat_s": 60, **changes}
    return by.frame(kind, orjson.dumps(body))


def test_facts_arrive_as_they_were_signed_with_the_digest_that_heartbeats_name() -> None:
    row = {"id": AGENT.id, "name": "web-1", "tags": {"operator": "IT"}, "pid": 7}
    sent, digest = encode_facts(AGENT, row, heartbeat_s=30)
    facts, found = decode_facts(sent, agent=AGENT.id)
    assert (facts.row, facts.heartbeat_s, facts.public_key, found) == (row, 30, AGENT.public_key, digest)
    assert encode_facts(AGENT, {**row, "pid": 8}, heartbeat_s=30)[1] != digest


@given(st.binary())
def test_any_bytes_are_no_facts_and_no_heartbeat(raw: bytes) -> None:
    for alleged in (raw, bytes(64) + raw):
        with pytest.raises((BadInput, Refused)):
            decode_facts(alleged, agent=AGENT.id)
        with pytest.raises((BadInput, Refused)):
            decode_heartbeat(alleged, AGENT.public_key)


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    for sent in (frame(), encode_heartbeat(AGENT, Heartbeat(t=1, f="0" * 16))):
        bad = bytearray(sent)
        bad[data.draw(st.integers(0, len(bad) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        with pytest.raises((BadInput, Refused)):
            decode_facts(bytes(bad), agent=AGENT.id) if sent[64:].startswith(b'{"key') else decode_heartbeat(
                bytes(bad), AGENT.public_key
            )


@pytest.mark.parametrize(
    "sent",
    [
        frame(OTHER),
        frame(OTHER, key=key(OTHER)),
        frame(OTHER, key=key(OTHER), row={"id": OTHER.id}),
        frame(row={"id": OTHER.id}),
        frame(row={}),
        frame(kind=HEARTBEAT),
        frame(key=""),
        frame(key="é"),
        frame(key=key() + "AAAA"),
        frame(row=[]),
        frame(heartbeat_s=0),
        frame(heartbeat_s=-1),
        frame(heartbeat_s=1e9),
        frame(heartbeat_s="60"),
        frame(row={"id": AGENT.id, "name": "x" * MAX_FACTS_BYTES}),
    ],
)
def test_facts_that_are_another_agents_or_make_no_sense_are_refused(sent: bytes) -> None:
    decode_facts(frame(), agent=AGENT.id)
    with pytest.raises((BadInput, Refused)):
        decode_facts(sent, agent=AGENT.id)


def test_an_agent_does_not_send_what_consoles_do_not_take() -> None:
    with pytest.raises(BadInput, match="at most"):
        encode_facts(AGENT, {"id": AGENT.id, "name": "x" * MAX_FACTS_BYTES}, heartbeat_s=60)


def test_the_largest_heartbeat_stays_within_its_size_signature_included() -> None:
    heartbeat = Heartbeat(t=2**33, f="f" * 16, s=2**45, r=2**32, n=2**40, h="a" * HEAD_DIGITS, x=True)
    sent = encode_heartbeat(AGENT, heartbeat)
    assert len(sent) <= MAX_HEARTBEAT_BYTES
    assert decode_heartbeat(sent, AGENT.public_key) == heartbeat


def test_a_heartbeat_of_another_key_or_kind_is_refused() -> None:
    sent = encode_heartbeat(AGENT, Heartbeat(t=1, f="0" * 16))
    with pytest.raises(Refused):
        decode_heartbeat(sent, OTHER.public_key)
    with pytest.raises(Refused):
        decode_heartbeat(AGENT.frame(FACTS, sent[64:]), AGENT.public_key)
    with pytest.raises(BadInput):
        decode_heartbeat(AGENT.frame(HEARTBEAT, b'{"t":1,"f":"' + b"0" * 300 + b'"}'), AGENT.public_key)


@pytest.mark.parametrize(
    "changes", [{"n": -1}, {"n": 2**53 + 1}, {"n": 1.5}, {"h": "a" * 23}, {"h": "A" * 24}, {"h": "\n"}]
)
def test_a_head_of_the_audit_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    body = orjson.dumps({"t": 1, "f": "0" * 16, "n": 7, "h": "a" * 24, **changes})
    with pytest.raises(BadInput):
        decode_heartbeat(AGENT.frame(HEARTBEAT, body), AGENT.public_key)
