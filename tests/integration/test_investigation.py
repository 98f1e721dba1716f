"""One investigation, end to end: real broker, real agents, the command line as a user and a program see it."""

from __future__ import annotations

import asyncio
import csv
import io
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from clustered import Clustered
from deployment import Deployment, Process, is_running, pieces_told, read_answer
from endless import endless

from investigator.broker.connection import Broker, Message
from investigator.config import load_console
from investigator.console.audience import Summary
from investigator.console.keys import load_sealing_key
from investigator.console.link import console_link
from investigator.console.rules import load_rules
from investigator.protocol.answer import Assembly, unpack
from investigator.protocol.result import Outcome
from investigator.protocol.subjects import ACTIONS, ALL_ACTIONS


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A broker and three agents, for tests that only ask."""
    with Deployment(tmp_path_factory.mktemp("fleet") / "home") as deployment:
        deployment.broker()
        started = [
            deployment.agent("web-1", "--tag", "role=web", until=""),
            deployment.agent("web-2", "--tag", "role=web", until=""),
            deployment.agent("db-1", "--tag", "role=db", until=""),
        ]
        for process in started:
            process.until("connected")
        yield deployment


@pytest.fixture(scope="module", params=["embedded", "cluster"])
def either(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """The same fleet on the embedded broker, and on three clustered servers."""
    if request.param == "embedded":
        yield request.getfixturevalue("fleet")
        return
    with Clustered(tmp_path_factory.mktemp("clustered") / "home") as deployment:
        deployment.broker()
        for process in [
            deployment.agent("web-1", "--tag", "role=web", until=""),
            deployment.agent("web-2", "--tag", "role=web", until=""),
            deployment.agent("db-1", "--tag", "role=db", until=""),
        ]:
            process.until("connected")
        yield deployment


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Deployment]:
    """A deployment of its own, for tests that break things."""
    with Deployment(tmp_path / "home") as deployment:
        yield deployment


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "passwd").write_text("root:x:0:0\n")
    (folder / "notes.txt").write_text("nothing to see\n")
    return folder


def test_every_agent_answers_and_each_is_told_once(either: Deployment, tree: Path) -> None:
    answer = either.ask("file", "--path", str(tree), "--name", "^passwd$")
    assert answer.code == 0
    assert answer.states == {"web-1": "found", "web-2": "found", "db-1": "found"}
    assert answer.summary["states"] == {"found": 3}
    assert answer.summary["targeted"] == 3
    (result,) = answer.outcomes["db-1"]["results"]
    assert list(result) == ["foundanything", "success", "elements", "statistics", "errors"]
    assert result["elements"]["s1"][0]["file"] == str(tree / "passwd")


def test_a_target_asks_only_whom_it_means(either: Deployment, tree: Path) -> None:
    answer = either.ask(
        *("-t", "tags->>'role' = 'web'"), "file", "-path", str(tree), "-name", r"\.txt$", "-content", "^nothing"
    )
    assert answer.states == {"web-1": "found", "web-2": "found"}
    assert answer.summary["targeted"] == 2


def test_many_findings_come_in_pieces_and_none_is_lost_or_told_twice(either: Deployment, tmp_path: Path) -> None:
    names = {f"{number:0200}" for number in range(2500)}
    for name in names:
        (tmp_path / name).touch()
    asked = ("-t", "name='db-1'", "file", "--path", str(tmp_path), "--name", r"\d{200}", "--matchlimit", "3000")
    (result,) = either.ask(*asked).outcomes["db-1"]["results"]
    found = [Path(element["file"]).name for element in result["elements"]["s1"]]
    assert len(found) == result["statistics"]["totalhits"] == 2500
    assert set(found) == names
    assert result["errors"] is None
    text = either.call("run", *asked).stdout.decode().splitlines()
    assert len(text) == len(set(text)) == 2500
    assert sum(map(len, pieces_told(either).values())) >= 4


def test_what_finds_nothing_says_so(fleet: Deployment, tree: Path) -> None:
    answer = fleet.ask("file", "--path", str(tree), "--name", "^shadow$")
    assert answer.code == 0
    assert set(answer.states.values()) == {"notfound"}


def test_a_key_that_agents_do_not_trust_is_refused_by_all_with_the_reason(
    fleet: Deployment, tree: Path, tmp_path: Path
) -> None:
    stranger = fleet.stranger(tmp_path / "stranger")
    answer = fleet.ask("file", "--path", str(tree), "--name", "x", home=stranger)
    assert answer.code == 6
    assert answer.summary["states"] == {"refused": 3}
    for outcome in answer.outcomes.values():
        assert outcome["code"] == "signature"
        assert "is not trusted" in outcome["reason"]


def test_text_output_names_hosts_and_ends_with_one_line_that_counts(fleet: Deployment, tree: Path) -> None:
    done = fleet.call("run", "file", "--path", str(tree), "--name", "^passwd$")
    assert done.returncode == 0
    found = done.stdout.decode().splitlines()
    assert sorted(line.split()[0] for line in found) == ["db-1", "web-1", "web-2"]
    assert all(f"{tree}/passwd [lastmodified:" in line for line in found)
    assert "3 targeted: 3 found" in done.stderr.decode().splitlines()[-1]


def test_json_and_csv_hold_the_same_answers(fleet: Deployment, tree: Path) -> None:
    asked = ("file", "--path", str(tree), "--name", "^passwd$")
    document = orjson.loads(fleet.call("run", "--output", "json", *asked).stdout)
    assert document["summary"]["states"] == {"found": 3}
    assert {outcome["agent"]["name"] for outcome in document["outcomes"]} == {"web-1", "web-2", "db-1"}
    rows = list(csv.DictReader(io.StringIO(fleet.call("run", "--output", "csv", *asked).stdout.decode())))
    assert sorted(row["agent_name"] for row in rows) == ["db-1", "web-1", "web-2"]


def test_an_action_file_runs_every_operation(fleet: Deployment, tree: Path, tmp_path: Path) -> None:
    search = {"s1": {"paths": [str(tree)], "names": ["^passwd$"], "options": {"matchall": True}}}
    known, unknown = {"module": "file", "parameters": {"searches": search}}, {"module": "nosuchmodule"}
    document = {"name": "two questions", "target": "environment->>'os'='linux'", "syntaxversion": 2}
    path = tmp_path / "action.json"
    path.write_bytes(orjson.dumps({**document, "operations": [known, known]}))
    answer = fleet.ask("-i", str(path))
    assert answer.states == {"web-1": "found", "web-2": "found", "db-1": "found"}
    assert len(answer.outcomes["web-1"]["results"]) == 2
    path.write_bytes(orjson.dumps({**document, "operations": [known, unknown]}))
    refused = fleet.call("run", "-i", str(path))
    assert refused.returncode == 2
    assert "nosuchmodule" in refused.stderr.decode()


def test_agents_lists_the_fleet(either: Deployment) -> None:
    text = either.call("agents").stdout.decode()
    assert all(name in text for name in ("web-1", "web-2", "db-1", "role=web", "online"))
    lines = [orjson.loads(line) for line in either.call("agents", "--output", "ndjson").stdout.splitlines()]
    assert sum(1 for line in lines if line.get("status") == "online") == 3
    only = either.call("agents", "--target", "name = 'db-1'").stdout.decode()
    assert "db-1" in only
    assert "web-1" not in only


def test_a_dry_run_shows_everything_and_sends_nothing(fleet: Deployment, tree: Path) -> None:
    before = asyncio.run(stored_actions(fleet))
    done = fleet.call("run", "--dry-run", "-t", "os='linux'", "file", "--path", str(tree), "--name", "x")
    text = done.stdout.decode()
    assert '["=",["column","os"],["text","linux"]]' in text
    assert "mig.action.os.linux." in text
    assert all(name in text for name in ("web-1", "web-2", "db-1"))
    assert asyncio.run(stored_actions(fleet)) == before


def test_an_action_with_many_hits_comes_in_parts_and_whole(fleet: Deployment, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(4000):
        (folder / f"file-with-a-rather-long-name-{number:05}").touch()
    answer = fleet.ask("-t", "name='db-1'", "file", "--path", str(folder), "--name", "^file", "--matchlimit", "0")
    assert answer.states == {"db-1": "found"}
    assert len(answer.outcomes["db-1"]["results"][0]["elements"]["s1"]) == 4000


def test_the_same_envelope_again_is_refused_as_a_replay_and_a_copy_for_another_agent_as_not_meant(
    either: Deployment, tree: Path
) -> None:
    either.ask("-t", "name='web-1'", "file", "--path", str(tree), "--name", "^passwd$")
    refusals = asyncio.run(replay_the_newest(either))
    assert refusals == {"web-1": "replayed", "db-1": "not-targeted"}


async def replay_the_newest(fleet: Deployment) -> dict[str, str]:
    """Publish the newest action again where it went, and to the agent db-1, as a rogue broker could."""
    config = load_console(fleet.home)
    agents = [orjson.loads(line) for line in fleet.call("agents", "--output", "ndjson").stdout.splitlines()]
    names = {row["id"]: row["name"] for row in agents if row.get("id")}
    ids = {name: agent for agent, name in names.items()}
    async with console_link(config) as broker:
        (*_, newest) = [stored async for stored in broker.read_stream(ACTIONS, ALL_ACTIONS)]
        action = newest.subject.rpartition(".")[2]
        answered: dict[str, bytes] = {}
        done = asyncio.Event()

        def hear(message: Message) -> None:
            answered[names[message.subject.rpartition(".")[2]]] = message.data
            if len(answered) == 2:
                done.set()

        await broker.subscribe(f"mig.result.{action}.*", hear)
        await broker.publish(newest.subject, newest.data)
        await broker.publish(f"mig.action.agent.{ids['db-1']}.{action}", newest.data)
        await asyncio.wait_for(done.wait(), 20)
    return {name: open_refusal(fleet, payload, action, ids[name]) for name, payload in answered.items()}


def test_a_copy_without_signatures_that_comes_first_does_not_pass_for_the_actions_refusal(
    fleet: Deployment, tree: Path
) -> None:
    """Another agent has read the action and plays it, spoiled, to the others before they have heard the real one."""
    spoiled = asyncio.run(ask_with_a_spoiled_copy_ahead(fleet, tree))
    assert spoiled.states == {"found": 3}
    assert spoiled.dropped == 3


async def ask_with_a_spoiled_copy_ahead(fleet: Deployment, tree: Path) -> Summary:
    from datetime import timedelta

    from investigator.console import investigation
    from investigator.console.dispatch import Prepared, publish, sign_action, write_action
    from investigator.console.keys import load_signer
    from investigator.console.render import renderer
    from investigator.console.session import Session
    from investigator.console.store import Store
    from investigator.modules import get_module
    from investigator.protocol.action import Operation

    config = load_console(fleet.home)
    nested = {"paths": [str(tree)], "names": ["^passwd$"], "options": {"matchall": True}}
    action = write_action(
        name="spoiled",
        target="all",
        operations=[Operation(module="file", parameters=get_module("file").from_flags(nested))],
        now_s=time.time(),
        life=timedelta(seconds=60),
        macros={},
        sealto=None,
    )
    prepared = sign_action(action, load_signer(config.signer, lambda: ""))

    async def publish_spoiled_first(prepared: Prepared, broker: Broker, *, now_s: float) -> dict[str, int]:
        copy = orjson.dumps({"v": 1, "action": prepared.envelope.action, "pgpsignatures": []})
        await broker.publish(f"mig.action.os.linux.{action.id}", copy)
        return await publish(prepared, broker, now_s=now_s)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(investigation, "publish", publish_spoiled_first)
        async with console_link(config) as broker, Store(config.store) as store:
            return await investigation.investigate(
                prepared,
                Session(broker, store, load_rules(fleet.home), config.enrolment),
                renderer("ndjson", show="all", modules=["file"], stdout=io.StringIO(), stderr=io.StringIO()),
                private_key=None,
                wait=False,
                stop=asyncio.Event(),
            )


def open_refusal(fleet: Deployment, payload: bytes, action: str, agent: str) -> str:
    key = load_sealing_key(fleet.home / "secrets" / "sealing.pem", lambda: "")
    outcome = Assembly().add(*unpack(payload, action=action, agent=agent, private_key=key))
    assert isinstance(outcome, Outcome)
    assert outcome.state == "refused"
    return outcome.code


async def stored_actions(fleet: Deployment) -> int:
    async with console_link(load_console(fleet.home)) as broker:
        return len([stored async for stored in broker.read_stream(ACTIONS, ALL_ACTIONS)])


def test_an_agent_that_is_away_is_offline_and_one_that_comes_later_still_answers(alone: Deployment, tree: Path) -> None:
    alone.broker()
    here, away = alone.agents("here", "away")
    away.signal(signal.SIGTERM)
    assert away.wait() == 0
    answer = alone.ask("-t", "all", "file", "--path", str(tree), "--name", "^passwd$")
    assert answer.states == {"here": "found", "away": "offline"}
    assert answer.code == 6
    asking = start_asking(alone, "-t", "all", "--wait", "-e", "40s", "file", "--path", str(tree), "--name", "^passwd$")
    asking.until('"here"')
    alone.agent("away")
    asking.until('"summary"')
    assert asking.wait() == 0
    assert '"states":{"found":2}' in asking.lines[-1]
    assert here.pid


def start_asking(deployment: Deployment, *words: str) -> Process:
    return deployment.start("run", "--output", "ndjson", *words)


def test_agents_answer_again_after_the_broker_was_killed_and_came_back(alone: Deployment, tree: Path) -> None:
    broker = alone.broker()
    server = int(broker.lines[-1].rpartition("pid ")[2])
    alone.agents("one", "two")
    broker.signal(signal.SIGKILL)
    broker.wait()
    wait_until_gone(server)
    nobody = alone.call("run", "file", "--path", str(tree), "--name", "x")
    assert nobody.returncode == 4
    assert nobody.stderr.decode().splitlines()[-1].count("investigator: ") <= 1
    alone.broker()
    answer = alone.ask("-t", "all", "--wait", "-e", "40s", "file", "--path", str(tree), "--name", "^passwd$")
    assert answer.states == {"one": "found", "two": "found"}


def wait_until_gone(pid: int) -> None:
    """The kernel tells the server of its parent's death; it takes a moment to stop."""
    with os_pidfd(pid) as descriptor:
        if descriptor is not None:
            import select

            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            assert poll.poll(20_000), f"process {pid} outlives the one that started it"
    assert not is_running(pid)


