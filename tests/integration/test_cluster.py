"""Three clustered servers and a leaf node: written by us, started, asked, and one of them killed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import nats
import orjson
import pytest
from clustered import NAMES, Clustered, NatsServer, free_ports
from deployment import Deployment
from nats.aio.msg import Msg

from investigator.broker.connection import Broker, ClientTls, connect
from investigator.broker.credentials import Credentials
from investigator.broker.problems import NotPermittedError
from investigator.config import load_broker, load_console
from investigator.console.link import console_link
from investigator.errors import BrokerError
from investigator.protocol.subjects import ACTIONS, ALL_ACTIONS, ALL_RESULTS, RESULTS

LONG = ("file", "--path", "/nowhere", "--name", "x")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clustered]:
    """With an agent on the cluster and one behind the leaf node; for tests that leave it as it was."""
    with Clustered(tmp_path_factory.mktemp("cluster") / "home") as deployment:
        deployment.broker()
        deployment.agent("near")
        deployment.behind_leaf("far").agent("far")
        yield deployment


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Clustered]:
    with Clustered(tmp_path / "home") as deployment:
        yield deployment


def test_agents_on_the_cluster_and_behind_a_leaf_node_answer_alike(cluster: Clustered) -> None:
    assert cluster.ask(*LONG).states == {"near": "notfound", "far": "notfound"}


def test_an_agent_behind_a_leaf_node_fetches_what_it_missed(cluster: Clustered) -> None:
    there = cluster.behind_leaf("late")
    late = there.agent("late")
    late.signal(signal.SIGTERM)
    late.wait()
    asking = cluster.start("run", "--output", "ndjson", "-t", "name IN ('late','near')", "--wait", "-e", "60s", *LONG)
    asking.until('"near"')
    there.agent("late")
    asking.until('"states":{"notfound":2}')


def test_every_stream_is_kept_by_three_servers_and_a_second_call_changes_nothing(cluster: Clustered) -> None:
    found = orjson.loads(cluster.call("status", "--output", "json").stdout)
    assert found["ok"], found["care"]
    assert {stream["replicas"] for stream in found["streams"]} == {3}
    assert set(found["servers"].values()) == {True}
    assert len(found["servers"]) == 3
    again = cluster.call("broker", "streams")
    assert again.stdout == b"the streams are as they should be\n"


def test_the_configuration_is_written_once_and_says_what_it_changed(cluster: Clustered) -> None:
    cluster.configure()  # whoever was shut out meanwhile stands in it
    assert cluster.configure().stdout.startswith(b"nothing had to change\n")
    (cluster.out / "b" / "nats-server.conf").write_text("edited by hand")
    assert cluster.configure().stdout.splitlines()[0] == f"changed {cluster.out}/b/nats-server.conf".encode()


def test_no_server_holds_a_key_that_makes_users(cluster: Clustered) -> None:
    written = b"".join(
        path.read_bytes() for path in cluster.out.rglob("*") if path.is_file() and "store" not in path.parts
    )
    for key in (cluster.home / "broker").glob("*/*.nk"):
        assert key.read_bytes().strip() not in written
    assert (cluster.home / "broker" / "ca.key").read_bytes() not in written


def test_a_leaf_nodes_credentials_open_no_console(cluster: Clustered) -> None:
    leaf = Credentials.load(cluster.out / "site" / "leaf.creds")
    address = load_console(cluster.home).broker
    with pytest.raises(BrokerError, match="does not know these credentials"):
        asyncio.run(come_in(address.url, leaf, address.tls))


def test_a_rogue_leaf_node_can_do_what_agents_can_and_nothing_more(cluster: Clustered, tmp_path: Path) -> None:
    """A server with a site's files and no rules of ours, on which anybody may do anything."""
    site, (port,) = cluster.out / "site", free_ports(1)
    tls = {"ca_file": str(site / "ca.pem"), "handshake_first": True}
    hubs = [url.replace("tls://", "") for url in cluster.leaf_urls]
    remote = {"urls": [f"tls://{hub}" for hub in hubs], "credentials": str(site / "leaf.creds"), "tls": tls}
    settings = {"host": "127.0.0.1", "port": port, "server_name": "rogue", "leafnodes": {"remotes": [remote]}}
    (tmp_path / "nats-server.conf").write_bytes(orjson.dumps(settings))
    rogue = NatsServer(tmp_path)
    try:
        asyncio.run(misbehave(cluster, f"nats://127.0.0.1:{port}"))
    finally:
        rogue.end()


