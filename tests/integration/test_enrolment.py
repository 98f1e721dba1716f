"""Enrolment with real processes: who is let in, who stays in, who is believed, and who no more."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import Deployment, Process

from investigator.broker import jwt, operator
from investigator.broker.connection import Message, connect
from investigator.broker.credentials import Credentials
from investigator.config import load_agent
from investigator.protocol.alert import Alert, pack_alerts
from investigator.protocol.answer import pack
from investigator.protocol.envelope import decode_envelope
from investigator.protocol.facts import encode_facts
from investigator.protocol.identity import Identity
from investigator.protocol.result import Outcome, Result
from investigator.protocol.subjects import alert_subject, facts_subject, result_subject

SOON_S = 30.0
MODULE = ("file", "--path", "/etc", "--name", "^passwd$")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        yield deployment


def set_enrolment(fleet: Deployment, **settings: Any) -> None:
    """[enrolment] of broker.toml."""
    path = fleet.home / "broker.toml"
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    path.write_text(re.sub(r'policy = "token".*\n', lines, path.read_text()))


def set_token(fleet: Deployment, token: str) -> None:
    """That of agent.toml; "" takes it out."""
    path = fleet.home / "agent.toml"
    line = f'token = "{token}"\n' if token else ""
    path.write_text(re.sub(r"token = .*\n", line, path.read_text()))


def new_token(fleet: Deployment, *words: str) -> str:
    done = fleet.call("enrol", "token", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def state_of(fleet: Deployment, name: str) -> Path:
    return fleet.home / "agents" / name


def credential(fleet: Deployment, name: str) -> jwt.Claims:
    return jwt.decode((state_of(fleet, name) / "agent.jwt").read_text())


def agent_id(process: Process) -> str:
    line = next(line for line in process.lines if "connected to" in line)
    found = re.search(r"\(([a-z2-7]{26})\)", line)
    assert found is not None
    return found[1]


def standings(fleet: Deployment) -> dict[str, str]:
    """By id."""
    done = fleet.call("agents", "--output", "ndjson")
    assert done.returncode == 0, done.stderr
    return {row["id"]: row["enrolment"]["standing"] for row in map(orjson.loads, done.stdout.splitlines())}


def enrolled(fleet: Deployment) -> dict[str, dict[str, Any]]:
    """Whom the service knows, by id."""
    done = fleet.call("enrol", "list", "--output", "json")
    assert done.returncode == 0, done.stderr
    return {row["agent"]: row for row in orjson.loads(done.stdout)["agents"]}


def until(condition: Callable[[], bool], within_s: float = SOON_S) -> None:
    ends_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < ends_s, "it did not come about"
        time.sleep(0.1)


def stop(process: Process) -> None:
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_an_agent_starts_before_the_broker_enrols_once_and_is_itself_after_a_restart(fleet: Deployment) -> None:
    early = fleet.agent("web-1", until="")
    early.until("trying on")
    broker = fleet.broker()
    early.until("connected")
    broker.until("enrolled: by token")
    first, identity = credential(fleet, "web-1"), agent_id(early)
    assert first.name == identity
    assert first.exp - first.iat == 30 * 86_400
    assert standings(fleet) == {identity: "proven"}
    assert fleet.ask(*MODULE).states == {"web-1": "found"}
    stop(early)
    assert agent_id(fleet.agent("web-1")) == identity
    assert credential(fleet, "web-1") == first, "it did not ask again"
    assert "token = " in (fleet.home / "agent.toml").read_text(), "further agents of this machine start from it"


def test_a_credential_is_renewed_in_time_and_one_that_ended_while_off_is_replaced_by_the_known_key(
    fleet: Deployment,
) -> None:
    set_enrolment(fleet, policy="token", credentials_last_s=6)
    fleet.broker()
    agent = fleet.agent("web-1")
    set_token(fleet, "")
    first = credential(fleet, "web-1")
    until(lambda: credential(fleet, "web-1").iat > first.iat)
    assert fleet.ask(*MODULE).states == {"web-1": "found"}
    until(lambda: time.time() > first.exp)
    assert fleet.ask(*MODULE).states == {"web-1": "found"}, "with the first one's time over"
    stop(agent)
    old = credential(fleet, "web-1")
    until(lambda: time.time() > old.exp)
    again = fleet.agent("web-1")
    assert agent_id(again) == old.name
    assert credential(fleet, "web-1").iat > old.iat
    assert fleet.ask(*MODULE).states == {"web-1": "found"}


def test_an_agent_that_is_revoked_is_gone_within_seconds_and_back_once_it_is_approved(fleet: Deployment) -> None:
    broker = fleet.broker()
    bad, good = fleet.agents("bad", "good")
    assert fleet.ask(*MODULE).states == {"bad": "found", "good": "found"}
    done = fleet.call("enrol", "revoke", "bad", "--reason", "it floods")
    assert (done.returncode, done.stdout.decode()) == (0, f"{agent_id(bad)} is shut out\n")
    bad.until("revoked", within_s=SOON_S)  # by the connection that ends, long before its credential does
    bad.until("denied: it floods")
    assert standings(fleet) == {agent_id(good): "proven"}, "what the streams held of it is purged"
    assert fleet.ask(*MODULE).states == {"good": "found"}
    assert enrolled(fleet)[agent_id(bad)]["state"] == "revoked"
    broker.end()
    fleet.broker()
    assert enrolled(fleet)[agent_id(bad)]["state"] == "revoked", "also after a restart"
    stop(bad)
    assert fleet.call("enrol", "approve", "bad").returncode == 0
    assert agent_id(fleet.agent("bad")) == agent_id(bad)
    assert fleet.ask(*MODULE).states == {"bad": "found", "good": "found"}


def test_a_token_for_one_lets_one_in_and_one_whose_time_is_over_nobody(fleet: Deployment) -> None:
    broker = fleet.broker()
    set_token(fleet, new_token(fleet, "--count", "1", "--name", "web-*"))
    first = fleet.agent("web-1")
    fleet.agent("web-2", until="is used up")
    fleet.agent("db-1", until="for names like")
    broker.until("denied: its token was good for 1, and is used up")
    set_token(fleet, new_token(fleet, "--expires", "1s"))
    ended = time.time() + 1.5
    until(lambda: time.time() > ended)
    fleet.agent("late", until="the token's time")
    assert standings(fleet) == {agent_id(first): "proven"}
    states = {row["name"]: row["state"] for row in enrolled(fleet).values()}
    assert states == {"web-1": "enrolled", "web-2": "denied", "db-1": "denied", "late": "denied"}


def test_a_token_that_was_closed_lets_nobody_more_in(fleet: Deployment) -> None:
    fleet.broker()
    first = fleet.agent("web-1")
    proof = orjson.loads((state_of(fleet, "web-1") / "agent.proof").read_bytes())
    key = orjson.loads(orjson.loads(proof["statement"])["action"])["key"]
    assert fleet.call("enrol", "revoke", "--token", key).returncode == 0
    fleet.agent("web-2", until="closed its token")
    assert standings(fleet) == {agent_id(first): "proven"}
    assert fleet.ask(*MODULE).states == {"web-1": "found"}
    (fleet.home / "console.sqlite").rename(fleet.home / "elsewhere.sqlite")
    assert standings(fleet) == {agent_id(first): "proven"}, "on another console too"


def test_where_all_are_let_in_those_without_a_token_are_shown_and_asked_only_if_the_console_says_so(
    fleet: Deployment,
) -> None:
    set_enrolment(fleet, policy="open")
    fleet.broker()
    proven = fleet.agent("proven")
    set_token(fleet, "")
    bare = fleet.agent("bare")
    assert standings(fleet) == {agent_id(proven): "proven", agent_id(bare): "unproven"}
    answer = fleet.ask("--target", "all", *MODULE)
    assert answer.states == {"proven": "found"}
    assert f"1 unproven agent is not asked, and its answers do not count: bare ({agent_id(bare)})" in answer.errors
    console = fleet.home / "console.toml"
    console.write_text(console.read_text().replace('enrolment = "token"', 'enrolment = "open"'))
    answer = fleet.ask("--target", "all", *MODULE)
    assert answer.states == {"proven": "found", "bare": "found"}
    assert "1 unproven agent of those that are asked: bare" in answer.errors


def test_where_each_is_approved_an_agent_waits_and_a_token_is_not_enough(fleet: Deployment) -> None:
    set_enrolment(fleet, policy="approve")
    console = fleet.home / "console.toml"
    console.write_text(console.read_text().replace('enrolment = "token"', 'enrolment = "approve"'))
    fleet.broker()
    waiting = fleet.agent("web-1", until="pending: an investigator has to approve it")
    other = fleet.agent("web-2", until="pending")
    states = {row["name"]: row["state"] for row in enrolled(fleet).values()}
    assert states == {"web-1": "pending", "web-2": "pending"}
    assert fleet.call("enrol", "approve", "web-1").returncode == 0
    assert fleet.call("enrol", "deny", "web-2", "--reason", "not ours").returncode == 0
    waiting.until("connected")
    other.until("denied: not ours")
    assert standings(fleet) == {agent_id(waiting): "proven"}
    assert fleet.ask(*MODULE).states == {"web-1": "found"}


def test_a_host_that_is_installed_anew_is_a_conflict_of_both_ids_until_an_investigator_signs(fleet: Deployment) -> None:
    broker = fleet.broker()
    old = fleet.agent("db-1")
    assert fleet.ask(*MODULE).states == {"db-1": "found"}
    stop(old)
    shutil.rmtree(state_of(fleet, "db-1"))
    new = fleet.agent("db-1")
    broker.until(f"has the name of {agent_id(old)}")
    assert standings(fleet) == {agent_id(old): "proven", agent_id(new): "conflict"}
    answer = fleet.ask(*MODULE)
    assert answer.states == {}
    assert (
        f"conflict: db-1 is also what {agent_id(new)} calls itself: the name is that of {agent_id(old)}"
        in answer.errors
    )
    done = fleet.call("enrol", "approve", agent_id(new)[:8])
    assert done.returncode == 0, done.stderr
    assert f"{agent_id(old)}, which had the name, is let go" in done.stderr.decode()
    assert standings(fleet) == {agent_id(new): "proven"}
    answer = fleet.ask(*MODULE)
    assert answer.states == {"db-1": "found"}
    assert answer.outcomes["db-1"]["agent"]["id"] == agent_id(new)
    (row,) = map(orjson.loads, fleet.call("agents", "--output", "ndjson").stdout.splitlines())
    assert row["enrolment"]["formerly"] == [agent_id(old)]


def test_a_copy_of_an_agents_state_on_another_machine_gets_a_key_of_its_own_and_is_named(fleet: Deployment) -> None:
    broker = fleet.broker()
    original = fleet.agent("db-1")
    assert standings(fleet) == {agent_id(original): "proven"}
    copy = fleet.home / "copy"
    shutil.copytree(state_of(fleet, "db-1"), copy, ignore=shutil.ignore_patterns("*.sock"))
    key = copy / "agent.key"
    made_on = orjson.loads(key.read_bytes())
    key.write_bytes(orjson.dumps({**made_on, "machine": f"{'0' * 32}.{'0' * 32}"}))
    set_token(fleet, "")
    clone = fleet.agent("db-1", "--state", str(copy))
    assert agent_id(clone) != agent_id(original)
    broker.until("its state was that of")
    assert standings(fleet) == {agent_id(original): "proven", agent_id(clone): "conflict"}
    answer = fleet.ask(*MODULE)
    assert answer.states == {"db-1": "found"}
    assert answer.outcomes["db-1"]["agent"]["id"] == agent_id(original)
    assert "on another machine: a clone, or it moved" in answer.errors
    stop(clone)
    assert agent_id(fleet.agent("db-1", "--state", str(copy))) == agent_id(clone)


def test_two_processes_that_speak_for_one_id_are_named_by_the_service(fleet: Deployment) -> None:
    broker = fleet.broker()
    original = fleet.agent("db-1")
    copy = fleet.home / "copy"
    shutil.copytree(state_of(fleet, "db-1"), copy, ignore=shutil.ignore_patterns("*.sock"))
    started = int(time.time())
    until(lambda: int(time.time()) > started + 1)
    second = fleet.agent("db-1", "--state", str(copy))
    assert agent_id(second) == agent_id(original)
    until(lambda: time.time() > started + 8)
    assert fleet.ask(*MODULE).states == {"db-1": "found"}, "soon both beat their heart: their audits have a new line"
    broker.until("speaks from two processes at a time")
    (row,) = enrolled(fleet).values()
    assert "a copy of its state runs elsewhere" in row["notices"][0]


class Rogue:
    """Who has the broker's keys and no token: a process that is a host as far as the broker is concerned."""

    def __init__(self, fleet: Deployment, name: str) -> None:
        self.identity = Identity.generate()
        self.name = name
        self._fleet = fleet
        self.answered = asyncio.Event()

    @contextlib.asynccontextmanager
    async def present(self) -> Any:
        user = Credentials.generate(self.identity.id)
        token = operator.mint_agent(
            self._fleet.home / "broker",
            agent=self.identity.id,
            user_key=user.public_key,
            lives_s=3600,
            now_s=int(time.time()),
        )
        link = load_agent(self._fleet.home).broker
        async with await connect(link.url, user.with_jwt(token), name="rogue", tls=link.tls) as self.broker:
            row = {"id": self.identity.id, "name": self.name, "os": "linux", "tags": {}, "environment": {}}
            frame, _ = encode_facts(self.identity, row, heartbeat_s=60)
            await self.broker.publish_acked(facts_subject(self.identity.id), frame, message_id=frame.hex()[:32])
            await self.broker.subscribe("mig.action.all.*", self._answer)
            await self.broker.subscribe("mig.action.os.*.*", self._answer)
            yield self

    async def _answer(self, message: Message) -> None:
        envelope = decode_envelope(message.data)
        action = orjson.loads(envelope.action)
        outcome = Outcome(state="found", name=self.name, results=[Result(success=True, foundanything=True)])
        for payload in pack(
            outcome, self.identity, action=action["id"], digest=envelope.digest, sealto=action["sealto"]
        ):
            subject = result_subject(action["id"], self.identity.id)
            await self.broker.publish_acked(subject, payload, message_id=payload.hex()[:32])
        self.answered.set()


