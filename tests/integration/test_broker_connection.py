"""The supervised connection: each trap of a real server and a bad network, met."""

import asyncio
import contextlib
import os
import re
import signal

import pytest

from investigator.broker.connection import State, connect
from investigator.broker.credentials import Credentials
from investigator.broker.link import MAX_UNPARSED_BYTES, Link
from investigator.broker.problems import MessageTooLargeError, StreamFullError, UnansweredError
from investigator.broker.scopes import MAX_AGENT_MESSAGE_BYTES, Scope
from investigator.errors import BrokerError
from investigator.protocol.subjects import ACTIONS, RESULTS

ANYONE = Credentials.generate("anyone")
INFO = b'INFO {"server_id":"X","version":"2.15.1","max_payload":1048576,"headers":true,"nonce":"abc"}\r\n'


async def fake_server(converse):
    """A server that talks to its one client as `converse(reader, writer)` does, and then hangs up."""

    async def serve(reader, writer):
        try:
            await converse(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    return listener, f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


async def test_no_broker_is_one_clear_error_within_the_time_given():
    listener, url = await fake_server(None)
    listener.close()
    with pytest.raises(BrokerError, match=rf"^broker {re.escape(url)}: connection refused$"):
        await connect(url, ANYONE, name="console", give_up_after_s=0.2)


@pytest.mark.parametrize(
    "url",
    [
        "nats://127.0.0.1:port",
        "",
        "http://[::1",
        "ws://127.0.0.1:1",
        "http://127.0.0.1:1",
    ],
)
async def test_an_address_that_leads_nowhere_is_one_clear_error(url):
    with pytest.raises(BrokerError, match=r"^broker"):
        await connect(url, ANYONE, name="console", give_up_after_s=0.2)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"INFO []\r\n",
        b"INFO {not json}\r\n",
        b'INFO {"version":"2.15.1","max_payload":"much","nonce":"abc"}\r\nPONG\r\n',
        b'INFO {"version":"2.9.10","max_payload":1048576,"nonce":"abc"}\r\nPONG\r\n',
        INFO,
        INFO + b"-ERR 'Server Is Busy'\r\n",
        INFO + b"PONG\r\n",
        INFO + b"PONG\r\nrubbish\r\n",
        INFO + b"PONG\r\nINFO []\r\n",
        b"INFO " + b"x" * 100_000 + b"\r\n",
    ],
)
async def test_a_broker_that_talks_rubbish_or_hangs_up_is_one_clear_error(said):
    async def converse(_, writer):
        writer.write(said)
        await writer.drain()

    listener, url = await fake_server(converse)
    async with listener:
        with pytest.raises(BrokerError, match=r"^broker nats://[0-9.:]+: .+"):
            await connect(url, ANYONE, name="console", give_up_after_s=0.1)


async def test_one_that_hangs_up_without_a_word_is_there_and_tried_for_longer():
    calls = 0

    async def hang_up(_reader, _writer):
        nonlocal calls
        calls += 1

    listener, url = await fake_server(hang_up)
    async with listener:
        with pytest.raises(UnansweredError, match="it hung up before it said anything"):
            await connect(url, ANYONE, name="console", give_up_after_s=1)
    assert calls > 1, "it may be busy"


async def test_a_broker_cannot_fill_our_memory_with_one_message():
    sent = 0

    async def converse(reader, writer):
        nonlocal sent
        writer.write(INFO + b"PONG\r\nPONG\r\nMSG a 1 9999999999\r\n")
        while True:
            writer.write(bytes(65536))
            sent += 65536
            await writer.drain()

    listener, url = await fake_server(converse)
    async with listener:
        broker = await connect(url, ANYONE, name="agent")
        assert broker._supervisor.link is not None
        await broker._supervisor.link.lost
        await broker.close()
    assert sent < 3 * MAX_UNPARSED_BYTES


async def test_an_agent_may_start_before_the_broker(broker_folder, running, hear):
    async with running() as broker:
        url = broker.server.url
        await broker.server.stop()
        states = hear()
        waiting = asyncio.create_task(broker.agent(url=url, on_state=states, give_up_after_s=None))
        await states.until(1)
        await broker.server.start()
        await waiting
        assert states == [State.DISCONNECTED, State.CONNECTED]


async def test_after_a_restart_of_the_broker_subscriptions_live_again(running, hear):
    async with running() as broker:
        states, actions = hear(), hear()
        agent = await broker.agent(on_state=states)
        await agent.subscribe("mig.action.all.*", actions)
        await broker.restart()
        await states.until(lambda heard: State.RECONNECTED in heard)
        investigator = await broker.investigator()
        await investigator.publish_acked("mig.action.all.x", b"do", message_id="1")
        await actions.until(1)
        assert states == [State.CONNECTED, State.DISCONNECTED, State.RECONNECTED]


