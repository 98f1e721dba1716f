"""Reading alerts from a real stream: verified, each once, chosen by their ids."""

import asyncio

import pytest

from investigator.console.alerts import AlertReader, Wanted, chosen, take_out
from investigator.errors import BadInput
from investigator.protocol.alert import Alert, letter_id, pack_alerts
from investigator.protocol.identity import Identity
from investigator.protocol.subjects import ALERTS, alert_subject

WEB, DB = Identity.generate(), Identity.generate()


def letter(text, *, identity=WEB, severity="low", module="fswatch", name="web"):
    alert = Alert(severity=severity, alert=text, time_s=1.0)
    (payload,) = pack_alerts([alert], identity, module=module, name=name)
    return payload


async def both(broker):
    """The connections of WEB and DB, by id."""
    return {one.id: await broker.agent(one.id) for one in (WEB, DB)}


async def publish(agents, payload, *, identity=WEB, module="fswatch", message_id=None):
    subject = alert_subject(identity.id, module)
    await agents[identity.id].publish_acked(subject, payload, message_id=message_id or letter_id(payload))


async def read(investigator, wanted=None, *, known=()):
    """The letters' texts, the letters, and what was warned of."""
    warnings: list[str] = []
    reader = AlertReader(investigator, wanted or Wanted(), known=known, warn=warnings.append)
    letters = [kept async for kept in reader.waiting()]
    return [alert.alert for kept in letters for alert in kept.letter.alerts], letters, warnings


async def test_what_no_agent_signed_is_dropped_and_told(running):
    async with running() as broker:
        agents, investigator = await both(broker), await broker.investigator()
        await publish(agents, letter("true"))
        await publish(agents, letter("of another"), identity=DB)
        await publish(agents, b"junk")
        texts, _, warnings = await read(investigator)
        assert texts == ["true"]
        assert len(warnings) == 2
        assert all(f"of {ALERTS} is dropped" in line for line in warnings)


async def test_a_letter_that_came_twice_is_shown_once_and_taken_out_whole(running):
    async with running() as broker:
        agents, investigator = await both(broker), await broker.investigator()
        await publish(agents, letter("one"))
        await publish(agents, letter("one"), message_id="another")
        await publish(agents, letter("two"))
        texts, letters, _ = await read(investigator)
        assert texts == ["one", "two"]
        await take_out(investigator, letters[0])
        await take_out(investigator, letters[0])  # as if another console had been faster
        assert (await read(investigator))[0] == ["two"]


async def test_one_that_was_acknowledged_here_and_comes_again_is_told(running):
    async with running() as broker:
        agents, investigator = await both(broker), await broker.investigator()
        await publish(agents, letter("old"))
        texts, _, (warning,) = await read(investigator, known={letter_id(letter("old"))})
        assert texts == []
        assert "was acknowledged here, and somebody sent it again" in warning


async def test_only_what_is_wanted_is_given_out(running):
    async with running() as broker:
        agents, investigator = await both(broker), await broker.investigator()
        await publish(agents, letter("low"))
        await publish(agents, letter("high", severity="high"))
        await publish(agents, letter("db", identity=DB, name="db", module="audit"), identity=DB, module="audit")
        for wanted, texts in (
            (Wanted(severity="medium"), ["high"]),
            (Wanted(agent="db"), ["db"]),
            (Wanted(agent=WEB.id), ["low", "high"]),
            (Wanted(module="audit"), ["db"]),
        ):
            assert (await read(investigator, wanted))[0] == texts


async def test_following_gives_what_was_there_and_what_comes(running):
    async with running() as broker:
        agents, investigator = await both(broker), await broker.investigator()
        await publish(agents, letter("before"))
        heard: list[str] = []
        stop = asyncio.Event()
        reader = AlertReader(investigator, Wanted(), known=(), warn=heard.append)
        async for kept in reader.follow(stop):
            heard.append(kept.letter.alerts[0].alert)
            if len(heard) == 1:
                await publish(agents, letter("after"))
            else:
                stop.set()
        assert heard == ["before", "after"]


async def test_ids_mean_what_they_begin_and_nothing_by_chance(running):
    async with running() as broker:
        agents, investigator = await both(broker), await broker.investigator()
        for number in range(3):
            await publish(agents, letter(str(number)))
        _, letters, _ = await read(investigator)
        first = letters[0].id
        assert chosen(letters, [first[:6].upper(), first]) == [letters[0]]
        assert chosen(letters, ["all"]) == letters
        for bad, complaint in (
            ("abc", "no alert's id"),
            ("xyzw", "no alert's id"),
            (first[:-1] + "g", "no alert's id"),
        ):
            with pytest.raises(BadInput, match=complaint):
                chosen(letters, [bad])
        with pytest.raises(BadInput, match="means no alert that waits"):
            chosen(letters[1:], [first])