@pytest.mark.parametrize("name", ["db-9", "db-1"])
async def test_who_mints_with_the_brokers_keys_and_has_no_token_is_no_host_and_takes_no_hosts_name(
    fleet: Deployment, name: str
) -> None:
    fleet.broker()
    real = fleet.agent("db-1")
    assert standings(fleet) == {agent_id(real): "proven"}
    async with Rogue(fleet, name).present() as rogue:
        assert await asyncio.to_thread(standings, fleet) == {
            agent_id(real): "proven",
            rogue.identity.id: "conflict" if name == "db-1" else "unproven",
        }
        real.signal(signal.SIGSTOP)  # so that the rogue is the first to answer
        asked = asyncio.create_task(asyncio.to_thread(fleet.ask, "--target", "all", "--wait", *MODULE))
        await rogue.answered.wait()
        real.signal(signal.SIGCONT)
        answer = await asked
        assert answer.states == {"db-1": "found"}
        assert answer.outcomes["db-1"]["agent"]["id"] == agent_id(real)
        assert f"an answer in the name of {name} ({rogue.identity.id}) was dropped" in answer.errors


async def test_an_invented_host_that_comes_while_an_action_runs_is_not_counted_either(fleet: Deployment) -> None:
    fleet.broker()
    _, away = fleet.agents("db-1", "away")
    stop(away)
    answering = fleet.start("run", "--target", "all", "--wait", "--expire", "120s", "--output", "ndjson", *MODULE)
    await asyncio.to_thread(answering.until, '"outcome"')
    async with Rogue(fleet, "db-2").present() as rogue:
        raw = [
            stored.data
            async for stored in rogue.broker.batch_get(
                "MIG_ACTIONS", subjects=["mig.action.all.*", "mig.action.os.*.*"]
            )
        ]
        await rogue._answer(Message("", raw[0]))
        await asyncio.to_thread(answering.until, "was dropped: unproven: it has no proof")
        answering.signal(signal.SIGINT)
        assert '"targeted":2' in await asyncio.to_thread(answering.until, '"summary"')