class os_pidfd:  # noqa: N801 - reads like a function
    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._descriptor: int | None = None

    def __enter__(self) -> int | None:
        try:
            self._descriptor = os.pidfd_open(self._pid)
        except ProcessLookupError:
            return None
        return self._descriptor

    def __exit__(self, *error: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def test_a_broker_that_goes_away_in_the_middle_is_one_clear_line_and_what_came_is_kept(
    alone: Deployment, tree: Path
) -> None:
    broker = alone.broker()
    alone.agents("quick")
    slow = alone.agent("slow")
    slow.signal(signal.SIGSTOP)
    asking = start_asking(alone, "-t", "all", "file", "--path", str(tree), "--name", "^passwd$")
    asking.until('"quick"')
    broker.signal(signal.SIGTERM)
    assert broker.wait() == 0
    asking.until("the broker went away for more than")
    assert asking.wait() == 4
    slow.signal(signal.SIGCONT)
    assert any('"summary"' in line and '"found":1' in line for line in asking.lines)


def test_ctrl_c_leaves_with_what_has_arrived(alone: Deployment, tree: Path) -> None:
    alone.broker()
    alone.agents("quick")
    slow = alone.agent("slow")
    slow.signal(signal.SIGSTOP)
    asking = start_asking(alone, "-t", "all", "file", "--path", str(tree), "--name", "^passwd$")
    asking.until('"quick"')
    asking.signal(signal.SIGINT)
    asking.until('"summary"')
    assert asking.wait() == 130
    slow.signal(signal.SIGCONT)


def test_an_agent_that_is_killed_while_it_works_answers_when_it_is_back_and_runs_nothing_twice(
    alone: Deployment, tmp_path: Path
) -> None:
    alone.broker()
    agent = alone.agent("only")
    asking = start_asking(alone, "-t", "all", "--wait", "-e", "45s", *endless(tmp_path / "endless"))
    agent_is_working(agent)
    agent.signal(signal.SIGKILL)
    agent.wait()
    alone.agent("only")
    asking.until('"summary"')
    assert asking.wait() == 6
    (outcome,) = read_answer(6, asking_output(asking), b"").outcomes.values()
    assert (outcome["state"], outcome["code"]) == ("failed", "interrupted")


def asking_output(asking: Process) -> bytes:
    return "\n".join(line for line in asking.lines if line.startswith("{")).encode()


def agent_is_working(agent: Process) -> None:
    """Until the agent's fork server has a worker: seen in the kernel's own list of children."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for server in children(agent.pid):
            if children(server):
                return
        time.sleep(0.005)
    raise AssertionError("the agent started no worker")


def children(pid: int) -> list[int]:
    try:
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return []


def test_a_stopped_broker_stops_cleanly_and_leaves_no_server(alone: Deployment) -> None:
    broker = alone.broker()
    server = int(broker.lines[-1].rpartition("pid ")[2])
    broker.signal(signal.SIGINT)
    assert broker.wait() == 0
    assert not is_running(server)


def test_a_second_agent_on_the_same_state_and_a_second_broker_are_told_in_one_line(alone: Deployment) -> None:
    alone.broker()
    alone.agent("one")
    second = alone.call("agent", "--name", "one")
    assert second.returncode == 5
    assert "another agent runs with this state" in second.stderr.decode()
    other = alone.call("broker")
    assert other.returncode in (4, 5)
    assert "another broker runs" in other.stderr.decode()


def test_credentials_of_agents_do_not_open_the_console(fleet: Deployment, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(fleet.home, home, ignore=shutil.ignore_patterns("broker", "agents", "*.sqlite*"))
    (home / "broker").mkdir()
    shutil.copy(fleet.home / "broker" / "enrol.creds", home / "broker" / "investigator.creds")
    shutil.copy(fleet.home / "broker" / "ca.pem", home / "broker" / "ca.pem")
    done = fleet.call("agents", home=home)
    assert done.returncode == 4
    assert "not allowed to" in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()
