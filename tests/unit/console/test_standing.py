"""Who is who: proofs, first sights, conflicts, and what an investigator signs about them."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.console.checks import Claims, check
from investigator.console.inventory import Host
from investigator.console.standing import Pinned, Policy, Register, Standing
from investigator.errors import Refused
from investigator.protocol.envelope import Envelope
from investigator.protocol.facts import decode_facts, encode_facts
from investigator.protocol.identity import Identity
from investigator.protocol.rulings import Rulings
from investigator.protocol.statement import Pin, Stated, Statement, Token, Unenrol, encode_statement
from investigator.protocol.token import Proof, SecretToken, machine_mark, prove, succeed
from signed import NOW_S

NOW = datetime.fromtimestamp(NOW_S, UTC)
SECRET = SecretToken(b"t" * 32, "the statement")
TOKEN = Token(key=SECRET.key, count=3, created=NOW, expires=NOW + timedelta(days=7))
HERE, THERE = machine_mark("1", "1"), machine_mark("2", "2")
A, B, C, D = (Identity(bytes([number]) * 32) for number in range(1, 5))


def host(
    identity: Identity, name: str, *, proof: Any = ..., machine: str = HERE, at_s: float = 60, **more: Any
) -> Host:
    """An agent's facts, signed; with a proof unless told otherwise."""
    if proof is ...:
        proof = prove(SECRET, key=identity.public_key, name=name, machine=machine, now_s=int(NOW_S + at_s))
    frame, _ = encode_facts(
        identity, {"id": identity.id, "name": name}, heartbeat_s=60, machine=machine, proof=proof, **more
    )
    return Host(decode_facts(frame, agent=identity.id)[0], NOW)


def stated(*statements: Statement) -> Rulings:
    return Rulings(Stated(each, Envelope(action=encode_statement(each).decode()), ()) for each in statements)


def pin(identity: Identity, name: str, *, after_s: float = 100, replaces: str = "") -> Pin:
    key = base64.b64encode(identity.public_key).decode()
    return Pin(agent=identity.id, key=key, name=name, replaces=replaces, created=NOW + timedelta(seconds=after_s))


def unenrol(identity: Identity, *, after_s: float = 100) -> Unenrol:
    return Unenrol(agent=identity.id, created=NOW + timedelta(seconds=after_s), reason="gone")


def token_of(proof: Proof) -> Token:
    if proof.statement != SECRET.statement:
        raise Refused("nobody entitled signed it")
    return TOKEN


def judge(register: Register, hosts: Iterable[Host]) -> None:
    candidates = register.settle(hosts)
    checked = check(Claims([one.claim for one in candidates]))
    register.admit(zip(candidates, [one.problem for one in checked], strict=True), now_s=NOW_S)


class Console:
    """What a console keeps between two looks at the fleet."""

    def __init__(self) -> None:
        self.pins: dict[str, Pinned] = {}
        self.used: dict[str, list[str]] = {}

    def look(self, *hosts: Host, rulings: Rulings | None = None, policy: Policy = "token") -> list[Standing]:
        register = Register(rulings or Rulings(), self.pins.values(), self.used, policy=policy, token_of=token_of)
        judge(register, hosts)
        for one in register.learned:
            self.pins[one.name] = one
            self.used.setdefault(one.token, []).append(one.agent)
        return [each.judged.standing for each in hosts if each.judged is not None]


PROVEN, UNPROVEN, CONFLICT, REVOKED = Standing


def test_an_agent_with_a_proof_is_proven_and_its_name_is_its_own_from_then_on() -> None:
    console = Console()
    assert console.look(host(A, "db-1")) == [PROVEN]
    assert console.pins["db-1"].agent == A.id
    assert console.look(host(A, "db-1", proof=None)) == [PROVEN], "the pin holds when the token's signer is gone"


def test_an_agent_that_the_broker_invented_is_unproven() -> None:
    forged = prove(SecretToken(b"x" * 32, "mine"), key=A.public_key, name="db-1", machine=HERE, now_s=int(NOW_S))
    stolen = prove(SECRET, key=B.public_key, name="db-1", machine=HERE, now_s=int(NOW_S) + 60)
    console = Console()
    for proof in (None, forged, stolen):
        (one,) = [host(A, "db-1", proof=proof)]
        assert console.look(one) == [UNPROVEN]
        assert one.judged is not None
        assert one.judged.why
        assert not one.judged.counts("token")
        assert one.judged.counts("open")
    assert console.pins == {}


def test_a_second_key_for_a_name_is_a_conflict_with_or_without_a_proof_and_the_first_stays() -> None:
    console = Console()
    console.look(host(A, "db-1"))
    for second in (host(B, "db-1"), host(B, "db-1", proof=None)):
        assert console.look(host(A, "db-1"), second) == [PROVEN, CONFLICT]
        assert second.judged is not None
        assert A.id in second.judged.why
        assert not second.judged.counts("open")


def test_an_investigator_signs_the_change_and_the_name_is_the_others() -> None:
    console = Console()
    console.look(host(A, "db-1"))
    signed = stated(pin(B, "db-1", replaces=A.id))
    assert console.look(host(A, "db-1"), host(B, "db-1"), rulings=signed) == [REVOKED, PROVEN]
    assert Console().look(host(B, "db-1"), host(A, "db-1"), rulings=signed) == [PROVEN, REVOKED], "on any console"


