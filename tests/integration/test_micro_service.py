"""A service that answers many times, on a real broker: its limits, its end, and who asks and goes."""

import asyncio
import contextlib

import orjson
import pytest

from investigator.broker.credentials import Credentials
from investigator.broker.micro import Service, is_inbox
from investigator.broker.operator import add_person
from investigator.broker.scopes import Scope
from investigator.errors import BadInput

NEVER = 3600.0


def told(error):
    return orjson.dumps({"error": str(error), "code": error.code, "hint": error.hint})


@contextlib.asynccontextmanager
async def serving(running, handler, *, at_a_time=2, life_s=NEVER):
    """A service with one endpoint, and a script that may ask it."""
    async with running(streams=False) as broker:
        gateway = await broker.connect(Scope.GATEWAY)
        service = Service(
            gateway, name="echo", version="1.2.3", description="", failure=told, at_a_time=at_a_time, life_s=life_s
        )
        service.add("run", "mig.api.run", handler)
        await service.start()
        add_person(broker.server.folder, "tick", now_s=1, scope=Scope.SCRIPT).save(broker.server.folder / "tick.creds")
        script = await broker.connect(Credentials.load(broker.server.folder / "tick.creds"))
        yield service, script


async def replies(script, hear, inbox="a"):
    heard = hear()
    await script.subscribe(f"_INBOX.tick.{inbox}", heard)
    await script.publish("mig.api.run", b"x", reply=f"_INBOX.tick.{inbox}")
    await heard.until(lambda messages: messages and not messages[-1].data)
    return heard


async def test_many_answers_and_an_empty_last_one(running, hear):
    async def count(exchange):
        for number in range(5):
            await exchange.send(str(number).encode())

    async with serving(running, count) as (_, script):
        assert [message.data for message in await replies(script, hear)] == [b"0", b"1", b"2", b"3", b"4", b""]


async def test_an_error_is_told_in_the_body_and_as_nats_has_it(running, hear):
    async def fail(exchange):
        await exchange.send(b"first")
        raise BadInput("no\u2028good")

    async with serving(running, fail) as (_, script):
        first, error, last = await replies(script, hear)
        stats = orjson.loads(await script.request("$SRV.STATS.echo", b""))
    assert (first.data, last.data) == (b"first", b"")
    assert orjson.loads(error.data)["code"] == "bad-input"
    assert error.headers == {"Nats-Service-Error": "no?good", "Nats-Service-Error-Code": "400"}
    assert (stats["endpoints"][0]["num_requests"], stats["endpoints"][0]["num_errors"]) == (1, 1)


async def test_a_defect_is_told_without_its_words_and_the_next_request_is_answered(running, hear):
    async def fail(exchange):
        raise ZeroDivisionError("secret")

    async with serving(running, fail) as (_, script):
        for inbox in ("a", "b"):
            error, _ = await replies(script, hear, inbox)
            assert orjson.loads(error.data)["code"] == "internal"
            assert b"secret" not in error.data


async def test_who_does_not_listen_any_more_takes_no_place(running, hear):
    ended: asyncio.Queue[str] = asyncio.Queue()
    began = []

    async def until_gone(exchange):
        began.append(exchange)
        if len(began) > 1:
            return
        try:
            await exchange.send(b"is anybody there")
            await asyncio.Event().wait()
        finally:
            ended.put_nowait("ended")

    async with serving(running, until_gone, at_a_time=1) as (_, script):
        await script.publish("mig.api.run", b"x", reply="_INBOX.tick.nobody")
        assert await ended.get() == "ended"
        assert [message.data for message in await replies(script, hear)] == [b""]


async def test_beyond_its_limit_it_says_so_at_once_and_at_its_end_too(running, hear):
    begun = asyncio.Event()

    async def never(exchange):
        begun.set()
        await asyncio.Event().wait()

    async with serving(running, never, at_a_time=1) as (service, script):
        await script.request("$SRV.PING", b"")
        first = hear()
        await script.subscribe("_INBOX.tick.first", first)
        await script.publish("mig.api.run", b"x", reply="_INBOX.tick.first")
        await begun.wait()
        busy, _ = await replies(script, hear)  # a request that is over must not let the end forget one that is not
        await service.stop()
        await first.until(2)
        stopping, _ = await replies(script, hear, "b")
    assert orjson.loads(busy.data)["code"] == "busy"
    assert [orjson.loads(message.data)["code"] for message in (first[0], stopping)] == ["stopping", "stopping"]


async def test_no_request_is_answered_for_ever(running, hear):
    async def never(exchange):
        await asyncio.Event().wait()

    async with serving(running, never, life_s=0.05) as (_, script):
        error, last = await replies(script, hear)
    assert (orjson.loads(error.data)["code"], last.data) == ("too-long", b"")


async def test_of_two_services_one_answers(running, hear):
    heard = []

    async def note(exchange):
        heard.append(exchange)

    async with serving(running, note) as (service, script):
        second = Service(
            service.broker, name="echo", version="1.2.3", description="", failure=told, at_a_time=2, life_s=NEVER
        )
        second.add("run", "mig.api.run", note)
        await second.start()
        await replies(script, hear)
        answers = hear()
        await script.subscribe("_INBOX.tick.ping", answers)
        await script.publish("$SRV.PING.echo", b"", reply="_INBOX.tick.ping")
        await answers.until(2)
    assert len(heard) == 1
    assert {orjson.loads(message.data)["id"] for message in answers} == {service.id, second.id}


@pytest.mark.parametrize("subject", ["_INBOX.tick.a", "_INBOX.Ab-1_.x.y.1"])
def test_an_inbox_is_one(subject):
    assert is_inbox(subject)


@pytest.mark.parametrize(
    "subject", ["", "_INBOX", "_INBOX.", "_INBOX.>", "_INBOX.*.a", "_INBOX.a..b", "_INBOX.a b", "_INBOX.a\n", "mig.hb.a",
                "x._INBOX.a", "$JS.ACK.a", "_inbox.a", "_INBOX." + "a" * 200]
)  # fmt: skip
def test_what_is_no_inbox_is_none(subject):
    assert not is_inbox(subject)
