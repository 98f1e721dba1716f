"""What a token lets an agent prove, and what nobody else can make of it."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput, Refused
from investigator.protocol.identity import BadFrame, Identity
from investigator.protocol.statement import Token
from investigator.protocol.token import (
    Proof,
    SecretToken,
    check_proof,
    check_succession,
    decode_token,
    machine_mark,
    prove,
    same_machine,
    succeed,
)
from signed import NOW_S

NOW = datetime.fromtimestamp(NOW_S, UTC)
SECRET = SecretToken(b"t" * 32, '{"v":1,"action":"…","pgpsignatures":[]}')
TOKEN = Token(key=SECRET.key, count=2, created=NOW, expires=NOW + timedelta(days=7), names="db-*")
AGENT, OTHER = Identity(b"a" * 32), Identity(b"b" * 32)
MACHINE = machine_mark("4c4c", "1234-5678")


def text(identity: Identity) -> str:
    return base64.b64encode(identity.public_key).decode()


def proof(**changes) -> Proof:
    asked = {"key": AGENT.public_key, "name": "db-1", "machine": MACHINE, "now_s": int(NOW_S) + 60, **changes}
    return prove(SECRET, **asked)


def test_an_agent_with_the_token_proves_its_key_its_name_and_its_machine() -> None:
    claim = check_proof(proof(), TOKEN, key=text(AGENT), name="db-1")
    assert (claim.key, claim.name, claim.machine) == (text(AGENT), "db-1", MACHINE)


def test_a_proof_is_of_one_agent_one_name_and_the_tokens_time() -> None:
    good = proof()
    for wrong, key, name in [
        (good, text(OTHER), "db-1"),
        (good, text(AGENT), "db-2"),
        (proof(name="web-1"), text(AGENT), "web-1"),
        (proof(now_s=int(NOW_S) + 8 * 86_400), text(AGENT), "db-1"),
        (proof(now_s=int(NOW_S) - 3 * 86_400), text(AGENT), "db-1"),
    ]:
        with pytest.raises(Refused):
            check_proof(wrong, TOKEN, key=key, name=name)


def test_another_tokens_key_proves_nothing() -> None:
    stranger = SecretToken(b"s" * 32, SECRET.statement)
    made = prove(stranger, key=AGENT.public_key, name="db-1", machine=MACHINE, now_s=int(NOW_S) + 60)
    with pytest.raises(BadFrame):
        check_proof(made, TOKEN, key=text(AGENT), name="db-1")


@given(st.integers(0, 500), st.integers(1, 255))
def test_an_altered_claim_proves_nothing(place: int, by: int) -> None:
    good = proof()
    raw = bytearray(good.claim.encode())
    raw[place % len(raw)] ^= by
    with pytest.raises(Refused):
        check_proof(msgspec.structs.replace(good, claim=raw.decode("latin-1")), TOKEN, key=text(AGENT), name="db-1")


def test_a_signature_of_another_kind_is_no_proof() -> None:
    good = proof()
    other = base64.b64encode(Identity(SECRET.private).sign("facts", good.claim.encode())).decode()
    with pytest.raises(BadFrame):
        check_proof(msgspec.structs.replace(good, signature=other), TOKEN, key=text(AGENT), name="db-1")


def test_a_token_is_one_word_and_comes_back_as_it_was() -> None:
    word = SECRET.encode()
    assert len(word.split()) == 1
    assert decode_token(f"  {word}\n") == SECRET
    assert "private" not in repr(SECRET)


@given(st.text(max_size=120))
def test_any_text_is_a_token_or_bad_input(word: str) -> None:
    for each in (word, f"mig-token-1.{word}", f"mig-token-1.AAAA.{word}"):
        with pytest.raises(BadInput):
            decode_token(each)


@given(st.integers(0, len(SECRET.encode()) - 1))
def test_a_token_that_was_cut_off_is_none_or_has_no_whole_statement(length: int) -> None:
    word = SECRET.encode()[:length]
    try:
        got = decode_token(word)
    except BadInput:
        return
    assert got.statement != SECRET.statement


def test_a_succession_is_the_old_keys_word_for_one_new_key() -> None:
    signed = succeed(AGENT, OTHER, machine=MACHINE, now_s=int(NOW_S))
    assert check_succession(signed, key=text(OTHER)) == AGENT.id
    with pytest.raises(BadFrame):
        check_succession(signed, key=text(AGENT))
    forged = msgspec.structs.replace(succeed(OTHER, OTHER, machine="", now_s=1), text=signed.text)
    with pytest.raises(BadFrame):
        check_succession(forged, key=text(OTHER))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (MACHINE, MACHINE, True),
        (machine_mark("4c4c", ""), MACHINE, True),
        (machine_mark("", ""), MACHINE, True),
        ("", MACHINE, True),
        (machine_mark("4c4c", "9999"), MACHINE, False),
        (machine_mark("4d4d", ""), MACHINE, False),
        (machine_mark("4C4C\n", "1234-5678"), MACHINE, True),
    ],
)
def test_machines_differ_in_what_is_known_of_both(one: str, other: str, same: bool) -> None:
    assert same_machine(one, other) is same
    assert same_machine(other, one) is same


def test_a_machine_does_not_tell_its_id() -> None:
    assert "4c4c" not in machine_mark("4c4c", "")