async def misbehave(cluster: Clustered, url: str) -> None:
    client = await nats.connect(url, connect_timeout=10, max_reconnect_attempts=200, reconnect_time_wait=0.05)
    heard = []

    async def hear(message: Msg) -> None:
        if message.data:  # its own server says that nobody listens, with none
            heard.append(message.subject)

    await client.subscribe("mig.>", cb=hear)
    await client.subscribe("_INBOX.>", cb=hear)
    config = load_console(cluster.home)
    async with asyncio.timeout(60), console_link(config) as broker:
        while "mig.result.marker.rogue" not in await subjects_of(broker, RESULTS, ALL_RESULTS):
            await client.publish("mig.result.marker.rogue", b"lies about itself", headers={"Nats-Msg-Id": "marker"})
            await asyncio.sleep(0.1)  # until its link is there
        heard.clear()
        for subject in ("mig.action.all.forged", "mig.record.forged", "mig.enrol.admin", "_INBOX.investigator.x.1"):
            await client.publish(subject, b"forged")
        for what in (f"PURGE.{RESULTS}", f"DELETE.{ACTIONS}", f"INFO.{RESULTS}"):
            for api in ("$JS.API", "$JS.mig.API"):
                await client.publish(f"{api}.STREAM.{what}", b"", reply="_INBOX.rogue.1")
        await client.publish(
            f"$JS.mig.API.DIRECT.GET.{RESULTS}", b'{"last_by_subj":"mig.result.marker.rogue"}', "_INBOX.rogue.1"
        )
        await client.publish("mig.result.last.rogue", b"after all of these", headers={"Nats-Msg-Id": "last"})
        await until_stored(broker, RESULTS, "mig.result.last.rogue")
        answer = await asyncio.to_thread(cluster.ask, *LONG)
        assert answer.states["near"] == "notfound"
        assert "mig.result.marker.rogue" in await subjects_of(broker, RESULTS, ALL_RESULTS)
        assert [one for one in await subjects_of(broker, ACTIONS, ALL_ACTIONS) if "forged" in one] == []
    own = {
        "mig.action.all.forged",
        "mig.record.forged",
        "mig.enrol.admin",
        "_INBOX.investigator.x.1",
        "mig.result.last.rogue",
    }
    assert {subject.rpartition(".")[0] for subject in heard if subject not in own} <= {
        "mig.action.os.linux",
        "mig.action.all",
    }
    await client.close()


async def come_in(url: str, user: Credentials, tls: ClientTls | None) -> None:
    async with await connect(url, user, name="thief", tls=tls, give_up_after_s=1):
        pass


def test_who_is_shut_out_is_shut_out_on_every_server_at_once(cluster: Clustered, tmp_path: Path) -> None:
    """On the leaf node too, which keeps accounts of its own."""
    invitation, laptop = tmp_path / "bob.invitation", tmp_path / "bob"
    assert cluster.call("people", "invite", "bob", "-o", str(invitation)).returncode == 0
    assert cluster.call("people", "join", str(invitation), "--no-passphrase", home=laptop).returncode == 0
    bob = load_console(laptop).broker
    user = Credentials.load(bob.credentials)
    for name in (*NAMES, "site"):
        asyncio.run(come_in(cluster.urls[name], user, bob.tls))
    removed = cluster.call("people", "remove", "bob")
    assert removed.returncode == 0, removed.stderr
    assert removed.stderr == b""
    for name in (*NAMES, "site"):
        with pytest.raises(NotPermittedError):
            asyncio.run(come_in(cluster.urls[name], user, bob.tls))


def test_the_death_of_a_streams_leader_loses_no_result(alone: Clustered, tmp_path: Path) -> None:
    alone.broker()
    alone.agents("one", "two", "three")
    names = {f"{number:0200}" for number in range(2500)}
    for name in names:
        (tmp_path / name).touch()
    leader = next(
        stream["leader"]
        for stream in orjson.loads(alone.call("status", "--output", "json").stdout)["streams"]
        if stream["name"] == RESULTS
    )
    asking = alone.start(
        *("run", "--output", "ndjson", "-t", "all", "--wait", "-e", "90s"),
        *("file", "--path", str(tmp_path), "--name", r"\d{200}", "--matchlimit", "3000"),
    )
    asyncio.run(until_asked(alone))
    alone.servers[leader].end(signal.SIGKILL)
    asking.until('"summary"', within_s=90)
    assert '"states":{"found":3}' in asking.lines[-1]
    outcomes = [orjson.loads(line) for line in asking.lines if '"type":"outcome"' in line]
    assert [len(outcome["results"][0]["elements"]["s1"]) for outcome in outcomes] == [2500] * 3
    care = orjson.loads(alone.call("status", "--output", "json").stdout)["care"]
    assert any(alone.urls[leader] in line for line in care)
    alone.servers[leader].start()
    assert alone.ask("-t", "all", *LONG).states == {"one": "notfound", "two": "notfound", "three": "notfound"}


async def until_asked(deployment: Deployment) -> None:
    async with asyncio.timeout(30), console_link(load_console(deployment.home)) as broker:
        await until_stored(broker, ACTIONS, ALL_ACTIONS)


async def until_stored(broker: Broker, stream: str, subject_filter: str) -> None:
    while not await subjects_of(broker, stream, subject_filter):  # noqa: ASYNC110 - others write it: no event is ours
        await asyncio.sleep(0.02)


async def subjects_of(broker: Broker, stream: str, subject_filter: str) -> list[str]:
    return [one.subject async for one in broker.read_stream(stream, subject_filter)]


def test_an_embedded_broker_is_not_started_beside_a_cluster(cluster: Clustered) -> None:
    refused = cluster.call("broker")
    assert refused.returncode == 5
    assert b"the broker of this deployment is a cluster" in refused.stderr
    assert load_broker(cluster.home).cluster is not None
