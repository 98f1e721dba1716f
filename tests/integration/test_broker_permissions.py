"""What the credentials of an agent are good for, and what they are not: against a real server."""

import asyncio
import contextlib

import pytest
from nats.aio.client import Client

from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.problems import NotPermittedError
from investigator.broker.scopes import Scope
from investigator.errors import BrokerError
from investigator.protocol.subjects import ACTIONS, ALERTS, FACTS, HEARTBEATS, RECORDS, RESULTS


async def ignore(_):
    pass


@contextlib.asynccontextmanager
async def rogue(broker, credentials=None):
    """An attacker with an agent's credentials and a client without our manners."""
    credentials = credentials or broker.agents_credentials("rogue")
    client = Client()
    await client.connect(
        broker.server.url,
        signature_cb=credentials.sign,
        user_jwt_cb=credentials.jwt.encode,
        inbox_prefix=f"_INBOX.{credentials.name}",
        error_cb=ignore,
    )
    try:
        yield client
    finally:
        await client.close()


async def stored(broker, stream, subject=">"):
    return [(item.subject, item.data) async for item in broker.read_stream(stream, subject, after_seq=0)]


async def test_an_action_reaches_agents_and_their_result_comes_back(running, hear):
    async with running() as broker:
        agent, investigator = await broker.agent("a1"), await broker.investigator()
        actions, results = hear(), hear()
        await agent.subscribe("mig.action.all.*", actions)
        await investigator.subscribe("mig.result.x.*", results)
        assert await investigator.publish_acked("mig.action.all.x", b"do", message_id="1") == 1
        await actions.until(1)
        assert await agent.publish_acked("mig.result.x.a1", b"done", message_id="2") == 1
        await results.until(1)
        assert [(m.subject, m.data) for m in actions + results] == [
            ("mig.action.all.x", b"do"),
            ("mig.result.x.a1", b"done"),
        ]
        assert [item.data async for item in agent.batch_get(ACTIONS, subjects=["mig.action.all.*"])] == [b"do"]
        assert await stored(investigator, RESULTS) == [("mig.result.x.a1", b"done")]


@pytest.mark.parametrize(
    "subject",
    [
        "mig.action.all.x",
        "mig.action.agent.a2.x",
        "mig.action.agent.a1.x",
        "mig.result.x.a2",
        "mig.result.x.a1.more",
        "mig.facts.a2",
        "mig.hb.a2",
        "mig.alert.a2.fswatch",
        "mig.record.x",
        "mig.enrol.admin",
        "mig.api.run",
        "_INBOX.investigator.abc",
        "_INBOX.a2.abc",
        "_INBOX.enrol.abc",
        f"$JS.API.STREAM.PURGE.{RESULTS}",
        f"$JS.API.STREAM.DELETE.{ACTIONS}",
        f"$JS.API.STREAM.INFO.{ACTIONS}",
        f"$JS.API.STREAM.MSG.DELETE.{RESULTS}",
        f"$JS.API.STREAM.MSG.DELETE.{ALERTS}",
        f"$JS.API.STREAM.MSG.GET.{RESULTS}",
        f"$JS.API.CONSUMER.CREATE.{RESULTS}",
        f"$JS.API.DIRECT.GET.{RESULTS}",
        f"$JS.API.DIRECT.GET.{FACTS}",
        f"$JS.API.DIRECT.GET.{HEARTBEATS}",
        f"$JS.API.DIRECT.GET.{ALERTS}",
        f"$JS.API.DIRECT.GET.{RECORDS}",
        "$SYS.REQ.SERVER.PING",
        "$SYS.REQ.CLAIMS.UPDATE",
    ],
)
async def test_an_agent_may_not_publish_to(running, subject):
    async with running() as broker:
        agent = await broker.agent()
        with pytest.raises(NotPermittedError, match="not allowed to publish to"):
            await agent.request(subject, b"", timeout_s=20)
        await agent.publish(subject, b"")
        with pytest.raises(NotPermittedError, match="not allowed to publish to"):
            await agent.flush()


@pytest.mark.parametrize(
    "subject",
    [
        ">",
        "*.>",
        "mig.>",
        "mig.action.>",
        "mig.action.agent.a2.*",
        "mig.action.agent.*.*",
        "mig.action.*.*.*",
        "mig.enrol.request",
        "mig.record.>",
        "mig.result.>",
        "mig.result.*.a1",
        "mig.facts.*",
        "mig.hb.*",
        "mig.alert.*.*",
        "_INBOX.>",
        "_INBOX.*.>",
        "_INBOX.a2.>",
        "_INBOX.enrol.>",
        "$SYS.>",
        "$JS.>",
    ],
)
async def test_an_agent_may_not_listen_to(running, hear, subject):
    async with running() as broker:
        agent = await broker.agent()
        with pytest.raises(NotPermittedError, match="not allowed to subscribe to") as caught:
            await agent.subscribe(subject, hear())
        assert repr(subject) in str(caught.value)


