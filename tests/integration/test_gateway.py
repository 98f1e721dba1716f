"""The gateway with a real broker, real agents and scripts, honest ones and others."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import Deployment
from endless import endless

from investigator.broker.connection import Broker, Message, connect
from investigator.broker.credentials import Credentials
from investigator.broker.operator import add_person
from investigator.broker.problems import NotPermittedError
from investigator.broker.scopes import Scope
from investigator.config import load_console
from investigator.console.keys import load_sealing_key
from investigator.console.link import console_link
from investigator.errors import BrokerError
from investigator.pgp.secret import generate_key
from investigator.pgp.signer import KeyFileSigner
from investigator.protocol.answer import Assembly, unpack
from investigator.protocol.subjects import ACTIONS, ALL_ACTIONS, ALL_HEARTBEATS, ALL_RESULTS


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A broker, two agents and a gateway."""
    with Deployment(tmp_path_factory.mktemp("gateway") / "home") as deployment:
        deployment.broker()
        deployment.agents("web-1", "db-1")
        deployment.start("gateway").until("gateway ready")
        add_person(deployment.home / "broker", "tick", now_s=int(time.time()), scope=Scope.SCRIPT).save(
            deployment.home / "tick.creds"
        )
        yield deployment


async def link(fleet: Deployment, credentials: Path, **more: Any) -> Broker:
    broker, user = load_console(fleet.home).broker, Credentials.load(credentials)
    return await connect(broker.url, user, name=user.name, tls=broker.tls, **more)


@contextlib.asynccontextmanager
async def script(fleet: Deployment, name: str = "tick") -> AsyncIterator[Broker]:
    async with await link(fleet, fleet.home / f"{name}.creds") as broker:
        yield broker


async def ask(broker: Broker, method: str, request: object, inbox: str = "") -> list[dict[str, Any]]:
    """Every reply but the last one, which is empty."""
    heard: asyncio.Queue[Message] = asyncio.Queue()
    inbox = inbox or f"{broker.inbox}.{time.monotonic_ns()}"
    subscription = await broker.subscribe(inbox, heard.put_nowait)
    await broker.publish(
        f"mig.api.{method}", request if isinstance(request, bytes) else orjson.dumps(request), reply=inbox
    )
    replies = []
    while (message := await heard.get()).data:
        replies.append(orjson.loads(message.data))
    await subscription.unsubscribe()
    return replies


def signed(fleet: Deployment, *words: str) -> dict[str, Any]:
    """What `run -s` prints."""
    done = fleet.call("run", "-s", *words)
    assert done.returncode == 0, done.stderr
    envelope: dict[str, Any] = orjson.loads(done.stdout)
    return envelope


def asking(envelope: dict[str, Any], **more: object) -> dict[str, object]:
    return {"envelope": envelope, "sealto": orjson.loads(envelope["action"])["sealto"] or "none", **more}


def unsealed(fleet: Deployment, tmp_path: Path, *words: str) -> dict[str, Any]:
    """The same of a console whose results are not sealed."""
    home = tmp_path / "open"
    home.mkdir()
    text = (fleet.home / "console.toml").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("sealing_key")]
    file = fleet.home / f"console-{tmp_path.name}.toml"
    file.write_text("\n".join(lines))
    file.chmod(0o600)
    return signed(fleet, "-c", str(file), *words)


