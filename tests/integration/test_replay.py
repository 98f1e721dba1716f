"""What ran once never runs again, with real agents: first starts, lost ledgers, floods of what nobody signed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from deployment import Deployment, Process, read_answer

from investigator.config import load_console
from investigator.console.dispatch import sign_action, write_action
from investigator.console.enrolling import make_token
from investigator.console.link import console_link
from investigator.modules import get_module
from investigator.pgp.secret import generate_key
from investigator.pgp.signer import KeyFileSigner
from investigator.protocol.action import Operation, utc
from investigator.protocol.facts import decode_facts, decode_heartbeat
from investigator.protocol.subjects import ALL_FACTS, ALL_HEARTBEATS, FACTS, HEARTBEATS, RESULTS


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Deployment]:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "passwd").write_text("x")
    with Deployment(tmp_path / "home") as deployment:
        age_key(deployment)
        deployment.broker()
        yield deployment


def age_key(deployment: Deployment) -> None:
    """Give the investigator a key that is a day old, which can have signed something since."""
    made = generate_key("old", "old@example.net", None, now=int(time.time()) - 86_400)
    (deployment.home / "secrets" / "investigator.asc").write_text(made.secret)
    (certificate,) = (deployment.home / "keyring").iterdir()
    certificate.write_text(made.public)
    person = {"fingerprint": made.fingerprint, "weight": 1}
    acl = {"default": {"minimumweight": 1, "investigators": {"old": person}}}
    (deployment.home / "acl.json").write_bytes(orjson.dumps(acl))
    token, _ = make_token(KeyFileSigner(made.secret.encode()), count=10, life=timedelta(days=1), now_s=time.time())
    agent = deployment.home / "agent.toml"
    agent.write_text(re.sub(r"token = .*", f'token = "{token.encode()}"', agent.read_text()))


def signed_ago(deployment: Deployment, seconds: float, tree: Path) -> Path:
    """The envelope of an action that was signed so long ago, and is valid now."""
    secret = (deployment.home / "secrets" / "investigator.asc").read_bytes()
    then_s = time.time() - seconds
    nested = {"paths": [str(tree)], "names": ["^passwd$"], "options": {"matchall": True}}
    action = write_action(
        name=f"signed {seconds:g} s ago",
        target="all",
        operations=[Operation(module="file", parameters=get_module("file").from_flags(nested))],
        now_s=time.time(),
        life=timedelta(seconds=120),
        macros={},
        sealto=None,
        validfrom=utc(then_s),
        expireafter=utc(time.time() + 120),
    )
    path = tree.parent / f"{action.id}.json"
    path.write_bytes(sign_action(action, KeyFileSigner(secret, clock=lambda: then_s)).envelope.encode())
    return path


def admissions(state: Path) -> int:
    """How often the agent admitted anything, by its audit."""
    return sum(path.read_bytes().count(b'"verdict":"admitted"') for path in state.rglob("*audit*") if path.is_file())


def asking(deployment: Deployment, envelope: Path) -> Process:
    return deployment.start("run", "--output", "ndjson", "--wait", "-i", str(envelope))


def ended(asked: Process) -> tuple[str, str]:
    asked.until('"summary"')
    lines = "\n".join(line for line in asked.lines if line.startswith("{"))
    (outcome,) = read_answer(0, lines.encode(), b"").outcomes.values()
    return outcome["state"], outcome["code"]


def test_a_first_start_takes_what_was_signed_before_and_one_that_lost_its_ledger_does_not(
    alone: Deployment, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    agent = alone.agent("only")
    before = signed_ago(alone, 180, tree)
    assert ended(asking(alone, before)) == ("found", "")
    agent.end()
    state = alone.home / "agents" / "only"
    for path in state.glob("agent.sqlite*"):
        path.unlink()
    waiting = asking(alone, signed_ago(alone, 180, tree))
    alone.agent("only")
    assert ended(waiting) == ("refused", "ledger-lost")
    assert ended(asking(alone, before)) == ("found", "")  # the answer of the life that was lost is in the stream
    assert admissions(state) == 1
    assert ended(asking(alone, signed_ago(alone, 0, tree))) == ("found", "")
    assert admissions(state) == 2


def test_an_agent_that_never_ran_before_takes_an_action_that_waits_for_it(alone: Deployment, tmp_path: Path) -> None:
    for seconds in (60, 180):
        envelope = signed_ago(alone, seconds, tmp_path / "tree")
        asyncio.run(publish(alone, envelope.stem, envelope.read_bytes()))
    alone.agent("new")
    assert asyncio.run(states(alone, 2)) == {"found"}


async def publish(deployment: Deployment, action: str, raw: bytes) -> None:
    async with console_link(load_console(deployment.home)) as broker:
        await broker.publish_acked(f"mig.action.all.{action}", raw, message_id=action, ttl_s=60)


async def states(deployment: Deployment, count: int) -> set[str]:
    """Of the outcomes in the stream, once there are so many; they are not sealed here."""
    async with console_link(load_console(deployment.home)) as broker:
        while True:
            stored = [each.data async for each in broker.read_stream(RESULTS, "mig.result.*.*")]
            if len(stored) >= count:
                return {orjson.loads(data[65:].partition(b"\n")[2])["state"] for data in stored}
            await asyncio.sleep(0.05)


def test_what_nobody_trusted_signed_is_answered_ten_times_a_minute_and_counted_beyond_that(alone: Deployment) -> None:
    alone.agent("only")
    assert asyncio.run(flood(alone, 40)) == (10, 30)


async def flood(deployment: Deployment, count: int) -> tuple[int, int]:
    """Answers in the stream, and refusals that the agent's heartbeat counts."""
    async with console_link(load_console(deployment.home)) as broker:
        for number in range(count):
            raw = orjson.dumps({"v": 1, "action": f'{{"type":"action","n":{number}}}', "pgpsignatures": []})
            await broker.publish(f"mig.action.all.{number:032x}", raw)
        await broker.flush()
        (facts,) = [stored async for stored in broker.read_stream(FACTS, ALL_FACTS)]
        key = decode_facts(facts.data, agent=facts.subject.rpartition(".")[2])[0].public_key
        while True:
            answers = [stored async for stored in broker.read_stream(RESULTS, "mig.result.*.*")]
            (heartbeat,) = [stored async for stored in broker.read_stream(HEARTBEATS, ALL_HEARTBEATS)]
            counted = decode_heartbeat(heartbeat.data, key).r
            if counted:
                return len(answers), counted
            await asyncio.sleep(0.1)