def test_a_token_on_another_host_is_dropped_once_it_is_used_and_where_that_cannot_be_it_is_said(
    fleet: Deployment, tmp_path: Path
) -> None:
    fleet.broker()
    home = tmp_path / "host"
    home.mkdir(mode=0o700)
    for name in ("keyring", "acl.json", "agent.toml"):
        copy = shutil.copytree if (fleet.home / name).is_dir() else shutil.copy2
        copy(fleet.home / name, home / name)
    (home / "broker").mkdir(mode=0o700)
    for name in ("enrol.creds", "ca.pem"):
        shutil.copy2(fleet.home / "broker" / name, home / "broker" / name)
    before = (home / "agent.toml").read_text()
    agent = fleet.start("agent", "--home", str(home), "--name", "far")
    agent.until("the token was taken out of")
    agent.until("connected")
    assert (home / "agent.toml").read_text() == re.sub(r"token = .*\n", "", before)
    assert (home / "agent.toml").stat().st_mode & 0o777 == 0o600
    for path in home.rglob("*"):
        assert not path.is_file() or b"mig-token-1" not in path.read_bytes()
    stop(agent)
    fleet.start("agent", "--home", str(home), "--name", "far").until("connected")


def test_the_service_runs_alone_beside_a_broker_and_one_at_a_time(fleet: Deployment) -> None:
    set_enrolment(fleet, policy="token", serve=False)
    fleet.broker()
    agent = fleet.agent("web-1", until="nobody listens to it")
    service = fleet.start("enrol", "serve")
    service.until("enrolment service ready")
    agent.until("connected")
    second = fleet.call("enrol", "serve")
    assert second.returncode == 5
    assert b"another enrolment service runs here" in second.stderr
    done = fleet.call("enrol", "revoke", "web-1", "--reason", "lost")
    assert done.stdout.decode() == f"{agent_id(agent)} is shut out\n"
    agent.until("denied: lost", within_s=10)
    service.signal(signal.SIGTERM)
    assert service.wait() == 0
    done = fleet.call("enrol", "approve", agent_id(agent))
    assert done.returncode == 2, "without a service and without facts, nobody knows that agent's key"
    assert b"the enrolment service does not answer" in done.stderr