async def test_an_agent_hears_nothing_of_what_investigators_are_answered(running, hear):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        overheard, heard = hear(), hear()
        await agent.subscribe("_INBOX.a1.>", overheard)
        await agent.subscribe("mig.action.all.*", heard)
        await investigator.publish_acked("mig.action.all.x", b"do", message_id="1")
        assert await stored(investigator, ACTIONS)
        await heard.until(1)
        await agent.flush()
        assert overheard == []


@pytest.mark.parametrize("operation", ["CREATE", "UPDATE", "PURGE", "DELETE"])
async def test_an_investigator_may_not_change_streams(running, operation):
    async with running() as broker:
        investigator = await broker.investigator()
        with pytest.raises(NotPermittedError):
            await investigator.request(f"$JS.API.STREAM.{operation}.{RESULTS}", b"", timeout_s=20)


async def test_an_investigator_takes_alerts_out_and_nothing_else(running):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        await agent.publish_acked("mig.alert.a1.fswatch", b"1", message_id="1")
        await agent.publish_acked("mig.result.x.a1", b"1", message_id="2")
        answer = await investigator.request(f"$JS.API.STREAM.MSG.DELETE.{ALERTS}", b'{"seq":1}')
        assert b'"success":true' in answer
        assert await stored(investigator, ALERTS) == []
        with pytest.raises(NotPermittedError):
            await investigator.request(f"$JS.API.STREAM.MSG.DELETE.{RESULTS}", b'{"seq":1}', timeout_s=20)


async def test_an_agent_cannot_have_the_server_write_in_anothers_name(running):
    """A reply subject is where the server itself publishes its acknowledgement: it must not land in a stream."""
    async with running() as broker, rogue(broker) as client:
        investigator, agent = await broker.investigator(), await broker.agent()
        for reply in ("mig.result.x.a2", "mig.alert.a2.fswatch", "mig.hb.a2", "mig.facts.a2", "mig.action.all.forged"):
            await client.publish("mig.result.x.rogue", b"mine", reply=reply)
            await client.publish(f"$JS.API.DIRECT.GET.{ACTIONS}", b'{"seq":1}', reply=reply)
        # a stream stores in the order of arrival: what is acknowledged after the rogue's messages comes behind them
        await client.request("mig.result.x.rogue", b"last", timeout=5)
        await investigator.publish_acked("mig.action.all.honest", b"", message_id="1")
        await agent.publish_acked("mig.facts.a1", b"", message_id="2")
        await agent.publish("mig.hb.a1", b"")  # that stream acknowledges nothing
        async with asyncio.timeout(20):
            while not await stored(investigator, HEARTBEATS, "mig.hb.a1"):  # noqa: ASYNC110 - a stream has no event
                await asyncio.sleep(0.01)
        for stream, subject in ((ACTIONS, "mig.action.all.honest"), (FACTS, "mig.facts.a1"), (HEARTBEATS, "mig.hb.a1")):
            assert {where for where, _ in await stored(investigator, stream)} == {subject}
        assert {where for where, _ in await stored(investigator, RESULTS)} == {"mig.result.x.rogue"}
        assert await stored(investigator, ALERTS) == []


async def test_headers_of_an_author_cannot_end_or_bend_what_is_read(running):
    """A batch ends with a `Status`: a stored message that says so must not hide those behind it."""
    async with running() as broker, rogue(broker) as client:
        investigator, agent = await broker.investigator(), await broker.agent()
        forged = {
            "Status": "204",
            "Nats-Sequence": "999",
            "Nats-Subject": "mig.result.x.a2",
            "Nats-Num-Pending": "0",
            "Nats-Last-Sequence": "999",
            "Nats-Time-Stamp": "rubbish",
            "Nats-Stream": ACTIONS,
        }
        await agent.publish_acked("mig.result.x.a1", b"1", message_id="1")
        await client.request("mig.result.x.rogue", b"2", headers=forged, timeout=5)
        await agent.publish_acked("mig.result.y.a1", b"3", message_id="3")
        items = [item async for item in investigator.read_stream(RESULTS, ">")]
        assert [(item.sequence, item.subject, item.data) for item in items] == [
            (1, "mig.result.x.a1", b"1"),
            (2, "mig.result.x.rogue", b"2"),
            (3, "mig.result.y.a1", b"3"),
        ]


async def test_what_an_agent_can_make_others_hear_is_the_servers_own_words(running, hear):
    """A reply subject of another agent's is not refused; what comes there is what the server says, or stored already.

    An agent that heard it would find no signature, or an action that it has decided already.
    """
    async with running() as broker, rogue(broker) as client:
        victim, investigator = await broker.agent("a1"), await broker.investigator()
        await investigator.publish_acked("mig.action.agent.a2.x", b"signed", message_id="1")
        heard, inbox = hear(), hear()
        await victim.subscribe("mig.action.agent.a1.*", heard)
        await victim.subscribe("_INBOX.a1.guessed", inbox)
        for reply in ("mig.action.agent.a1.x", "_INBOX.a1.guessed"):
            await client.publish("mig.result.x.rogue", b"forged", reply=reply)
            await client.publish(f"$JS.API.DIRECT.GET.{ACTIONS}", b'{"seq":1}', reply=reply)
        await heard.until(2)
        await inbox.until(2)
        for messages in (heard, inbox):
            said = {message.data for message in messages}
            assert b"signed" in said
            (acknowledgement,) = said - {b"signed"}
            assert acknowledgement.startswith(b'{"stream":"MIG_RESULTS"')
        assert {where for where, _ in await stored(investigator, ACTIONS)} == {"mig.action.agent.a2.x"}


