"""A rogue agent with a real agent's whole state, and a rogue broker with all its keys, against real agents and a real console."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Iterator

import orjson
import pytest
from deployment import Deployment, Process
from rogue import admissions, ask, broker_as, look_again, signed, steal, stored, without_manners

from investigator.broker import nkeys, operator
from investigator.broker.problems import NotPermittedError
from investigator.broker.scopes import Scope
from investigator.protocol.answer import pack, unpack
from investigator.protocol.identity import Identity
from investigator.protocol.result import Outcome
from investigator.protocol.sealing import NotSealedToUs, public_sealing_key
from investigator.protocol.subjects import RESULTS, result_subject
from real_broker import minted

NOT_THERE = Outcome(state="notfound", name="db-1")


@pytest.fixture(scope="module")
def agents() -> dict[str, Process]:
    return {}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, agents: dict[str, Process]) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("rogues") / "home") as deployment:
        deployment.broker()
        agents |= dict(zip(("web-1", "db-1"), deployment.agents("web-1", "db-1"), strict=True))
        yield deployment


async def test_neither_the_broker_nor_another_agent_opens_a_result_with_any_key_that_it_holds(
    fleet: Deployment,
) -> None:
    asked = await ask(fleet, signed(fleet))
    assert asked.states == {"web-1": "found", "db-1": "found"}
    rogue, victim = steal(fleet, "web-1"), steal(fleet, "db-1")
    seeds = [path.read_text().strip() for path in (fleet.home / "broker").rglob("*.nk")]
    keys = [nkeys.decode_seed(seed)[1].private_bytes_raw() for seed in [*seeds, rogue.credentials.seed]]
    assert len(keys) > 10
    (result,) = await stored(fleet, RESULTS, result_subject(asked.action, victim.identity.id))
    assert b"passwd" not in result.data
    for key in [*keys, rogue.identity.private_bytes]:
        with pytest.raises(NotSealedToUs):
            unpack(result.data, action=asked.action, agent=victim.identity.id, private_key=key)


@pytest.mark.parametrize("who", ["a rogue agent", "a rogue broker"])
async def test_who_answers_for_another_or_plays_an_old_answer_back_changes_nothing_and_is_named(
    fleet: Deployment, who: str
) -> None:
    rogue, victim = steal(fleet, "web-1"), steal(fleet, "db-1")
    old = await ask(fleet, signed(fleet))
    prepared = signed(fleet)
    asked = await ask(fleet, prepared)
    # the agent has its own subject; the broker mints itself a user with the victim's
    user = rogue.credentials if who == "a rogue agent" else minted(fleet.home / "broker", victim.identity.id)
    author, sealto = Impostor(rogue.identity, victim.identity), prepared.action.sealto
    stranger = public_sealing_key(bytes(range(32)))
    (earlier,) = await stored(fleet, RESULTS, result_subject(old.action, user.name))
    forged = [
        earlier.data,
        *pack(NOT_THERE, author, action=asked.action, digest=prepared.envelope.digest, sealto=sealto),
        *pack(NOT_THERE, author, action=asked.action, digest=prepared.envelope.digest, sealto=None),
        *pack(NOT_THERE, Identity.generate(), action=asked.action, digest=prepared.envelope.digest, sealto=sealto),
        *pack(NOT_THERE, rogue.identity, action=asked.action, digest="0" * 64, sealto=_text(stranger)),
    ]
    async with broker_as(fleet, user) as broker:
        for payload in forged:
            # an id of its own: under the one that its author gave it, the old answer would be taken for a repetition
            await broker.publish_acked(
                result_subject(asked.action, user.name), payload, message_id=f"{who} {payload.hex()[:32]}"
            )
    again = await look_again(fleet, asked.action)
    assert again.states == asked.states == {"web-1": "found", "db-1": "found"}
    assert again.dropped == len(forged)
    name = "web-1" if who == "a rogue agent" else "db-1"
    assert len([line for line in again.warnings if f"an answer in the name of {name} was dropped" in line]) == len(
        forged
    )


class Impostor(Identity):
    """Says that it is another, and signs with what it has."""

    def __init__(self, own: Identity, other: Identity) -> None:
        super().__init__(own.private_bytes)
        self.public_key, self.id = other.public_key, other.id


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()


async def test_a_rogue_agent_that_lies_about_its_own_answers_recipient_is_named(fleet: Deployment) -> None:
    rogue, prepared = steal(fleet, "web-1"), signed(fleet)
    asked = await ask(fleet, prepared)
    (payload,) = pack(NOT_THERE, rogue.identity, action=asked.action, digest=prepared.envelope.digest, sealto=None)
    async with broker_as(fleet, rogue.credentials) as broker:
        await broker.publish_acked(result_subject(asked.action, rogue.identity.id), payload, message_id="open")
    again = await look_again(fleet, asked.action)
    assert again.states == {"web-1": "found", "db-1": "found"}
    assert any("sealed to another key than was asked" in line for line in again.warnings)


async def test_an_action_that_a_broker_sends_to_other_hosts_or_under_another_id_runs_nowhere_else(
    fleet: Deployment, agents: dict[str, Process]
) -> None:
    prepared, victim = signed(fleet, target="name='web-1'"), steal(fleet, "db-1").identity
    before = admissions(fleet, "db-1")
    asked = await ask(fleet, prepared)
    assert asked.states == {"web-1": "found"}
    raw = prepared.envelope.encode()
    async with broker_as(fleet, Scope.INVESTIGATOR) as broker:
        await broker.publish_acked(f"mig.action.agent.{victim.id}.{asked.action}", raw, message_id="redirected")
        await asyncio.to_thread(agents["db-1"].until, f"action {asked.action} refused: not-targeted")
        await broker.publish_acked(f"mig.action.all.{'0' * 32}", raw, message_id="renamed")
        await asyncio.to_thread(agents["db-1"].until, f"action {'0' * 32} refused: subject")
        await asyncio.to_thread(agents["web-1"].until, f"action {'0' * 32} refused: subject")
    assert admissions(fleet, "db-1") == before
    assert (await look_again(fleet, asked.action)).states == {"web-1": "found", "db-1": "refused"}, "it is seen"


async def test_an_action_that_a_broker_plays_back_runs_once(fleet: Deployment, agents: dict[str, Process]) -> None:
    prepared = signed(fleet)
    before = {name: admissions(fleet, name) for name in agents}
    asked = await ask(fleet, prepared)
    async with broker_as(fleet, Scope.INVESTIGATOR) as broker:
        for subject in prepared.subjects:
            await broker.publish_acked(subject, prepared.envelope.encode(), message_id=f"again {subject}")
    for process in agents.values():
        await asyncio.to_thread(process.until, f"action {asked.action} refused: replayed")
    assert {name: admissions(fleet, name) for name in agents} == {name: count + 1 for name, count in before.items()}
    assert (await look_again(fleet, asked.action)).states == {"web-1": "found", "db-1": "found"}


async def test_a_copy_whose_signatures_are_cut_off_spoils_no_action_and_is_named(
    fleet: Deployment, agents: dict[str, Process]
) -> None:
    prepared = signed(fleet)
    cut = orjson.dumps({**orjson.loads(prepared.envelope.encode()), "pgpsignatures": []})
    (subject,) = prepared.subjects
    async with broker_as(fleet, Scope.INVESTIGATOR) as broker:
        await broker.publish_acked(subject, cut, message_id="cut off")
    for process in agents.values():
        await asyncio.to_thread(process.until, f"action {prepared.action.id} refused: signature")
    asked = await ask(fleet, prepared)
    assert asked.states == {"web-1": "found", "db-1": "found"}
    assert any("it refuses a copy that was not sent from here" in line for line in asked.warnings)


async def test_message_ids_that_others_can_guess_swallow_no_result(fleet: Deployment) -> None:
    prepared, rogue, victim = signed(fleet), steal(fleet, "web-1"), steal(fleet, "db-1").identity
    action, digest = prepared.action.id, prepared.envelope.digest
    subject = result_subject(action, victim.id)
    envelope = hashlib.sha256(prepared.envelope.encode()).hexdigest()
    guessed = [action, digest, envelope, victim.id, subject, f"{action}.{victim.id}", f"{digest}.{victim.id}"]
    async with without_manners(fleet, rogue.credentials) as client:
        for one in guessed:
            answer = await client.request(
                result_subject("f" * 32, rogue.identity.id), b"", headers={"Nats-Msg-Id": one}, timeout=10
            )
            assert b'"error"' not in answer.data
    assert (await ask(fleet, prepared)).states["db-1"] == "found"
    assert len(await stored(fleet, RESULTS, subject)) == 1


async def test_a_credential_of_another_deployment_lets_nobody_in_and_is_logged(
    fleet: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "broker"
    operator.create(elsewhere, now_s=0)
    with pytest.raises(NotPermittedError, match="does not know these credentials"):
        async with broker_as(fleet, minted(elsewhere, steal(fleet, "db-1").identity.id)):
            pass
    assert "authentication error" in (fleet.home / "broker/nats-server.log").read_text()
