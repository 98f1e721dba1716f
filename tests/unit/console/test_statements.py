"""Statements that a console has heard: verified once for as long as its rules stay, and again when they change."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from investigator.console.statements import Kept, Statements
from investigator.errors import BadInput, Refused
from investigator.protocol.acl import parse_acl
from investigator.protocol.envelope import Envelope
from investigator.protocol.identity import Identity
from investigator.protocol.statement import Pin, Statement, Token, encode_statement
from investigator.protocol.token import Proof, SecretToken, prove
from signed import ALICE, BOB, MALLORY, NOW_S, FakeKeyring, sign

NOW = datetime.fromtimestamp(NOW_S, UTC)
A = Identity(b"a" * 32)
KEY = base64.b64encode(A.public_key).decode()
PIN = Pin(agent=A.id, key=KEY, name="db-1", created=NOW)


@dataclass
class Keys(FakeKeyring):
    verified: list[bytes] = field(default_factory=list)

    def verify(self, data: bytes, signature: bytes, now: int, *, max_age_s: int | None = None) -> Any:
        self.verified.append(data)
        return super().verify(data, signature, now, max_age_s=max_age_s)

    def certificates(self, now: int) -> list[Any]:
        return [
            SimpleNamespace(fingerprint=each, revoked="", expires=None, signing_keys=(each,)) for each in self.trusted
        ]


def rules(*trusted: str) -> Any:
    people = {each: {"fingerprint": each, "weight": 1} for each in trusted}
    acl = parse_acl(
        orjson.dumps({"default": {"minimumweight": 1, "investigators": people}}), modules=[], keys=list(trusted)
    )
    return SimpleNamespace(keyring=Keys(trusted), acl=acl)


def envelope(statement: Statement, signer: str = ALICE) -> bytes:
    text = encode_statement(statement)
    return Envelope(action=text.decode(), pgpsignatures=(sign(text, signer),)).encode()


def kept(statements: Statements) -> list[Kept]:
    return list(statements.changed.values())


def test_what_was_judged_once_is_not_verified_again_while_the_rules_stay() -> None:
    first = Statements(rules(ALICE), [], now_s=NOW_S)
    first.hear(envelope(PIN))
    first.hear(envelope(PIN, MALLORY))
    assert first.rulings().owner("db-1") == A.id
    (problem,) = first.problems()
    assert "not trusted" in problem
    same = rules(ALICE)
    again = Statements(same, kept(first), now_s=NOW_S + 86_400)
    assert again.rulings().owner("db-1") == A.id
    assert again.problems() == [problem]
    assert same.keyring.verified == []
    assert again.changed == {}


def test_when_the_rules_change_all_are_judged_anew() -> None:
    first = Statements(rules(ALICE), [], now_s=NOW_S)
    first.hear(envelope(PIN))
    first.rulings()
    without = Statements(rules(BOB), kept(first), now_s=NOW_S)
    assert without.rulings().owner("db-1") == ""
    back = Statements(rules(ALICE), kept(without), now_s=NOW_S)
    assert back.rulings().owner("db-1") == A.id, "what a broker does not send any more is still here"


def test_where_the_rules_are_broken_what_was_judged_before_stands_and_nothing_new_counts() -> None:
    first = Statements(rules(ALICE), [], now_s=NOW_S)
    first.hear(envelope(PIN))
    first.hear(envelope(PIN, MALLORY))
    first.rulings()
    broken = Statements(None, kept(first), now_s=NOW_S)
    broken.hear(envelope(Pin(agent=A.id, key=KEY, name="db-2", created=NOW + timedelta(days=1))))
    rulings = broken.rulings()
    assert (rulings.owner("db-1"), rulings.owner("db-2")) == (A.id, "")
    assert len(broken.problems()) == 2
    assert broken.changed == {}


def test_the_token_of_a_proof_is_what_somebody_entitled_signed() -> None:
    secret = SecretToken(b"t" * 32, "")
    token = Token(key=secret.key, count=1, created=NOW, expires=NOW + timedelta(days=1))

    def proof(statement: str) -> Proof:
        return prove(SecretToken(b"t" * 32, statement), key=A.public_key, name="db-1", machine="", now_s=int(NOW_S))

    statements = Statements(rules(ALICE), [], now_s=NOW_S)
    assert statements.token_of(proof(envelope(token).decode())) == token
    with pytest.raises(Refused, match="not trusted"):
        statements.token_of(proof(envelope(token, MALLORY).decode()))
    with pytest.raises(BadInput, match="of no token"):
        statements.token_of(proof(envelope(PIN).decode()))
    with pytest.raises(Refused):
        statements.token_of(proof("rubbish"))


def test_a_flood_of_statements_stops_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("investigator.console.statements.MAX_KEPT", 3)
    statements = Statements(cast(Any, rules(ALICE)), [], now_s=NOW_S)
    for number in range(5):
        statements.hear(b"%d" % number)
    statements.hear(envelope(PIN))
    assert statements.rulings().owner("db-1") == ""
    assert len(statements.changed) == 3
