"""Cancels and revocations with real agents: what runs ends within seconds, late agents learn it first, forgers stop nothing."""

from __future__ import annotations

import asyncio
import functools
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import orjson
import pytest
from deployment import Deployment, Process, let_all_in, read_answer
from endless import endless

from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.config import load_console
from investigator.console.deployment import create_deployment
from investigator.console.link import console_link
from investigator.console.revocation import publish_revocation
from investigator.pgp.secret import generate_key
from investigator.pgp.signer import KeyFileSigner
from investigator.protocol.subjects import ACTIONS, ALL_ACTIONS

T = TypeVar("T")


@dataclass
class Person:
    """An investigator with a console of their own, on the same broker."""

    fingerprint: str
    home: Path
    secret: bytes

    def revocation(self) -> bytes:
        return KeyFileSigner(self.secret).revoke("compromised").encode()


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        let_all_in(deployment.home)
        yield deployment


def invite(deployment: Deployment, name: str, folder: Path) -> Person:
    """A second investigator: their certificate in the agents' keyring, and a home that reaches the same broker."""
    home, made = folder / name, generate_key(name, f"{name}@example.net", None)
    create_deployment(home, port=int(load_console(deployment.home).broker.url.rpartition(":")[2]), passphrase=None)
    let_all_in(home)
    shutil.copytree(
        deployment.home / "broker", home / "broker", dirs_exist_ok=True, ignore=shutil.ignore_patterns("store")
    )
    (home / "secrets" / "investigator.asc").write_text(made.secret)
    (deployment.home / "keyring" / f"{made.fingerprint}.asc").write_text(made.public)
    (deployment.home / "keyring" / f"{made.fingerprint}.asc").chmod(0o600)
    return Person(made.fingerprint, home, made.secret.encode())


def rule(deployment: Deployment, **entries: tuple[int, dict[str, int]]) -> None:
    """Write the agents' ACL: per entry the minimum, and weights by fingerprint."""
    (owner,) = orjson.loads((deployment.home / "acl.json").read_bytes())["default"]["investigators"].values()
    document = {
        name: {
            "minimumweight": minimum,
            "investigators": {
                key[:9]: {"fingerprint": owner["fingerprint"] if key == "owner" else key, "weight": weight}
                for key, weight in people.items()
            },
        }
        for name, (minimum, people) in entries.items()
    }
    (deployment.home / "acl.json").write_bytes(orjson.dumps(document))


def start_endless(deployment: Deployment, *words: str) -> tuple[Process, str]:
    """An investigation that takes minutes, and its action's id, once it was published."""
    known = set(actions(deployment))
    search = endless(deployment.home.parent / "endless")
    asking = deployment.start("run", "--output", "ndjson", "-t", "all", "--wait", "-e", "120s", *words, *search)
    (action,) = until(lambda: set(actions(deployment)) - known)
    until(lambda: any(stored.endswith(action) for stored in asyncio.run(stored_subjects(deployment))))
    return asking, action


def actions(deployment: Deployment) -> list[str]:
    path = deployment.home / "console.sqlite"
    if not path.exists():
        return []
    database = sqlite3.connect(path)
    try:
        return [row[0] for row in database.execute("SELECT id FROM actions")]
    except sqlite3.OperationalError:  # it is being made
        return []
    finally:
        database.close()


async def stored_subjects(deployment: Deployment) -> list[str]:
    async with console_link(load_console(deployment.home)) as broker:
        return [stored.subject async for stored in broker.read_stream(ACTIONS, ALL_ACTIONS)]


def until(ask: Callable[[], T]) -> T:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def decisions(deployment: Deployment, agent: str, kind: str) -> list[tuple[str, str]]:
    """What an agent's audit says of actions, cancels or revocations."""
    lines = [
        orjson.loads(line)
        for path in sorted((deployment.home / "agents" / agent).rglob("*"))
        if path.is_file() and "audit" in path.name
        for line in path.read_bytes().splitlines()
        if line.startswith(b"{")
    ]
    return [(line["verdict"], line.get("code", "")) for line in lines if line.get("type") == kind]


def was_refused(deployment: Deployment, code: str) -> bool:
    return ("refused", code) in decisions(deployment, "one", "cancel")


def outcomes(asking: Process) -> dict[str, tuple[str, str]]:
    answer = read_answer(0, "\n".join(line for line in asking.lines if line.startswith("{")).encode(), b"")
    return {name: (outcome["state"], outcome["code"]) for name, outcome in answer.outcomes.items()}