def test_where_two_have_to_sign_one_alone_says_nothing_about_hosts(fleet: Deployment, tmp_path: Path) -> None:
    fleet.broker()
    agent = fleet.agent("web-1")
    assert standings(fleet) == {agent_id(agent): "proven"}
    bob = fleet.stranger(tmp_path / "bob")
    (certificate,) = {path.name for path in (bob / "keyring").iterdir()} - {
        path.name for path in (fleet.home / "keyring").iterdir()
    }
    shutil.copy2(bob / "keyring" / certificate, fleet.home / "keyring" / certificate)
    acl = orjson.loads((fleet.home / "acl.json").read_bytes())
    people = {**acl["default"]["investigators"], "bob": {"fingerprint": certificate.removesuffix(".asc"), "weight": 1}}
    acl["enrol"] = {"minimumweight": 2, "investigators": people}
    for home in (fleet.home, bob):
        (home / "acl.json").write_bytes(orjson.dumps(acl))
    assert standings(fleet) == {agent_id(agent): "proven"}, "what was seen first stays"
    alone = fleet.call("enrol", "revoke", "web-1")
    assert alone.returncode == 3
    assert b"need 2, got 1" in alone.stderr
    first = fleet.call("enrol", "revoke", "web-1", "--sign-only")
    (tmp_path / "statement").write_bytes(first.stdout)
    done = fleet.call("enrol", "send", str(tmp_path / "statement"), home=bob)
    assert (done.returncode, done.stdout.decode()) == (0, f"{agent_id(agent)} is shut out\n"), done.stderr
    agent.until("denied: an investigator revoked it")
    one = fleet.call("enrol", "token", "-o", str(tmp_path / "token"))
    assert b"not good yet" in one.stderr
    both = fleet.call("enrol", "token", "--add", str(tmp_path / "token"), home=bob)
    assert both.returncode == 0, both.stderr
    set_token(fleet, (tmp_path / "token").read_text().strip())
    denied = fleet.agent("web-2", until="need 2, got 1")
    denied.end()
    set_token(fleet, both.stdout.decode().strip())
    web = fleet.agent("web-3")
    assert standings(fleet) == {agent_id(web): "proven"}


async def test_an_alert_of_an_invented_host_is_dropped_and_named(fleet: Deployment) -> None:
    fleet.broker()
    async with Rogue(fleet, "db-9").present() as rogue:
        (letter,) = pack_alerts(
            [Alert(severity="critical", alert="all is lost", time_s=1.0)], rogue.identity, module="audit", name="db-9"
        )
        await rogue.broker.publish_acked(
            alert_subject(rogue.identity.id, "audit"), letter, message_id=letter.hex()[:32]
        )
    done = await asyncio.to_thread(fleet.call, "alerts")
    assert (done.returncode, done.stdout) == (3, b"")
    assert (
        f"an alert in the name of db-9 ({rogue.identity.id}) is dropped: unproven: it has no proof"
        in done.stderr.decode()
    )