ENROL_MAY_NOT_SEND = [
    "mig.result.x.enrol",
    "mig.facts.enrol",
    "mig.hb.enrol",
    "mig.alert.enrol.fswatch",
    "mig.action.all.x",
    "mig.enrol.admin",
    "mig.record.x",
    "_INBOX.a1.abc",
    "_INBOX.enrol.abc",
    f"$JS.API.DIRECT.GET.{ACTIONS}",
    f"$JS.API.STREAM.INFO.{ACTIONS}",
    "$SYS.REQ.SERVER.PING",
]
ENROL_MAY_NOT_HEAR = [
    "mig.action.all.*",
    "mig.action.agent.enrol.*",
    "mig.enrol.request",
    "_INBOX.a1.>",
    "_INBOX.>",
    ">",
]


async def test_who_is_not_enrolled_yet_may_ask_for_it_and_nothing_else(running, hear):
    async with running() as broker:
        stranger = await broker.connect(Scope.ENROL)
        for subject in ENROL_MAY_NOT_SEND:
            with pytest.raises(NotPermittedError, match="not allowed to publish to"):
                await stranger.request(subject, b"", timeout_s=20)
        for subject in ENROL_MAY_NOT_HEAR:
            with pytest.raises(NotPermittedError, match="not allowed to subscribe to"):
                await stranger.subscribe(subject, hear())


@pytest.mark.parametrize("asks", ["enrol", "agent"])
async def test_a_request_to_be_enrolled_is_answered_by_the_services_alone(running, hear, asks):
    async with running(streams=False) as broker:
        services, investigator = await broker.connect(Scope.SERVICES), await broker.investigator()
        asker = await (broker.connect(Scope.ENROL) if asks == "enrol" else broker.agent())
        with pytest.raises(BrokerError, match="nobody listens"):
            await asker.request("mig.enrol.request", b"let me in", timeout_s=20)
        with pytest.raises(NotPermittedError):
            await investigator.subscribe("mig.enrol.request", hear())
        heard = hear()
        await services.subscribe("mig.enrol.request", heard)
        asking = asyncio.create_task(asker.request("mig.enrol.request", b"let me in", timeout_s=20))
        await heard.until(1)
        assert heard[0].data == b"let me in"
        await services.publish(heard[0].reply, b"welcome")
        assert await asking == b"welcome"
        await services.publish(heard[0].reply, b"once more")
        with pytest.raises(NotPermittedError):  # one answer to each request
            await services.flush()


async def test_an_investigator_asks_the_enrolment_and_is_answered(running, hear):
    async with running(streams=False) as broker:
        services, investigator = await broker.connect(Scope.SERVICES), await broker.investigator()
        heard = hear()
        await services.subscribe("mig.enrol.admin", heard)
        asking = asyncio.create_task(investigator.request("mig.enrol.admin", b"revoke", timeout_s=20))
        await heard.until(1)
        await services.publish(heard[0].reply, b"done")
        assert await asking == b"done"


@pytest.mark.parametrize("subject", ["mig.action.all.x", "mig.result.x.a1", "mig.facts.a1", "_INBOX.investigator.x"])
async def test_the_services_speak_for_nobody(running, subject):
    async with running(streams=False) as broker:
        services = await broker.connect(Scope.SERVICES)
        await services.publish(subject, b"")
        with pytest.raises(NotPermittedError, match="not allowed to publish to"):
            await services.flush()


@pytest.mark.parametrize(
    "headers", [{"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}, {"Nats-TTL": "1"}, {"Nats-Schedule": "@every 1s"}]
)
async def test_special_headers_of_an_agent_do_nothing(running, headers):
    async with running() as broker, rogue(broker) as client:
        investigator, agent = await broker.investigator(), await broker.agent()
        await agent.publish_acked("mig.facts.a1", b"kept", message_id="1")
        answer = await client.request("mig.facts.rogue", b"", headers=headers, timeout=5)
        assert b'"error"' in answer.data
        assert await stored(investigator, FACTS) == [("mig.facts.a1", b"kept")]


async def test_unknown_credentials_are_refused_at_once(running):
    async with running(streams=False) as broker:
        with pytest.raises(NotPermittedError, match="does not know these credentials"):
            await connect(broker.server.url, Credentials.generate("agents"), name="stranger", give_up_after_s=60)


async def test_no_credentials_are_no_way_in(running):
    async with running(streams=False) as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.server.port)
        assert (await reader.readline()).startswith(b"INFO ")
        writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
        assert await reader.readline() == b"-ERR 'Authorization Violation'\r\n"
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_an_inbox_that_is_not_ours_is_a_clear_error(running):
    async with running(streams=False) as broker:
        with pytest.raises(BrokerError, match="not allowed to subscribe to"):
            await broker.investigator(inbox="_INBOX.agents")
