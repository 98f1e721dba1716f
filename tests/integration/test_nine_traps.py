"""The nine traps of nats-py, in order, each against a real nats-server; what else a connection meets is in test_broker_connection."""

import asyncio
import ssl

import pytest

from investigator.broker.backoff import MAX_PAUSE_S
from investigator.broker.connection import State
from investigator.broker.problems import MessageTooLargeError, NotPermittedError
from investigator.errors import BrokerError

MAX_PAYLOAD_BYTES = 100_000


@pytest.mark.parametrize(
    "error", ["User Authentication Expired", "Maximum Payload Violation", "Authorization Violation", "Slow Consumer"]
)
async def test_trap_1_no_error_of_a_server_ends_a_connection_for_good(running, hear, wire, error):
    """nats-py closes for ever on nearly all of them, whatever its settings say."""
    async with running() as broker, wire(broker.server.url) as between:
        states, actions = hear(), hear()
        agent = await broker.agent(url=between.url, on_state=states)
        await agent.subscribe("mig.action.all.*", actions)
        between.say(b"-ERR '%b'\r\n" % error.encode())
        await states.until(3)
        assert states[1:] == [State.DISCONNECTED, State.RECONNECTED]
        investigator = await broker.investigator()
        await investigator.publish_acked("mig.action.all.x", b"do", message_id="1")
        await actions.until(1)


async def test_trap_2_a_payload_that_leaves_no_room_for_its_headers_is_not_sent_and_would_not_end_the_connection(
    running, hear
):
    """nats-py counts the payload, the server headers too: it hangs up, and that was trap 1."""
    async with running(max_payload_bytes=MAX_PAYLOAD_BYTES) as broker:
        states = hear()
        agent = await broker.agent(on_state=states)
        with pytest.raises(MessageTooLargeError):
            await agent.publish_acked("mig.result.x.a1", bytes(MAX_PAYLOAD_BYTES - 10), message_id="1")
        await agent.flush()
        assert states == [State.CONNECTED]
        await agent._supervisor.link.publish(
            "mig.result.x.a1", bytes(MAX_PAYLOAD_BYTES - 10), headers={"Nats-Msg-Id": "1"}
        )
        await states.until(3)
        assert states[1:] == [State.DISCONNECTED, State.RECONNECTED]
        assert "maximum payload" in agent.problem.lower()


async def test_trap_3_a_broker_that_hangs_up_in_the_handshake_is_not_taken_for_a_connection(running, hear, wire):
    """nats-py's `connect` returns as if all were well."""
    async with running() as broker, wire(broker.server.url) as between:
        between.hang_up_on(2)
        states = hear()
        agent = await broker.agent(url=between.url, on_state=states, give_up_after_s=None)
        assert states == [State.DISCONNECTED, State.CONNECTED]
        assert await agent.publish_acked("mig.result.x.a1", b"", message_id="1") == 1


async def test_trap_4_a_black_holed_broker_is_noticed_although_data_is_unsent(running, hear, wire):
    """nats-py waits for the end of a connection to which it cannot send, for ever."""
    async with running() as broker, wire(broker.server.url) as between:
        states = hear()
        agent = await broker.agent(url=between.url, on_state=states, ping_interval_s=0.1)
        between.freeze()

        async def publish_for_ever():
            while True:
                await agent.publish("mig.result.x.a1", bytes(1_000_000))

        with pytest.raises(BrokerError):
            await publish_for_ever()
        await states.until(2)
        between.thaw()
        await states.until(3)
        assert states[1:] == [State.DISCONNECTED, State.RECONNECTED]


async def test_trap_5_a_thousand_that_come_back_do_not_come_at_once(running):
    """nats-py knows no jitter."""
    async with running(streams=False) as broker:
        agent = await broker.agent()
        pauses = [agent._supervisor._backoff.pause_s() for _ in range(200)]
    assert max(pauses) <= MAX_PAUSE_S
    assert len(set(pauses)) == len(pauses)
    assert max(pauses[10:]) - min(pauses[10:]) > MAX_PAUSE_S / 2


async def test_trap_6_what_is_not_permitted_is_told_at_once_and_by_name(running, hear):
    """nats-py tells its error callback, in lower case, and lets the request wait until its time is up."""
    async with running() as broker:
        states = hear()
        agent = await broker.agent(on_state=states)
        await agent.publish("mig.action.all.X", b"")
        with pytest.raises(NotPermittedError, match=r"publish to 'mig\.action\.all\.x'"):
            await agent.flush()
        with pytest.raises(NotPermittedError, match=r"publish to 'mig\.action\.all\.y'"):
            await agent.publish_acked("mig.action.all.Y", b"", message_id="1", timeout_s=3600)
        with pytest.raises(NotPermittedError, match=r"subscribe to 'mig\.result\.>'"):
            await agent.subscribe("mig.result.>", hear())
        assert states == [State.CONNECTED]


async def test_trap_7_a_slow_callback_keeps_no_other_waiting(running, hear):
    """nats-py calls them one after the other."""
    async with running() as broker:
        agent, investigator = await broker.agent(), await broker.investigator()
        heard, release = hear(), asyncio.Event()

        async def slow(message):
            heard(message.data)
            await release.wait()

        await agent.subscribe("mig.action.all.*", slow)
        for number in range(10):
            await investigator.publish_acked(f"mig.action.all.x{number}", b"%d" % number, message_id=str(number))
        await heard.until(10)
        assert heard == [b"%d" % number for number in range(10)]
        release.set()


async def test_trap_7_what_awaits_an_answer_on_a_cut_connection_fails_at_once(running, wire):
    """nats-py lets it wait until its time is up."""
    async with running() as broker, wire(broker.server.url) as between:
        agent = await broker.agent(url=between.url)
        between.freeze()
        publishing = asyncio.create_task(agent.publish_acked("mig.result.x.a1", b"", message_id="1", timeout_s=3600))
        flushing = asyncio.create_task(agent.flush(3600))
        await asyncio.sleep(0)
        between.cut()
        for waiting in (publishing, flushing):
            with pytest.raises(BrokerError):
                await waiting


async def test_trap_8_without_a_broker_nothing_is_buffered(running, hear):
    """nats-py keeps 2 MB, and then loses the rest; whoever has something to say here keeps it, and knows that it did not go."""
    async with running() as broker:
        states = hear()
        agent = await broker.agent(on_state=states)
        await broker.server.stop()
        await states.until(2)
        assert not agent.is_connected
        for attempt in (
            agent.publish("mig.hb.a1", b""),
            agent.flush(),
            agent.subscribe("mig.action.all.*", hear()),
            agent.publish_acked("mig.result.x.a1", b"", message_id="1", timeout_s=0.05),
        ):
            with pytest.raises(BrokerError):
                await asyncio.wait_for(attempt, 10)


async def test_trap_9_without_tls_no_context_of_it_is_made_for_each_connection(running, hear, monkeypatch):
    """nats-py loads the system's certificates on every connect, whatever the address says."""
    made = hear()
    monkeypatch.setattr(ssl, "create_default_context", made)
    async with running() as broker:
        states = hear()
        await broker.agent(on_state=states)
        await broker.restart()
        await states.until(lambda heard: State.RECONNECTED in heard)
    assert made == []
