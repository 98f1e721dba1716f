"""Statements: read strictly, each as itself, and believed only with the weight for `enrol`."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput, Refused
from investigator.protocol.acl import parse_acl
from investigator.protocol.action import parse_action
from investigator.protocol.cancel import parse_cancel
from investigator.protocol.envelope import Envelope
from investigator.protocol.identity import Identity
from investigator.protocol.statement import (
    Pin,
    Statement,
    Token,
    Unenrol,
    decode_statement_envelope,
    encode_statement,
    judge_statement,
    key_bytes,
    parse_statement,
)
from signed import ALICE, BOB, NOW_S, FakeKeyring, fingerprint, sign

NOW = datetime.fromtimestamp(NOW_S, UTC)
WHO = Identity(b"7" * 32)
KEY = base64.b64encode(WHO.public_key).decode()
STATEMENTS: list[Statement] = [
    Token(key=KEY, count=3, created=NOW, expires=NOW + timedelta(days=7)),
    Pin(agent=WHO.id, key=KEY, name="db-1", created=NOW),
    Unenrol(agent=WHO.id, created=NOW, reason="stolen"),
    Unenrol(token=KEY, created=NOW),
]


def acl(**entries):
    people = {"alice": {"fingerprint": ALICE, "weight": 1}, "bob": {"fingerprint": BOB, "weight": 1}}
    document = {"default": {"minimumweight": 1, "investigators": people}, **entries}
    return parse_acl(orjson.dumps(document), modules=[], keys=[ALICE, BOB])


def signed(statement, *signers):
    text = encode_statement(statement)
    return Envelope(action=text.decode(), pgpsignatures=tuple(sign(text, signer) for signer in signers))


@pytest.mark.parametrize("statement", STATEMENTS)
def test_what_is_written_is_read_as_the_same_and_as_no_other_kind(statement) -> None:
    text = encode_statement(statement)
    assert parse_statement(text) == statement
    for other in (parse_action, parse_cancel):
        with pytest.raises(BadInput):
            other(text)


def test_a_statement_with_the_weight_for_enrol_counts_whenever_it_was_signed() -> None:
    envelope = signed(STATEMENTS[0], ALICE)
    for later_s in (0, 86_400 * 365 * 20):
        stated = judge_statement(envelope, keyring=FakeKeyring(), acl=acl(), now_s=NOW_S + later_s)
        assert stated.statement == STATEMENTS[0]
        assert stated.signers == (ALICE,)


def test_the_entry_enrol_replaces_the_default() -> None:
    people = {"alice": {"fingerprint": ALICE, "weight": 1}, "bob": {"fingerprint": BOB, "weight": 1}}
    two = acl(enrol={"minimumweight": 2, "investigators": people})
    with pytest.raises(Refused, match="insufficient signatures weight"):
        judge_statement(signed(STATEMENTS[1], ALICE), keyring=FakeKeyring(), acl=two, now_s=NOW_S)
    judge_statement(signed(STATEMENTS[1], ALICE, BOB), keyring=FakeKeyring(), acl=two, now_s=NOW_S)


def test_nobody_a_stranger_and_a_signature_of_something_else_count_nothing() -> None:
    good = signed(STATEMENTS[1], ALICE)
    for signatures in ((), (sign(good.signed_bytes, fingerprint("stranger")),), (sign(b"other", ALICE),)):
        with pytest.raises(Refused):
            judge_statement(
                Envelope(action=good.action, pgpsignatures=signatures), keyring=FakeKeyring(), acl=acl(), now_s=NOW_S
            )


@pytest.mark.parametrize(
    "change",
    [
        {"type": "action"},
        {"type": "pin"},
        {"type": None},
        {"key": KEY[:-2]},
        {"count": 0},
        {"count": "3"},
        {"expires": "2126-11-24T03:00:00Z"},
        {"expires": "2020-11-24T03:00:00Z"},
        {"created": "2026-11-24T03:00:00"},
        {"more": 1},
        {"names": ""},
    ],
)
def test_a_token_is_read_strictly(change) -> None:
    document = orjson.loads(encode_statement(STATEMENTS[0])) | change
    with pytest.raises(BadInput):
        parse_statement(orjson.dumps(document))


def test_a_pin_is_of_the_key_that_the_id_is_derived_from() -> None:
    other = base64.b64encode(Identity(b"8" * 32).public_key).decode()
    with pytest.raises(BadInput, match="not the id of this key"):
        parse_statement(encode_statement(Pin(agent=WHO.id, key=other, name="db-1", created=NOW)))


def test_an_unenrolment_is_of_an_agent_or_of_a_token() -> None:
    for agent, token in (("", ""), (WHO.id, KEY), ("db-1", ""), ("", "x")):
        with pytest.raises(BadInput):
            parse_statement(encode_statement(Unenrol(agent=agent, token=token, created=NOW)))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_statement_or_bad_input(raw: bytes) -> None:
    for read in (parse_statement, decode_statement_envelope):
        with pytest.raises(BadInput):
            read(raw)


@given(st.text(max_size=60))
def test_a_key_has_one_text(text: str) -> None:
    raw = key_bytes(text)
    assert raw == b"" or base64.b64encode(raw).decode() == text


@given(st.integers(0, len(encode_statement(STATEMENTS[1])) - 1), st.integers(0, 255))
def test_an_altered_statement_has_no_good_signature(place: int, byte: int) -> None:
    envelope = signed(STATEMENTS[1], ALICE)
    altered = bytearray(envelope.signed_bytes)
    altered[place] = byte
    text = altered.decode("latin-1")
    if text.encode() == envelope.signed_bytes:
        return
    with pytest.raises((Refused, BadInput)):
        judge_statement(
            Envelope(action=text, pgpsignatures=envelope.pgpsignatures), keyring=FakeKeyring(), acl=acl(), now_s=NOW_S
        )