def test_what_runs_everywhere_is_cancelled_and_a_late_agent_learns_it_first(alone: Deployment) -> None:
    alone.broker()
    one, late = alone.agents("one", "late")
    late.signal(signal.SIGTERM)
    late.wait()
    asking, action = start_endless(alone)
    until(lambda: decisions(alone, "one", "action"))
    done = alone.call("cancel", action, "--reason", "wrong hosts")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().startswith("one cancelled (by-signer: cancelled by ")
    assert done.stdout.decode().rstrip().endswith(": wrong hosts)")
    assert f"action {action}; 0 had ended, 1 agent may be running it" in done.stderr.decode()
    alone.agent("late")
    asking.until('"summary"')
    assert asking.wait() == 6
    assert outcomes(asking) == {"one": ("cancelled", "by-signer"), "late": ("cancelled", "by-signer")}
    assert decisions(alone, "late", "cancel") == [("admitted", "kept"), ("admitted", "by-signer")]
    again = alone.call("cancel", action, "--output", "ndjson")
    assert again.returncode == 0
    assert orjson.loads(again.stdout)["states"] == {"cancelled": 2}
    assert one.pid


def test_forgers_and_people_without_the_right_stop_nothing_and_the_right_person_does(
    alone: Deployment, tmp_path: Path
) -> None:
    helper, guard = invite(alone, "helper", tmp_path), invite(alone, "guard", tmp_path)
    rule(
        alone,
        default=(1, {"owner": 1, helper.fingerprint: 0, guard.fingerprint: 0}),
        cancel=(2, {"owner": 1, guard.fingerprint: 2}),
    )
    stranger = alone.stranger(tmp_path / "stranger")
    alone.broker()
    alone.agent("one")
    asking, action = start_endless(alone)
    until(lambda: decisions(alone, "one", "action"))
    for home, code in ((stranger, "signature"), (helper.home, "permission")):
        refused = alone.call("cancel", action, home=home)
        assert refused.returncode == 0  # the results are sealed to who asked: this console cannot follow
        assert "sealed to another console" in refused.stderr.decode()
        until(functools.partial(was_refused, alone, code))
    assert not any('"outcome"' in line for line in asking.lines)
    assert alone.call("cancel", action, home=guard.home).returncode == 0
    asking.until('"summary"')
    assert outcomes(asking) == {"one": ("cancelled", "by-weight")}
    assert "was dropped" in "\n".join(asking.lines)  # the refusals of cancels that this console did not send


def test_a_cancel_that_its_own_console_sends_without_the_right_is_told_to_be_refused(
    alone: Deployment, tmp_path: Path
) -> None:
    helper = invite(alone, "helper", tmp_path)
    rule(alone, default=(1, {"owner": 1, helper.fingerprint: 0}))
    alone.broker()
    alone.agent("one")
    asking, action = start_endless(alone)
    until(lambda: decisions(alone, "one", "action"))
    helpers = tmp_path / "same-sealing"
    shutil.copytree(helper.home, helpers)
    shutil.copy(alone.home / "secrets" / "sealing.pem", helpers / "secrets" / "sealing.pem")
    refused = alone.call("cancel", action, home=helpers)
    assert refused.returncode == 6
    assert "one refuses the cancel: permission: " in refused.stderr.decode()
    stopped = alone.call("cancel", action)
    assert stopped.returncode == 0
    asking.until('"summary"')


def test_two_people_sign_one_cancel_where_the_acl_wants_two(alone: Deployment, tmp_path: Path) -> None:
    first, second = invite(alone, "first", tmp_path), invite(alone, "second", tmp_path)
    rule(
        alone,
        default=(1, {"owner": 1}),
        cancel=(2, {first.fingerprint: 1, second.fingerprint: 1}),
    )
    alone.broker()
    alone.agent("one")
    asking, action = start_endless(alone)
    until(lambda: decisions(alone, "one", "action"))
    printed = alone.call("cancel", action, "--sign-only", "--reason", "both agree", home=first.home)
    assert printed.returncode == 0
    path = tmp_path / "cancel.json"
    path.write_bytes(printed.stdout)
    sent = alone.call("cancel", "-i", str(path), home=second.home)
    assert sent.returncode == 0
    assert "both agree" in sent.stderr.decode()
    asking.until('"summary"')
    assert outcomes(asking) == {"one": ("cancelled", "by-weight")}