def of(replies: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [reply for reply in replies if reply.get("type") == kind]


async def stored(fleet: Deployment) -> int:
    async with console_link(load_console(fleet.home)) as broker:
        return len([each async for each in broker.read_stream(ACTIONS, ALL_ACTIONS)])


def opened(fleet: Deployment, result: dict[str, Any]) -> Any:
    key = load_sealing_key(fleet.home / "secrets" / "sealing.pem", lambda: "")
    payload, agent = base64.b64decode(result["payload"]), result["agent"]["id"]
    return Assembly().add(*unpack(payload, action=result["action"], agent=agent, private_key=key))


async def test_sealed_answers_are_passed_on_as_they_came_and_the_gateway_cannot_say_what_is_in_them(
    fleet: Deployment,
) -> None:
    envelope = signed(fleet, "-t", "all", "file", "-path", "/etc", "-name", "^passwd$")
    async with script(fleet) as tick:
        replies = await ask(tick, "run", asking(envelope))
        again = await ask(tick, "results", {"action": replies[0]["action"]})
    assert (replies[0]["type"], replies[0]["targeted"], replies[0]["expected"]) == ("started", 2, 2)
    results = of(replies, "result")
    assert {result["agent"]["name"] for result in results} == {"web-1", "db-1"}
    assert all(result["sealed"] for result in results)
    assert [opened(fleet, result).state for result in results] == ["found", "found"]
    assert {state["state"] for state in of(replies, "state")} == {"answered"}
    assert replies[-1]["states"] == {"answered": 2}
    assert sorted(r["payload"] for r in of(again, "result")) == sorted(r["payload"] for r in results)


async def test_where_none_is_said_the_gateway_tells_the_states_too(fleet: Deployment, tmp_path: Path) -> None:
    envelope = unsealed(fleet, tmp_path, "-t", "all", "file", "-path", "/etc", "-name", "^passwd$")
    async with script(fleet) as tick:
        replies = await ask(tick, "run", asking(envelope))
    assert {state["agent"]["name"]: state["state"] for state in of(replies, "state")} == {
        "web-1": "found",
        "db-1": "found",
    }
    assert not any(result["sealed"] for result in of(replies, "result"))
    assert replies[-1]["states"] == {"found": 2}


async def test_who_can_read_the_results_must_be_said_as_it_is_signed(fleet: Deployment, tmp_path: Path) -> None:
    sealed = signed(fleet, "-t", "all", "file", "-path", "/etc", "-name", "x")
    open_to_all = unsealed(fleet, tmp_path, "-t", "all", "file", "-path", "/etc", "-name", "x")
    key = orjson.loads(sealed["action"])["sealto"]
    before = await stored(fleet)
    async with script(fleet) as tick:
        for envelope, said in ((sealed, "none"), (open_to_all, key), (open_to_all, "")):
            (refusal,) = await ask(tick, "run", {"envelope": envelope, "sealto": said})
            assert refusal["code"] == "sealto"
        (refusal,) = await ask(tick, "run", {"envelope": open_to_all})
        assert (refusal["code"], "sealto" in refusal["error"]) == ("bad-input", True)
    assert await stored(fleet) == before


async def test_what_nobody_signed_or_somebody_changed_is_refused_before_it_is_published(fleet: Deployment) -> None:
    envelope = signed(fleet, "-t", "all", "file", "-path", "/etc", "-name", "^passwd$")
    mallory = KeyFileSigner(generate_key("mallory", "m@example.net", None).secret.encode())
    text = envelope["action"]
    spoiled = [
        ({**envelope, "pgpsignatures": []}, "signature"),
        ({**envelope, "action": text.replace("passwd", "shadow")}, "signature"),
        ({**envelope, "pgpsignatures": [mallory.sign(text.encode())]}, "signature"),
        ({**envelope, "action": text.replace('"type":"action"', '"type":"cancel"')}, "signature"),
        ({**envelope, "action": "[" * 1000}, "signature"),
        ({**envelope, "more": 1}, "bad-input"),
        ({**envelope, "pgpsignatures": envelope["pgpsignatures"] * 20}, "bad-input"),
    ]
    before = await stored(fleet)
    async with script(fleet) as tick:
        for changed, code in spoiled:
            (refusal,) = await ask(tick, "run", {**asking(envelope), "envelope": changed})
            assert refusal["code"] == code, refusal
    assert await stored(fleet) == before


async def test_a_script_that_passes_the_gateway_by_makes_no_agent_do_anything(fleet: Deployment) -> None:
    """The broker does not let it; and where a broker does, agents refuse what nobody signed."""
    envelope = signed(fleet, "-t", "all", "file", "-path", "/etc", "-name", "^passwd$")
    action = orjson.loads(envelope["action"])["id"]
    spoiled = orjson.dumps({**envelope, "action": envelope["action"].replace("passwd", "shadow")})
    async with script(fleet) as tick:
        await tick.publish(f"mig.action.all.{action}", spoiled)
        with pytest.raises(NotPermittedError):
            await tick.flush()
    async with console_link(load_console(fleet.home)) as console:
        answers: asyncio.Queue[Message] = asyncio.Queue()
        await console.subscribe(f"mig.result.{action}.*", answers.put_nowait)
        await console.publish_acked(f"mig.action.all.{action}", spoiled, message_id=action, ttl_s=60)
        for _ in range(2):
            message = await answers.get()
            agent = message.subject.rpartition(".")[2]
            told = Assembly().add(*unpack(message.data, action=action, agent=agent, private_key=None))
            assert (told.state, told.code) == ("refused", "signature")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "subject",
    ["mig.action.all.x", "mig.result.x.y", "mig.facts.x", "mig.hb.x", "mig.enrol.request", "mig.enrol.admin", "mig.status",
     "mig.record.tally.x.y", "_INBOX.investigator.x", "_INBOX.gateway.x", "$JS.API.STREAM.INFO.MIG_ACTIONS",
     "$JS.API.DIRECT.GET.MIG_RESULTS", "$SYS.REQ.SERVER.PING"],
)  # fmt: skip
async def test_a_script_may_not_publish_to(fleet: Deployment, subject: str) -> None:
    async with script(fleet) as tick:
        await tick.publish(subject, b"x")
        with pytest.raises(NotPermittedError):
            await tick.flush()


