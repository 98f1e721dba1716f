"""An action's answers later, elsewhere, and from what is left: real brokers, agents and consoles."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import Answer, Deployment, read_answer

from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.config import load_broker, load_console
from investigator.console.deployment import create_deployment
from investigator.console.keys import load_sealing_key
from investigator.console.link import console_link
from investigator.console.results import find_asked, follow_results
from investigator.console.rules import load_rules
from investigator.console.session import Session
from investigator.console.store import Store
from investigator.protocol.identity import Identity
from investigator.protocol.subjects import HEARTBEATS, RECORDS, RESULTS, result_subject
from real_broker import minted
from telling import Outcomes

PASSWD = ("file", "-path", "/etc", "-name", "^passwd$", "-maxdepth", "0")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        yield deployment


def results(deployment: Deployment, *words: str, home: Path | None = None) -> Answer:
    done = deployment.call("results", "--output", "ndjson", *words, home=home)
    assert b"Traceback" not in done.stderr
    return read_answer(done.returncode, done.stdout, done.stderr)


def listed(deployment: Deployment, *words: str, home: Path | None = None) -> list[dict[str, Any]]:
    done = deployment.call("actions", "--output", "json", *words, home=home)
    assert done.returncode == 0, done.stderr
    return list(orjson.loads(done.stdout)["actions"])


def another_console(alone: Deployment, home: Path, *, trusted: bool) -> Path:
    """Somebody else's laptop at the same broker, with keys of its own; trusted: with this one's keyring and ACL.

    It believes agents without a proof, since who is trusted here vouched for none there.
    """
    port = int(load_console(alone.home).broker.url.rpartition(":")[2])
    create_deployment(home, port=port, passphrase=None)
    shutil.copytree(
        alone.home / "broker", home / "broker", dirs_exist_ok=True, ignore=shutil.ignore_patterns("store", "run")
    )
    if trusted:
        shutil.copytree(alone.home / "keyring", home / "keyring", dirs_exist_ok=True)
        shutil.copy(alone.home / "acl.json", home / "acl.json")
    settings = (home / "console.toml").read_text()
    (home / "console.toml").write_text(settings.replace('enrolment = "token"', 'enrolment = "open"'))
    return home


async def as_broker(deployment: Deployment, subject: str, body: dict[str, Any]) -> dict[str, Any]:
    """What whoever holds the broker can do."""
    address = load_console(deployment.home).broker
    credentials = Credentials.load(load_broker(deployment.home).credentials)
    link = await connect(address.url, credentials, name="test", tls=address.tls)
    try:
        return dict(orjson.loads(await link.request(subject, orjson.dumps(body))))
    finally:
        await link.close()


def test_results_later_are_those_that_run_gave_with_the_same_exit_code(alone: Deployment) -> None:
    alone.broker()
    _, away = alone.agents("here", "away")
    away.signal(signal.SIGTERM)
    assert away.wait() == 0
    asked = alone.ask("-t", "all", *PASSWD)
    assert (asked.code, asked.states) == (6, {"here": "found", "away": "offline"})
    for word in ("last", asked.summary["action"], asked.summary["action"][:8]):
        later = results(alone, word)
        assert (later.code, later.outcomes) == (asked.code, asked.outcomes)
        assert later.summary["states"] == asked.summary["states"]
    text = alone.call("results", "last")
    assert b"here /etc/passwd [lastmodified:" in text.stdout
    assert b"offline" in text.stderr
    assert b"away" in text.stderr
    rows = alone.call("results", "last", "--output", "csv").stdout.decode().splitlines()
    assert [line for line in rows if ",away,offline," in line]


def test_each_state_comes_with_its_limit_and_its_reason_in_every_form(alone: Deployment) -> None:
    usual = "module_timeout_s = 300"
    settings = (alone.home / "agent.toml").read_text()
    assert usual in settings
    (alone.home / "agent.toml").write_text(settings.replace(usual, "module_timeout_s = 0.001"))
    alone.broker()
    _, away = alone.agents("slow", "away")
    away.signal(signal.SIGTERM)
    assert away.wait() == 0
    asked = alone.ask("-t", "all", *PASSWD)
    assert asked.states == {"slow": "timeout", "away": "offline"}
    assert asked.outcomes["slow"]["code"] == "deadline"
    later = results(alone, "last")
    assert (later.code, later.outcomes) == (6, asked.outcomes)
    text = alone.call("results", "last").stderr.decode()
    assert "timeout: slow (deadline: " in text
    assert "offline: away" in text
    rows = alone.call("results", "last", "--output", "csv").stdout.decode().splitlines()[1:]
    assert sorted(row.split(",")[2:5] for row in rows) == [["away", "offline", ""], ["slow", "timeout", "deadline"]]


def test_an_action_that_is_none_or_several_is_one_line(alone: Deployment) -> None:
    alone.broker()
    for word, said in (("last", "nothing was asked"), ("abc", "is no action"), ("abcd", "no action begins with")):
        done = alone.call("results", word)
        assert (done.returncode, said in done.stderr.decode()) == (2, True), done.stderr
    unknown = alone.call("results", "0" * 32)
    assert b"nobody is on record to have asked it" in unknown.stderr


def test_follow_picks_up_an_agent_that_was_off_and_leaves_when_all_have_answered(alone: Deployment) -> None:
    alone.broker()
    _, away = alone.agents("here", "away")
    away.signal(signal.SIGTERM)
    assert away.wait() == 0
    assert alone.ask("-t", "all", "-e", "3d", *PASSWD).states == {"here": "found", "away": "offline"}
    asyncio.run(as_broker(alone, f"$JS.API.STREAM.PURGE.{HEARTBEATS}", {}))  # a month later nothing but facts is left
    assert "away" in alone.call("agents").stdout.decode()
    following = alone.start("results", "last", "--follow", "--output", "ndjson")
    following.until('"here"')
    alone.agent("away")
    following.until('"summary"')
    assert following.wait() == 0
    assert '"states":{"found":2}' in following.lines[-1]
    assert results(alone, "last").code == 0


def test_a_console_that_is_killed_while_it_asks_loses_nothing(alone: Deployment) -> None:
    alone.broker()
    quick = alone.agent("quick")
    slow = alone.agent("slow")
    slow.signal(signal.SIGSTOP)
    asking = alone.start("run", "--output", "ndjson", "-t", "all", *PASSWD)
    asking.until('"quick"')
    asking.signal(signal.SIGKILL)
    asking.wait()
    now = results(alone, "last")
    assert now.states == {"quick": "found"}
    assert (now.code, now.summary["working"]) == (6, 1)
    slow.signal(signal.SIGCONT)
    done = alone.start("results", "last", "--follow", "--output", "ndjson")
    done.until('"summary"')
    assert done.wait() == 0
    assert results(alone, "last").states == {"quick": "found", "slow": "found"}
    assert quick.pid


def test_another_console_has_the_answers_with_the_key_and_says_whose_they_are_without(
    alone: Deployment, tmp_path: Path
) -> None:
    alone.broker()
    alone.agents("web-1", "web-2")
    asked = alone.ask("-t", "all", *PASSWD)
    elsewhere = another_console(alone, tmp_path / "elsewhere", trusted=True)
    people = orjson.loads((alone.home / "people.json").read_bytes())
    (elsewhere / "people.json").write_bytes(orjson.dumps({"ada": next(iter(people.values()))}))
    without = results(alone, asked.summary["action"], home=elsewhere)
    assert (without.code, without.outcomes, without.summary["sealed"]) == (3, {}, 2)
    assert "2 agents have answered; the answers are sealed to ada's key" in without.errors
    key = str(alone.home / "secrets" / "sealing.pem")
    with_key = results(alone, asked.summary["action"][:8], "--key", key, home=elsewhere)
    assert (with_key.code, with_key.outcomes) == (0, asked.outcomes)
    assert results(alone, "last", home=elsewhere).code == 2  # nothing was asked from there
    (entry,) = listed(alone, home=elsewhere)
    assert entry["by"][0]["fingerprint"] == next(iter(people.values()))["fingerprint"]
    assert entry["standing"] == {"source": "signed", "final": True, "states": {"found": 2}}


def test_actions_tells_who_asked_and_marks_whom_this_keyring_does_not_know(alone: Deployment, tmp_path: Path) -> None:
    alone.broker()
    alone.agents("web-1")
    mine = alone.ask("-t", "os = 'linux' OR name = 'web-1'", *PASSWD)
    stranger = another_console(alone, tmp_path / "stranger", trusted=False)
    theirs = alone.ask("-t", "all", "-e", "60s", *PASSWD, home=stranger)
    assert theirs.states == {"web-1": "refused"}
    cancelled = alone.call("cancel", mine.summary["action"])
    assert cancelled.returncode == 0, cancelled.stderr
    one, two = (entry for entry in listed(alone) if entry["action"])
    assert (one["action"], two["action"]) == (mine.summary["action"], theirs.summary["action"])
    assert [person["name"] for person in one["by"]] == one["cancelled"]
    assert one["standing"]["states"] == {"found": 1}
    assert (two["by"], two["problem"][-12:]) == ([], "not trusted.") or "not trusted" in two["problem"]
    assert two["standing"]["source"] == "unsigned"
    text = alone.call("actions").stdout.decode()
    assert text.count(mine.summary["action"][:12]) == 1
    assert "UNVERIFIED" in text
    assert "count not signed" in text


def test_a_damaged_store_is_moved_aside_and_sync_brings_back_what_the_streams_have(alone: Deployment) -> None:
    alone.broker()
    alone.agents("web-1")
    asked = alone.ask("-t", "all", *PASSWD)
    store = alone.home / "console.sqlite"
    store.write_bytes(b"no database " * 1000)
    for beside in alone.home.glob("console.sqlite-*"):
        beside.unlink()
    first, second = alone.call("sync"), alone.call("sync")
    assert "is damaged (file is not a database), and was moved to console.sqlite.damaged-" in first.stderr.decode()
    assert set(first.stdout.decode().splitlines()) == {
        "added 1 action record",
        "added 1 tally record",
        "added 1 answers",
    }
    assert second.stdout.decode() == "nothing to add: the store has all that the streams have\n"
    assert second.stderr == b""
    assert len(list(alone.home.glob("console.sqlite.damaged-*"))) == 1
    asyncio.run(as_broker(alone, f"$JS.API.STREAM.PURGE.{RESULTS}", {}))
    assert results(alone, "last").outcomes == asked.outcomes


def test_an_agents_command_that_meets_a_damaged_store_goes_on_and_says_so(alone: Deployment) -> None:
    alone.broker()
    alone.agents("web-1")
    alone.ask("-t", "all", *PASSWD)
    for beside in alone.home.glob("console.sqlite*"):
        beside.unlink()
    (alone.home / "console.sqlite").write_bytes(b"no database " * 1000)
    done = alone.call("agents")
    assert done.returncode == 0
    assert b"web-1" in done.stdout
    said = done.stderr.decode().splitlines()
    assert len(said) == 2
    assert "rebuilt from the records, with 1 action;" in said[1]


def test_answers_of_unknown_actions_and_rubbish_are_a_line_each_and_stop_nothing(alone: Deployment) -> None:
    alone.broker()
    alone.agents("web-1")
    asked = alone.ask("-t", "all", *PASSWD)

    async def litter() -> None:
        rogue = Identity.generate().id
        address = load_console(alone.home).broker
        link = await connect(address.url, minted(alone.home / "broker", rogue), name="rogue", tls=address.tls)
        for number, action in enumerate(("f" * 32, asked.summary["action"])):
            await link.publish_acked(result_subject(action, rogue), b"rubbish", message_id=str(number))
        await link.close()
        async with console_link(load_console(alone.home)) as investigator:
            subject = f"mig.record.tally.{asked.summary['action']}.nobody"
            await investigator.publish_acked(subject, b"rubbish", message_id="tally")

    asyncio.run(litter())
    lines = alone.call("sync").stdout.decode().splitlines()
    assert "1 answers to 1 actions that nobody is on record to have asked are left alone" in lines
    assert "1 records that cannot be read are kept, and count for nothing" in lines
    again = results(alone, "last")
    assert (again.code, again.outcomes, again.summary["dropped"]) == (0, asked.outcomes, 1)
    assert again.errors.count("was dropped") == 1
    assert len(listed(alone)) == 1


def test_an_agent_that_has_an_action_and_whose_result_a_broker_withholds_is_named(alone: Deployment) -> None:
    quick = "heartbeat_s = 60\n"
    settings = (alone.home / "agent.toml").read_text()
    assert quick in settings
    (alone.home / "agent.toml").write_text(settings.replace(quick, "heartbeat_s = 1\ncatch_up_s = 1\n"))
    alone.broker()
    alone.agents("web-1")
    asked = alone.ask("-t", "all", "-e", "15s", *PASSWD)
    assert asked.states == {"web-1": "found"}

    async def withheld() -> tuple[list[str], dict[str, int]]:
        """A store that never heard the answer, at a broker that has taken it out."""
        await as_broker(alone, f"$JS.API.STREAM.PURGE.{RESULTS}", {})
        config = load_console(alone.home)
        async with console_link(config) as broker, Store(alone.home / "empty.sqlite") as store:
            action = await find_asked(asked.summary["action"], store, broker)
            key = load_sealing_key(alone.home / "secrets" / "sealing.pem", lambda: "")
            told = Outcomes(
                lambda audience: follow_results(
                    action,
                    Session(broker, store, load_rules(alone.home), "token"),
                    audience,
                    private_key=key,
                    follow=True,
                    stop=asyncio.Event(),
                )
            )
            states = {one.name: one.state async for one in told}
            assert told.over is not None
            assert states == {"web-1": "expired"}
            return told.warnings, {str(state): count for state, count in told.over.states.items()}

    warnings, states = asyncio.run(withheld())
    assert warnings == ["web-1 has the action, as its own heartbeat says, and its result never came"]
    assert states == {"expired": 1}


def test_a_host_that_is_no_more_is_forgotten_by_all_consoles_and_one_that_is_there_is_not(
    alone: Deployment, tmp_path: Path
) -> None:
    alone.broker()
    _, gone = alone.agents("here", "gone")
    asked = alone.ask("-t", "all", *PASSWD)
    refused = alone.call("agents", "forget", "here")
    assert (refused.returncode, b"here was seen" in refused.stderr) == (2, True)
    gone.signal(signal.SIGTERM)
    assert gone.wait() == 0
    done = alone.call("agents", "forget", "gone")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"forgot gone (")
    elsewhere = another_console(alone, tmp_path / "elsewhere", trusted=True)
    for home in (alone.home, elsewhere):
        assert b"gone" not in alone.call("agents", home=home).stdout
    assert alone.call("agents", "forget", "gone").returncode == 2
    assert results(alone, "last").states == asked.states  # what it said stays
    alone.agent("gone", "--state", str(alone.home / "agents" / "gone"))
    assert b"gone" in alone.call("agents").stdout


def test_heartbeats_that_a_broker_plays_back_make_nobody_look_alive(alone: Deployment) -> None:
    alone.broker()
    (agent,) = alone.agents("web-1")
    assert b"online" in alone.call("agents").stdout

    async def last_heartbeat() -> Any:
        async with console_link(load_console(alone.home)) as broker:
            return [stored async for stored in broker.read_stream(HEARTBEATS, "mig.hb.*")][-1]

    old = asyncio.run(last_heartbeat())
    agent.signal(signal.SIGTERM)
    assert agent.wait() == 0
    assert b"offline" in alone.call("agents").stdout

    async def play_back() -> None:
        agent = old.subject.rpartition(".")[2]
        address = load_console(alone.home).broker
        link = await connect(address.url, minted(alone.home / "broker", agent), name="rogue", tls=address.tls)
        await link.publish(old.subject, old.data)
        await link.flush()
        await link.close()

    asyncio.run(play_back())

    async def played() -> bool:
        return bool((await last_heartbeat()).data == old.data)

    deadline = time.monotonic() + 20
    while not asyncio.run(played()):
        assert time.monotonic() < deadline
    done = alone.call("agents")
    assert b"online" not in done.stdout
    assert b"its heartbeats are older than one that was heard before" in done.stderr


def test_a_store_of_a_newer_version_stops_a_command_in_one_line(alone: Deployment) -> None:
    import sqlite3

    with sqlite3.connect(alone.home / "console.sqlite") as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    alone.broker()
    done = alone.call("results", "last")
    assert done.returncode == 5
    assert (
        done.stderr.decode().splitlines()[0].endswith("written by a newer investigator (schema 99; this one knows 4)")
    )


def test_the_final_tally_is_on_record_once_however_often_somebody_looks(alone: Deployment) -> None:
    alone.broker()
    alone.agents("web-1")
    asked = alone.ask("-t", "all", *PASSWD)
    for _ in range(2):
        results(alone, "last")

    async def tallies() -> int:
        async with console_link(load_console(alone.home)) as broker:
            subject = f"mig.record.tally.{asked.summary['action']}.*"
            return len([stored async for stored in broker.read_stream(RECORDS, subject)])

    assert asyncio.run(tallies()) == 1
