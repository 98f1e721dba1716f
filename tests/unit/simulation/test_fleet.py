"""Simulated agents pass the real gate, one by one, and answer once."""

from __future__ import annotations

import pytest

from investigator.console.condition import compile_target
from investigator.errors import Refused
from investigator.protocol.answer import Assembly, unpack
from investigator.protocol.result import Outcome
from investigator.protocol.token import SecretToken
from investigator.simulation.fleet import Fleet, Once, Ran
from investigator.simulation.population import Population
from scene import PRIVATE, SEALTO, action, operations, signed
from signed import ACTION_ID, ALICE, CAROL, FakeKeyring, sign, weights

SIZE = 40
TOKEN = SecretToken(bytes(range(32)), "{}")


def fleet(found: float = 0.1) -> Fleet:
    crowd = Population(SIZE, secret=b"s", tokens=[TOKEN], heartbeat_s=60, started="2026-11-24T00:00:00Z")
    return Fleet(crowd, FakeKeyring(), weights(alice=1, bob=1, carol=0), answer_bytes=200, found=found)


def answer(of: Fleet, number: int, raw: bytes) -> Outcome | None:
    identity = of.population.identity(number)
    payload = of._judge(number, identity, raw, ACTION_ID)
    if payload is None:
        return None
    head, part = unpack(payload, action=ACTION_ID, agent=identity.id, private_key=PRIVATE)
    outcome = Assembly().add(head, part)
    assert isinstance(outcome, Outcome)
    return outcome


def test_each_answers_once_sealed_and_signed_by_itself() -> None:
    crowd, raw = fleet(), signed(action(sealto=SEALTO))
    told = [answer(crowd, number, raw) for number in range(SIZE)]
    assert [one.state for one in told if one] == ["found" if number % 10 == 0 else "notfound" for number in range(SIZE)]
    assert all(one is not None and len(one.results[0].statistics["simulated"]) == 200 for one in told)
    assert [answer(crowd, number, raw) for number in range(SIZE)] == [None] * SIZE


def test_the_target_is_judged_by_each_on_its_own_facts() -> None:
    crowd = fleet()
    raw = signed(action(target="os='windows'", condition=compile_target("os='windows'")[0]))
    told = [answer(crowd, number, raw) for number in range(SIZE)]
    assert [number for number, one in enumerate(told) if one] == [17, 18, 37, 38]


def test_what_the_gate_refuses_is_refused_by_each_and_what_nobody_signed_is_passed_over() -> None:
    crowd = fleet()
    outcome = answer(crowd, 0, signed(action(), CAROL))
    assert outcome is not None
    assert (outcome.state, outcome.code) == ("refused", "permission")
    assert answer(crowd, 0, b"rubbish") is None


def test_several_operations_have_a_result_each() -> None:
    outcome = answer(fleet(), 1, signed(action(operations=operations("netstat", "file"))))
    assert outcome is not None
    assert len(outcome.results) == 2


def test_a_signature_is_verified_once_good_or_not() -> None:
    keyring = FakeKeyring()
    once = Once(keyring)
    good = sign(b"data", ALICE).encode()
    for _ in range(3):
        assert once.verify(b"data", good, 1_795_500_000).certificate == ALICE
        with pytest.raises(Refused):
            once.verify(b"other", good, 1_795_500_000)
    assert len(keyring.asked) == 2


def test_a_ledger_is_each_agents_own() -> None:
    ran = Ran(20)
    ran.number = 9
    ran.enter("digest")
    for number in range(20):
        ran.number = number
        assert ("digest" in ran) == (number == 9)
    assert "another" not in ran