@pytest.mark.parametrize(
    "subject", [">", "mig.>", "mig.api.*", "mig.action.>", "mig.result.>", "_INBOX.>", "_INBOX.gateway.>", "$SRV.>"]
)
async def test_a_script_may_not_listen_to(fleet: Deployment, subject: str) -> None:
    async with script(fleet) as tick:
        with pytest.raises(NotPermittedError):
            await tick.subscribe(subject, lambda _: None)


@pytest.mark.parametrize("subject", ["mig.record.tally.x.y", "mig.enrol.admin", "$JS.API.STREAM.PURGE.MIG_ACTIONS",
                                     "$JS.API.STREAM.MSG.DELETE.MIG_FACTS", "_INBOX.investigator.x"])  # fmt: skip
async def test_a_gateway_may_not_publish_to(fleet: Deployment, subject: str) -> None:
    async with await link(fleet, fleet.home / "broker" / "gateway.creds") as broker:
        await broker.publish(subject, b"x")
        with pytest.raises(NotPermittedError):
            await broker.flush()


@pytest.mark.parametrize(
    "reply",
    ["mig.action.all.x", "mig.result.x.y", "mig.hb.a", "$JS.API.STREAM.PURGE.MIG_ACTIONS", "_INBOX", "_INBOX.>"],
)
async def test_the_gateway_is_not_made_to_write_where_a_script_may_not(fleet: Deployment, reply: str) -> None:
    heard: list[Message] = []
    async with script(fleet) as tick, console_link(load_console(fleet.home)) as console:
        for subject in (ALL_RESULTS, ALL_HEARTBEATS):
            await console.subscribe(subject, lambda message: heard.append(message) if b"code" in message.data else None)
        before = await stored(fleet)
        await tick.publish("mig.api.run", b"rubbish", reply=reply)
        await ask(tick, "run", b"rubbish")  # answered later than the other would be
        await console.flush()
        assert heard == []
        assert await stored(fleet) == before


@pytest.mark.parametrize("method", ["run", "agents", "actions", "results", "cancel"])
@pytest.mark.parametrize(
    "request_", [b"rubbish", b"[]", b'{"a": 1, "a": 2}', b"[" * 5000, b'{"x": 1}', b"\xff", b"{} {}"]
)
async def test_rubbish_is_one_error_and_an_end(fleet: Deployment, method: str, request_: bytes) -> None:
    async with script(fleet) as tick:
        (refusal,) = await ask(tick, method, request_)
    assert set(refusal) == {"error", "code", "hint"}
    assert refusal["code"] == "bad-input"
    assert refusal["error"].isprintable()


async def test_agents_of_a_target_are_told_one_by_one(fleet: Deployment) -> None:
    async with script(fleet) as tick:
        everybody = await ask(tick, "agents", b"")
        (one,) = await ask(tick, "agents", {"target": "name = 'db-1'"})
        (refusal,) = await ask(tick, "agents", {"target": "nonsense = 1"})
    assert [agent["name"] for agent in everybody] == ["db-1", "web-1"]
    assert (one["status"], one["row"]["os"]) == ("online", "linux")
    assert refusal["code"] == "bad-target"


async def test_actions_and_their_signers_are_told(fleet: Deployment) -> None:
    envelope = signed(fleet, "-t", "all", "-n", "on record", "file", "-path", "/etc", "-name", "x")
    async with script(fleet) as tick:
        await ask(tick, "run", asking(envelope))
        recorded = {action["name"]: action for action in await ask(tick, "actions", {})}
    assert recorded["on record"]["modules"] == ["file"]
    assert len(recorded["on record"]["by"]) == 1


