"""What an agent hears and holds may be rubbish: one line of log for it, and all else goes on."""

from __future__ import annotations

import logging
import os

import pytest

from investigator.broker.connection import Broker
from investigator.protocol.answer import Assembly, unpack
from investigator.protocol.result import Outcome
from investigator.protocol.subjects import RESULTS
from living import Living, living, until
from scene import ALL, signed
from signed import ACTION_ID

MAX_PAYLOAD_BYTES = 100_000

RUBBISH = [
    ("mig.action.all.x", b""),
    ("mig.action.all.x", b"\0" * 1000),
    (ALL, b"{" * 100_000),
    (ALL, b'{"v":1,"action":"{}","pgpsignatures":[]}'),
    (ALL, b'{"v":1,"action":' + b"[" * 50_000),
    (ALL, b'{"v":1,"action":"{\\"type\\":\\"cancel\\"}","pgpsignatures":["x"]}'),
    (ALL, b'{"v":1,"revocation":"' + b"A" * 50_000 + b'"}'),
    (f"mig.action.os.linux.{'f' * 65}", b"x"),
    ("mig.action.os.linux._b32_", b"x"),
    (f"mig.action.os.linux.{ACTION_ID}", os.urandom(90_000)),
]


async def outcomes(investigator: Broker, one: Living) -> list[tuple[str, str]]:
    """State and code of what this agent said of the one action, in the order of the stream."""
    told: list[tuple[str, str]] = []
    async for stored in investigator.read_stream(RESULTS, f"mig.result.{ACTION_ID}.{one.agent.id}"):
        head, part = unpack(stored.data, action=ACTION_ID, agent=one.agent.id, private_key=None)
        outcome = Assembly().add(head, part)
        assert isinstance(outcome, Outcome)
        told.append((outcome.state, outcome.code))
    return told


async def test_rubbish_on_an_agents_subjects_is_counted_and_the_next_action_runs(running, caplog):
    caplog.set_level(logging.INFO, "investigator.agent")
    async with running() as broker:
        investigator = await broker.investigator()
        async with living(broker) as one:
            for number, (subject, rubbish) in enumerate(RUBBISH):
                await investigator.publish_acked(subject, rubbish, message_id=str(number))
            await investigator.publish_acked(ALL, signed(), message_id="good")
            await until(lambda: one.runs == 1 and not one.state.ledger.unfinished(), "the good one is answered")
            await until(lambda: not one.state.outbox.pending(), "all was delivered")
            assert ("found", "") in await outcomes(investigator, one)
            assert one.link.problem == ""
    assert "Traceback" not in caplog.text
    assert all("\n" not in record.getMessage() for record in caplog.records)


async def test_letters_that_the_broker_never_permits_hold_up_nothing_behind_them(running, caplog):
    caplog.set_level(logging.WARNING, "investigator.broker")  # a console in this process had it say less
    async with running() as broker:
        investigator = await broker.investigator()
        async with living(broker) as one:
            for number in range(40):
                one.state.outbox.add("mig.action.all.x", [b"%d" % number])
            await investigator.publish_acked(ALL, signed(), message_id="1")
            await until(lambda: one.runs == 1 and not one.state.ledger.unfinished(), "the good one is answered")
            await until(lambda: len(one.state.outbox.pending(at_most=99)) == 40, "and the answer went")
            assert await outcomes(investigator, one) == [("found", "")]
            assert [letter.subject for letter in one.state.outbox.pending(at_most=99)] == ["mig.action.all.x"] * 40
    assert caplog.text.count("does not allow the publish") == 1


async def test_a_letter_that_no_broker_takes_is_answered_as_too_large_and_let_go(running, caplog):
    """The broker's limit was lowered after the agent had packed its answer."""
    async with running(max_payload_bytes=MAX_PAYLOAD_BYTES) as broker:
        investigator = await broker.investigator()
        async with living(broker) as one:
            await investigator.publish_acked(ALL, signed(), message_id="1")
            await until(lambda: one.runs == 1, "it was admitted")
            subject = f"mig.result.{ACTION_ID}.{one.agent.id}"
            one.state.outbox.add(subject, [bytes(MAX_PAYLOAD_BYTES + number) for number in range(3)])
            one.agent.actions.answers._posted()
            await until(lambda: not one.state.outbox.pending(), "nothing waits")
            assert sorted(await outcomes(investigator, one)) == [("failed", "too-large"), ("found", "")]
            assert "the broker takes 100,000" in caplog.text
    assert "the answer is lost" not in caplog.text


async def test_a_large_letter_of_an_action_that_nobody_knows_any_more_is_told_and_let_go(running, caplog):
    async with running(max_payload_bytes=MAX_PAYLOAD_BYTES) as broker, living(broker) as one:
        one.state.outbox.add(f"mig.result.{ACTION_ID}.{one.agent.id}", [bytes(MAX_PAYLOAD_BYTES)])
        one.agent.actions.answers._posted()
        await until(lambda: not one.state.outbox.pending(), "nothing waits")
    assert f"action {ACTION_ID}: the answer is lost" in caplog.text


@pytest.mark.parametrize("life", ["before", "after"])
async def test_what_waits_in_the_outbox_from_an_earlier_life_goes_out_at_the_start(running, tmp_path, life):
    async with running() as broker:
        investigator = await broker.investigator()
        async with living(broker, folder=tmp_path) as one:
            if life == "after":
                await broker.server.stop()
            one.state.outbox.add(f"mig.result.{ACTION_ID}.{one.agent.id}", [b"an answer"])
        if life == "after":
            await broker.server.start()
            investigator = await broker.investigator()
        async with living(broker, folder=tmp_path) as one:
            await until(lambda: not one.state.outbox.pending(), "it was delivered")
        assert [stored.data async for stored in investigator.read_stream(RESULTS, "mig.result.*.*")] == [b"an answer"]
