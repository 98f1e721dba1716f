"""Simulated agents say what real ones say."""

from __future__ import annotations

import time

from investigator.protocol.facts import MAX_HEARTBEAT_BYTES, decode_facts, decode_heartbeat
from investigator.protocol.statement import Token
from investigator.protocol.token import SecretToken, check_proof
from investigator.simulation.population import Population

TOKEN = SecretToken(bytes(range(32)), "{}")


def population(size: int = 100, secret: bytes = b"s") -> Population:
    return Population(size, secret=secret, tokens=[TOKEN], heartbeat_s=60, started="2026-11-24T00:00:00Z")


def test_a_number_is_always_the_same_agent_and_another_secret_makes_others() -> None:
    one = population()
    ids = [one.identity(number).id for number in range(100)]
    assert len(set(ids)) == 100
    assert ids == [population().identity(number).id for number in range(100)]
    assert not set(ids) & {population(secret=b"t").identity(number).id for number in range(100)}


def test_facts_verify_and_carry_a_proof_and_heartbeats_fit_them() -> None:
    crowd, now_s = population(), int(time.time())
    for number in (0, 17, 99):
        identity = crowd.identity(number)
        facts, digest = decode_facts(crowd.facts(number, identity, now_s=now_s), agent=identity.id)
        assert facts.proof is not None
        assert facts.row["name"] == f"sim-{number:07}.example.net"
        frame = crowd.heartbeat(number, identity, now_s=now_s, answered=5, seen=5)
        assert decode_heartbeat(frame, facts.public_key).f == digest
        assert len(frame) <= MAX_HEARTBEAT_BYTES


def test_the_proof_is_the_tokens_own() -> None:
    from datetime import UTC, datetime, timedelta

    crowd, now = population(), datetime.now(UTC)
    identity = crowd.identity(3)
    facts, _ = decode_facts(crowd.facts(3, identity, now_s=int(now.timestamp())), agent=identity.id)
    assert facts.proof is not None
    token = Token(key=TOKEN.key, count=100, created=now, expires=now + timedelta(days=1))
    assert check_proof(facts.proof, token, key=facts.key, name=facts.row["name"]).machine == facts.machine


def test_an_agent_hears_what_its_facts_lead_to() -> None:
    crowd = population()
    agent = crowd.identity(0).id
    row = crowd.row(0, agent)
    assert (row["os"], row["tags"]) == ("linux", {"role": "web", "site": "berlin"})
    for route in ("mig.action.all", "mig.action.os.linux", "mig.action.tag.role.web", f"mig.action.agent.{agent}"):
        assert crowd.hears(0, agent, route)
    for route in ("mig.action.os.windows", "mig.action.tag.role.db", "mig.action.agent.other", "mig.action"):
        assert not crowd.hears(0, agent, route)