async def test_a_signed_cancel_stops_what_runs_and_one_that_nobody_signed_stops_nothing(fleet: Deployment) -> None:
    envelope = signed(fleet, "-t", "name = 'web-1'", "-e", "120s", *endless(fleet.home.parent / "endless"))
    action = orjson.loads(envelope["action"])["id"]
    async with script(fleet) as tick:
        async with asyncio.TaskGroup() as group:
            started = asyncio.Event()
            running = group.create_task(follow(tick, asking(envelope), started))
            await started.wait()
            cancel = orjson.loads(fleet.call("cancel", "--sign-only", action).stdout)
            (refusal,) = await ask(tick, "cancel", {"envelope": {**cancel, "pgpsignatures": []}})
            (done,) = await ask(tick, "cancel", {"envelope": cancel})
        replies = running.result()
        (again,) = await ask(tick, "run", asking(envelope))
    assert refusal["code"] == "signature"
    assert again["code"] == "cancelled"  # or agents that were away would never hear of the cancel
    assert (done["type"], done["action"]) == ("cancelled", action)
    (result,) = of(replies, "result")
    assert (opened(fleet, result).state, opened(fleet, result).code) == ("cancelled", "by-signer")


async def follow(broker: Broker, request: object, started: asyncio.Event) -> list[dict[str, Any]]:
    heard: asyncio.Queue[Message] = asyncio.Queue()
    await broker.subscribe(f"{broker.inbox}.follow", heard.put_nowait)
    await broker.publish("mig.api.run", orjson.dumps(request), reply=f"{broker.inbox}.follow")
    replies = []
    while (message := await heard.get()).data:
        replies.append(orjson.loads(message.data))
        started.set()
    return replies


async def test_it_is_found_and_described_as_a_micro_service(fleet: Deployment) -> None:
    async with script(fleet) as tick:
        ping = orjson.loads(await tick.request("$SRV.PING", b""))
        info = orjson.loads(await tick.request("$SRV.INFO.mig-api", b""))
        (refusal,) = await ask(tick, "run", b"rubbish")
        stats = orjson.loads(await tick.request(f"$SRV.STATS.mig-api.{ping['id']}", b""))
    assert ping["type"] == "io.nats.micro.v1.ping_response"
    assert (ping["name"], info["id"]) == ("mig-api", ping["id"])
    assert {endpoint["subject"] for endpoint in info["endpoints"]} == {
        f"mig.api.{method}" for method in ("run", "agents", "actions", "results", "cancel")
    }
    (run,) = [endpoint for endpoint in stats["endpoints"] if endpoint["name"] == "run"]
    assert run["num_errors"] >= 1
    assert run["last_error"] == refusal["error"]


def test_credentials_are_made_once_used_and_taken_back(fleet: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "nightly.creds"
    assert fleet.call("gateway", "script", "nightly", "-o", str(file)).returncode == 0
    assert file.stat().st_mode & 0o077 == 0
    assert fleet.call("gateway", "script", "nightly", "-o", str(tmp_path / "b.creds")).returncode == 5
    done = fleet.call("gateway", "call", "agents", "--credentials", str(file))
    assert done.returncode == 0, done.stderr
    assert [orjson.loads(line)["name"] for line in done.stdout.splitlines()] == ["db-1", "web-1"]
    refused = fleet.call("gateway", "call", "run", "--credentials", str(file), stdin=b"rubbish")
    assert refused.returncode == 2
    assert b"request: no JSON" in refused.stderr
    assert fleet.call("gateway", "script", "nightly", "--remove").returncode == 0
    assert asyncio.run(shut_out(fleet, file))


async def shut_out(fleet: Deployment, file: Path) -> bool:
    """Whether the broker, within seconds, does not let it in any more."""
    async with asyncio.timeout(30):
        while True:
            try:
                async with await link(fleet, file, give_up_after_s=2):
                    await asyncio.sleep(0.2)
            except BrokerError:
                return True


def test_the_schema_is_printed_and_holds_for_what_is_answered(fleet: Deployment) -> None:
    document = orjson.loads(fleet.call("gateway", "--schema").stdout)
    assert set(document["requests"]) == {"run", "agents", "actions", "results", "cancel"}
    assert document["$defs"]["Run"]["additionalProperties"] is False


def test_without_a_gateway_a_script_is_told(tmp_path: Path) -> None:
    with Deployment(tmp_path / "home") as deployment:
        deployment.broker()
        file = tmp_path / "tick.creds"
        assert deployment.call("gateway", "script", "tick", "-o", str(file)).returncode == 0
        done = deployment.call("gateway", "call", "agents", "--credentials", str(file))
    assert done.returncode == 4
    assert b"no gateway listens" in done.stderr