async def test_what_awaits_an_answer_waits_for_the_broker_to_come_back(running):
    async with running() as broker:
        agent = await broker.agent()
        await broker.server.stop()
        publishing = asyncio.create_task(agent.publish_acked("mig.result.x.a1", b"", message_id="1", timeout_s=30))
        await broker.server.start()
        assert await publishing == 1


async def test_closing_ends_even_where_the_library_swallows_a_cancellation(running, hear, monkeypatch):
    shutting, shut = asyncio.Event(), Link.shut

    async def swallowing(link):
        if not shutting.is_set():
            shutting.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await shut(link)

    async with running() as broker:
        agent = await broker.agent()
        monkeypatch.setattr(Link, "shut", swallowing)
        await broker.server.stop()
        await shutting.wait()
        await agent.close()
        assert not agent.is_connected


async def test_rubbish_in_mid_connection_is_survived(running, hear, wire):
    async with running() as broker, wire(broker.server.url) as between:
        states = hear()
        await broker.agent(url=between.url, on_state=states)
        between.say(b"INFO []\r\n")
        await states.until(3)
        assert states[1:] == [State.DISCONNECTED, State.RECONNECTED]


async def test_a_paused_broker_is_left_and_found_again(running, hear):
    async with running() as broker:
        states = hear()
        agent = await broker.agent(on_state=states, ping_interval_s=0.1)
        os.kill(broker.server.pid, signal.SIGSTOP)
        try:
            await states.until(2)
        finally:
            os.kill(broker.server.pid, signal.SIGCONT)
        await states.until(3)
        assert await agent.publish_acked("mig.result.x.a1", b"", message_id="1") == 1


async def test_a_flush_that_gave_up_does_not_end_the_reading(running, hear, wire):
    """nats-py's read loop dies on the answer to a ping that nobody awaits any more."""
    async with running() as broker, wire(broker.server.url) as between:
        states = hear()
        agent = await broker.agent(url=between.url, on_state=states)
        between.freeze()
        with pytest.raises(BrokerError, match="no answer in time"):
            await agent.flush(0.05)
        between.thaw()
        await agent.flush()
        assert states == [State.CONNECTED]


async def test_the_second_of_several_servers_is_taken_when_the_first_is_gone(running):
    async with running() as broker:
        listener, gone = await fake_server(None)
        listener.close()
        agent = await broker.agent(url=[gone, broker.server.url])
        assert agent.is_connected


async def test_servers_that_a_broker_announces_are_not_joined(running, hear, wire):
    async with running() as broker, wire(broker.server.url) as between:
        agent = await broker.agent(url=between.url)
        between.say(b'INFO {"connect_urls":["192.0.2.1:4222"],"max_payload":1048576}\r\n')
        await agent.flush()
        assert agent._supervisor.link is not None
        assert [server.netloc for server in agent._supervisor.link.servers] == [between.url.removeprefix("nats://")]


async def test_a_message_that_is_too_large_with_its_headers_is_refused_here(running):
    """The server would end the connection: a payload at its limit leaves no room for headers."""
    async with running(max_payload_bytes=100_000) as broker:
        agent = await broker.agent()
        await agent.publish("mig.result.x.a1", bytes(100_000))
        for headers in ({"A": "b"}, {"A": "ü" * 40_000}):
            with pytest.raises(MessageTooLargeError, match="the broker takes 100,000"):
                await agent.publish("mig.result.x.a1", bytes(99_990), headers=headers)
        with pytest.raises(MessageTooLargeError):
            await agent.publish_acked("mig.result.x.a1", bytes(100_000), message_id="1")
        await agent.flush()
        assert agent.is_connected


async def test_a_message_that_is_too_large_for_its_stream_is_refused_for_good(running):
    async with running() as broker:
        investigator = await broker.investigator()
        with pytest.raises(MessageTooLargeError, match="message size exceeds maximum allowed"):
            await investigator.publish_acked("mig.action.all.x", bytes(1_200_000), message_id="1")


async def test_a_message_that_is_too_large_for_ones_own_scope_is_never_sent(running):
    """The server would not say so, but end the connection."""
    async with running() as broker:
        agent = await broker.agent(max_message_bytes=MAX_AGENT_MESSAGE_BYTES)
        with pytest.raises(MessageTooLargeError, match=r"the broker takes 327,680$"):
            await agent.publish("mig.result.x.a1", bytes(MAX_AGENT_MESSAGE_BYTES + 1))
        headers = 12 + len("Nats-Msg-Id1") + 4
        await agent.publish_acked("mig.result.x.a1", bytes(MAX_AGENT_MESSAGE_BYTES - headers), message_id="1")
        assert agent.problem == ""