def test_two_that_prove_the_same_name_to_a_console_that_knows_neither_are_a_conflict_both() -> None:
    first, second = host(A, "db-1"), host(B, "db-1")
    console = Console()
    assert console.look(first, second) == [CONFLICT, CONFLICT]
    assert console.pins == {}
    register = Register(Rulings(), [], {}, policy="token", token_of=token_of)
    judge(register, [first, second])
    third = host(C, "db-1")
    judge(register, [third])
    assert third.judged is not None
    assert third.judged.standing is CONFLICT, "a third one that comes later does not take the name either"
    assert console.look(first, second, rulings=stated(pin(A, "db-1"))) == [PROVEN, CONFLICT]


def test_a_token_vouches_for_as_many_as_it_says_and_those_that_came_first_stay() -> None:
    console = Console()
    assert console.look(*(host(each, each.id[:5]) for each in (A, B))) == [PROVEN, PROVEN]
    late = host(D, "d", at_s=50)
    assert console.look(host(C, "c", at_s=40), late) == [PROVEN, UNPROVEN]
    assert console.look(late, *(host(each, each.id[:5]) for each in (A, B))) == [UNPROVEN, PROVEN, PROVEN]
    assert late.judged is not None
    assert "vouches for 3" in late.judged.why


def test_who_is_revoked_stays_so_until_somebody_signs_otherwise_later() -> None:
    console = Console()
    console.look(host(A, "db-1"))
    assert console.look(host(A, "db-1"), rulings=stated(unenrol(A))) == [REVOKED]
    assert console.look(host(A, "db-1"), rulings=stated(pin(A, "db-1", after_s=50), unenrol(A))) == [REVOKED]
    assert console.look(host(A, "db-1"), rulings=stated(pin(A, "db-1", after_s=200), unenrol(A))) == [PROVEN]


def test_the_name_of_one_that_was_revoked_is_free() -> None:
    console = Console()
    console.look(host(A, "db-1"))
    assert console.look(host(B, "db-1"), rulings=stated(unenrol(A))) == [PROVEN]


def test_a_closed_token_lets_in_those_that_are_named_and_nobody_more() -> None:
    console = Console()
    closed = stated(Unenrol(token=SECRET.key, keep=(A.id,), created=NOW + timedelta(hours=1)))
    console.look(host(A, "db-1"))
    for each in (console, Console()):
        assert each.look(host(A, "db-1"), host(B, "db-2"), rulings=closed) == [PROVEN, UNPROVEN]


def test_a_host_that_calls_itself_otherwise_than_it_was_enrolled_is_unproven_until_somebody_signs() -> None:
    proof = prove(SECRET, key=A.public_key, name="web-1", machine=HERE, now_s=int(NOW_S) + 60)
    console = Console()
    assert console.look(host(A, "web-1", proof=proof)) == [PROVEN]
    renamed = host(A, "db-1", proof=proof)
    assert console.look(renamed) == [UNPROVEN]
    assert console.look(renamed, host(B, "web-1"), rulings=stated(pin(A, "db-1"))) == [PROVEN, PROVEN]


def test_a_clone_is_a_conflict_that_names_whose_state_it_was() -> None:
    console = Console()
    console.look(host(A, "db-1"))
    word = succeed(A, B, machine=THERE, now_s=int(NOW_S))
    for name in ("db-1", "db-2"):
        clone = host(B, name, proof=None, succession=word, machine=THERE)
        assert console.look(clone) == [CONFLICT]
        assert clone.judged is not None
        assert A.id in clone.judged.why
    assert console.look(clone, rulings=stated(pin(B, "db-2"))) == [PROVEN]


def test_a_host_that_speaks_from_another_machine_than_it_was_enrolled_on_is_named() -> None:
    console = Console()
    console.look(host(A, "db-1"))
    register = Register(Rulings(), console.pins.values(), console.used, policy="token", token_of=token_of)
    assert register.note(host(A, "db-1")) == ""
    assert A.id in register.note(host(A, "db-1", machine=THERE))


@pytest.mark.parametrize("known", [False, True])
def test_where_each_is_approved_one_by_one_a_token_is_not_enough(known: bool) -> None:
    console = Console()
    if known:
        console.look(host(A, "db-1"))
    assert console.look(host(A, "db-1"), policy="approve") == [UNPROVEN]
    assert console.look(host(A, "db-1"), rulings=stated(pin(A, "db-1")), policy="approve") == [PROVEN]


SIGNED: list[Statement] = [
    pin(A, "db-1", after_s=10),
    pin(B, "db-1", after_s=20),
    pin(A, "db-2", after_s=30),
    unenrol(B, after_s=40),
    pin(B, "db-1", after_s=40),
    pin(C, "db-1", after_s=35),
    unenrol(C, after_s=50),
]


@given(st.permutations(SIGNED), st.lists(st.sampled_from(SIGNED)))
def test_statements_come_to_the_same_in_any_order_and_any_number(
    order: list[Statement], again: list[Statement]
) -> None:
    rulings, expected = stated(*order, *again), stated(*SIGNED)
    for identity in (A, B, C, D):
        assert rulings.of(identity.id) == expected.of(identity.id)
    for name in ("db-1", "db-2", "db-3"):
        assert rulings.owner(name) == expected.owner(name)
    assert rulings.owner("db-2") == A.id
    assert rulings.owner("db-1") == "", "B and C were let go, and A has another name since"
