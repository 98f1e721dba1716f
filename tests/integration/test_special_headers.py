"""Each header that a nats-server obeys, on each subject that an agent may publish to: none touches what others wrote or hear."""

from __future__ import annotations

import asyncio
import contextlib

from nats.aio.client import Client

from investigator.broker.scopes import Scope
from investigator.protocol.subjects import ACTIONS, ALERTS, FACTS, HEARTBEATS, RECORDS, RESULTS

VICTIMS = (
    "mig.result.x.a1",
    "mig.facts.a1",
    "mig.hb.a1",
    "mig.alert.a1.fswatch",
    "mig.action.all.forged",
    "_INBOX.a1.z",
)
REFUSED = [
    {"Nats-Rollup": "all"},
    {"Nats-Rollup": "sub"},
    {"Nats-TTL": "1"},
    {"Nats-TTL": "never"},
    *({"Nats-Schedule": "@every 1s", "Nats-Schedule-Target": victim} for victim in VICTIMS),
    {"Nats-Schedule": "@at 2030-01-01T00:00:00Z", "Nats-Schedule-TTL": "1s", "Nats-Schedule-Target": VICTIMS[0]},
    {"Nats-Incr": "1"},
    {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
    {"Nats-Expected-Stream": ACTIONS},
    {"Nats-Expected-Last-Sequence": "999"},
    {"Nats-Expected-Last-Subject-Sequence": "999"},
    {"Nats-Expected-Last-Msg-Id": "none"},
]
"""Its author is told that it was not stored."""
HARMLESS = [
    {"Status": "204"},
    {"Nats-Marker-Reason": "Purge"},
    {"KV-Operation": "PURGE"},
    *({"Nats-Trace-Dest": victim, "Nats-Trace-Only": "true"} for victim in VICTIMS),
]


async def test_no_special_header_on_any_subject_of_an_agent_touches_what_others_wrote_or_hear(running, hear):
    async with running() as broker, _client(broker) as client:
        victim, services = await broker.agent("a1"), await broker.connect(Scope.SERVICES)
        investigator = await broker.investigator()
        await investigator.publish_acked("mig.action.all.honest", b"honest", message_id="0")
        for number, subject in enumerate(("mig.result.x.a1", "mig.facts.a1", "mig.alert.a1.fswatch"), start=1):
            await victim.publish_acked(subject, b"honest", message_id=str(number))
        heard, recorded = hear(), hear()
        for subject in ("_INBOX.a1.z", "mig.action.all.*"):
            await victim.subscribe(subject, heard)
        await services.subscribe("mig.action.>", recorded)
        before = await _others(investigator)
        while len(before) < 5:  # the server copies what is asked in its own time, and tells nobody
            await asyncio.sleep(0.01)
            before = await _others(investigator)
        for subject in ("mig.result.x.rogue", "mig.facts.rogue", "mig.alert.rogue.fswatch"):
            for headers in REFUSED:
                answer = await client.request(subject, b"x", headers=headers, timeout=10)
                assert b'"error"' in answer.data, (subject, headers, answer.data)
        for subject in ("mig.result.x.rogue", "mig.facts.rogue", "mig.alert.rogue.fswatch", "mig.hb.rogue",
                        "mig.enrol.request", f"$JS.API.DIRECT.GET.{ACTIONS}"):  # fmt: skip
            for headers in [*REFUSED, *HARMLESS]:
                await client.publish(subject, b"x", headers=headers)
        await client.request("mig.facts.rogue", b"last", timeout=10)
        await asyncio.gather(victim.flush(), services.flush(), investigator.flush())
        assert await _others(investigator) == before
        assert (heard, recorded) == ([], [])


async def _others(investigator):
    """What the streams hold that is not the rogue's own."""
    return {
        (stream, one.sequence, one.subject, one.data)
        for stream in (ACTIONS, RESULTS, FACTS, HEARTBEATS, ALERTS, RECORDS)
        async for one in investigator.read_stream(stream, ">", after_seq=0)
        if "rogue" not in one.subject.split(".")
    }


@contextlib.asynccontextmanager
async def _client(broker):
    credentials, client = broker.agents_credentials("rogue"), Client()

    async def ignore(_):
        pass

    await client.connect(
        broker.server.url,
        signature_cb=credentials.sign,
        user_jwt_cb=credentials.jwt.encode,
        inbox_prefix="_INBOX.rogue",
        error_cb=ignore,
    )
    try:
        yield client
    finally:
        await client.close()