async def test_a_subject_that_would_inject_commands_is_refused(running):
    async with running() as broker:
        agent = await broker.agent()
        for subject in ("", "mig.hb.a1 5\r\nPUB x", "mig hb"):
            with pytest.raises(BrokerError):
                await agent.publish(subject, b"")


async def test_the_same_message_id_is_stored_once_and_succeeds_twice(running):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        sequences = [await agent.publish_acked("mig.result.x.a1", b"1", message_id="same") for _ in range(3)]
        assert sequences == [1, 1, 1]
        assert len([item async for item in investigator.read_stream(RESULTS, ">")]) == 1


async def test_a_full_stream_says_so_and_keeps_what_it_has(running):
    async with running() as broker:
        owner, agent = await broker.connect(Scope.SERVICES), await broker.agent()
        await owner.request("$JS.API.STREAM.DELETE.MIG_RESULTS", b"")
        configuration = b'{"name":"MIG_RESULTS","subjects":["mig.result.*.*"],"max_bytes":5000,"discard":"new"}'
        await owner.request("$JS.API.STREAM.CREATE.MIG_RESULTS", configuration)
        await agent.publish_acked("mig.result.x.a1", bytes(3000), message_id="1")
        with pytest.raises(StreamFullError, match="maximum bytes exceeded"):
            await agent.publish_acked("mig.result.y.a1", bytes(3000), message_id="2")


async def test_without_a_stream_an_acknowledged_message_is_a_clear_error(running):
    async with running(streams=False) as broker:
        investigator = await broker.investigator()
        with pytest.raises(BrokerError, match="nobody listens"):
            await investigator.publish_acked("mig.action.all.x", b"", message_id="1")
        with pytest.raises(BrokerError, match="no such stream"):
            await anext(investigator.read_stream(RESULTS, ">"))


async def test_a_message_is_forgotten_when_its_life_is_over(running):
    async with running() as broker:
        investigator, agent = await broker.investigator(), await broker.agent()
        await investigator.publish_acked("mig.action.all.short", b"", message_id="1", ttl_s=0.5)
        await investigator.publish_acked("mig.action.all.long", b"", message_id="2", ttl_s=3600)

        async def left():
            return [item.subject async for item in agent.batch_get(ACTIONS, subjects=["mig.action.all.*"])]

        async with asyncio.timeout(20):
            while await left() != ["mig.action.all.long"]:  # noqa: ASYNC110 - the broker's clock has no event
                await asyncio.sleep(0.1)


async def test_a_callback_that_fails_spoils_nothing_else(running, hear, caplog):
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        heard = hear()

        def broken(message):
            heard(message.data)
            raise RuntimeError("a defect")

        await agent.subscribe("mig.action.all.*", broken)
        for number in range(2):
            await investigator.publish_acked(f"mig.action.all.x{number}", b"", message_id=str(number))
        await heard.until(2)
        assert agent.is_connected
        assert "a defect" in caplog.text


async def test_messages_that_nobody_takes_in_time_are_dropped_and_said(running, hear):
    async with running() as broker:
        states, heard = hear(), hear()
        agent, investigator = await broker.agent(on_state=states), await broker.investigator()
        await agent.subscribe("mig.action.all.*", heard, max_waiting_bytes=1000)
        await investigator.publish_acked("mig.action.all.x", bytes(2000), message_id="1")
        await states.until(lambda told: State.DROPPED in told)
        assert heard == []


async def test_after_unsubscribing_nothing_is_heard_even_after_a_reconnection(running, hear, wire):
    async with running() as broker, wire(broker.server.url) as between:
        states, heard, other = hear(), hear(), hear()
        agent, investigator = await broker.agent(url=between.url, on_state=states), await broker.investigator()
        subscription = await agent.subscribe("mig.action.all.*", heard)
        await agent.subscribe("mig.action.agent.a1.*", other)
        await subscription.unsubscribe()
        between.cut()
        await states.until(3)
        await investigator.publish_acked("mig.action.all.x", b"", message_id="1")
        await investigator.publish_acked("mig.action.agent.a1.x", b"", message_id="2")
        await other.until(1)
        assert heard == []


async def test_closing_sends_what_was_published_and_can_be_repeated(running, hear):
    async with running() as broker:
        investigator, heard = await broker.investigator(), hear()
        await investigator.subscribe("mig.hb.*", heard)
        async with await broker.agent() as agent:
            for _ in range(100):
                await agent.publish("mig.hb.a1", bytes(1000))
        await heard.until(100)
        await agent.close()
        assert not agent.is_connected