def test_a_cancel_played_back_stops_nothing_and_the_next_action_runs(alone: Deployment, tmp_path: Path) -> None:
    alone.broker()
    alone.agent("one")
    asking, action = start_endless(alone)
    until(lambda: decisions(alone, "one", "action"))
    assert alone.call("cancel", action).returncode == 0
    asking.until('"summary"')
    asyncio.run(play_back_newest(alone, f"mig.action.os.linux.{action}"))
    (tmp_path / "passwd").write_text("x")
    answer = alone.ask("-t", "all", "file", "--path", str(tmp_path), "--name", "^passwd$")
    assert answer.states == {"one": "found"}
    assert decisions(alone, "one", "cancel") == [("admitted", "by-signer")]


async def play_back_newest(deployment: Deployment, elsewhere: str) -> None:
    async with console_link(load_console(deployment.home)) as broker:
        (*_, newest) = [stored async for stored in broker.read_stream(ACTIONS, ALL_ACTIONS)]
        for subject in (newest.subject, elsewhere):
            await broker.publish(subject, newest.data)
        await broker.flush()


def test_ctrl_c_names_the_command_that_stops_the_action(alone: Deployment) -> None:
    alone.broker()
    alone.agent("one")
    asking, action = start_endless(alone)
    until(lambda: decisions(alone, "one", "action"))
    asking.signal(signal.SIGINT)
    asking.until(f"investigator cancel {action}")
    assert asking.wait() == 130
    assert alone.call("cancel", action).stdout.decode().startswith("one cancelled")


def test_an_action_that_nobody_knows_is_told_in_one_line(alone: Deployment) -> None:
    alone.broker()
    for words, told in (
        (("0" * 32,), "there is no action"),
        (("nonsense",), "is no action's id"),
        ((), "one of the two"),
        (("0" * 32, "--digest", "12"), "is no action's digest"),
        (("-i", "/nonexistent/file"), "No such file"),
    ):
        done = alone.call("cancel", *words)
        assert done.returncode == 2
        assert told in done.stderr.decode()
        assert "Traceback" not in done.stderr.decode()


def test_a_stolen_key_is_given_up_everywhere_even_where_the_thief_was_first(alone: Deployment, tmp_path: Path) -> None:
    owner = invite(alone, "owner", tmp_path)
    rule(alone, default=(1, {"owner": 1, owner.fingerprint: 1}))
    alone.broker()
    one, late = alone.agents("one", "late")
    late.signal(signal.SIGTERM)
    late.wait()
    words = ("--output", "ndjson", "-t", "all", "--wait", "-e", "120s", *endless(tmp_path / "endless"))
    thief = alone.start("run", "--home", str(owner.home), *words)
    until(lambda: decisions(alone, "one", "action"))
    asyncio.run(revoke(alone, owner))
    assert '"code":"revoked"' in thief.until('"one"')
    late = alone.agent("late")  # in the stream the thief's action stands before the revocation
    assert '"code":"signature"' in thief.until('"late"')
    kept = alone.home / "agents" / "late" / "revocations" / f"{owner.fingerprint}.rev"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert decisions(alone, "late", "revocation") == [("admitted", "kept")]
    for agent in (one, late):
        agent.signal(signal.SIGTERM)
        agent.wait()
    asyncio.run(purge(alone))
    alone.agent("late")
    (tmp_path / "passwd").write_text("x")
    words = ("-t", "name='late'", "file", "--path", str(tmp_path), "--name", "^passwd$")
    assert alone.ask(*words, home=owner.home).outcomes["late"]["code"] == "signature"
    assert alone.ask(*words).states == {"late": "found"}
    thief.end()


async def revoke(deployment: Deployment, person: Person) -> None:
    async with console_link(load_console(deployment.home)) as broker:
        await publish_revocation(broker, person.revocation())


async def purge(deployment: Deployment) -> None:
    """The stream forgets everything, as after 30 days."""
    credentials = Credentials.load(deployment.home / "broker" / "services.creds")
    address = load_console(deployment.home).broker
    broker = await connect(address.url, credentials, name="broker", tls=address.tls)
    try:
        await broker.request(f"$JS.API.STREAM.PURGE.{ACTIONS}", b"", timeout_s=10)
    finally:
        await broker.close()
