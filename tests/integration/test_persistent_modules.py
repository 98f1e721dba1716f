"""Persistent modules over real workers: whatever one does, the agent goes on, it comes back, and no alert is lost."""

import asyncio
import contextlib
import os
import signal
import time

import persisting
import pytest

from investigator.agent import alerts, keeper, processes
from investigator.agent.limits import Limits
from investigator.agent.persistent import Persistence
from investigator.agent.runner import Runner
from investigator.agent.state import AgentState
from investigator.config import AgentConfig, Link
from investigator.modules import MODULES
from investigator.protocol.alert import Alert, unpack_alerts
from investigator.protocol.identity import Identity

LIMITS = Limits(memory_bytes=256 << 20, output_bytes=1 << 20)


@pytest.fixture(autouse=True)
def catalogue(monkeypatch):
    monkeypatch.setitem(MODULES, "persisting", persisting.__name__)
    monkeypatch.setattr("investigator.agent.persistent.PERSISTENT", ("persisting",))
    monkeypatch.setattr(keeper, "FIRST_PAUSE_S", 0.05)


class Scene:
    """An agent's state, workers and persistent modules, without a broker."""

    def __init__(self, state, runner, persistence):
        self.state, self.runner, self.persistence = state, runner, persistence
        self.folder = state.folder / "modules/persisting"

    async def ask(self, within_s=20.0, **parameters):
        return await self.persistence.run("persisting", parameters, deadline_s=time.monotonic() + within_s)

    async def running(self):
        """Its pid, as soon as it answers."""
        async with asyncio.timeout(30):
            while (ran := await self.ask()).state != "done":  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.02)
        return ran.result.read().statistics["pid"]

    def told(self):
        """The texts that wait for the broker."""
        letters = self.state.alerts._outbox.pending(at_most=1000)
        return [
            one.alert
            for letter in letters
            for one in unpack_alerts(letter.payload, agent=self.state.identity.id, module="persisting").alerts
        ]

    async def until_told(self, text):
        async with asyncio.timeout(30):
            while not any(text in one for one in self.told()):  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.02)
        return next(one for one in self.told() if text in one)

    def starts(self):
        file = self.folder / "starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    async def until_started(self, times):
        async with asyncio.timeout(30):
            while len(self.starts()) < times:  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def scene(tmp_path, *, limits=LIMITS, private=False, per_minute=6000, **settings):
    link = Link(url="", credentials=tmp_path)
    config = AgentConfig(
        broker=link,
        keyring=tmp_path,
        acl=tmp_path,
        modules={"persisting": settings},
        alerts_per_minute=per_minute,
    )
    with AgentState(tmp_path / "state") as state:
        runner = Runner(limits, mark=state.identity.id, modules={"persisting": "persisting"}, private=private)
        async with runner:
            persistence = Persistence(runner, config, state, name="web-1")
            async with persistence:
                yield Scene(state, runner, persistence)
            assert [one.pid for one in processes.marked(runner.mark)] == [runner.server_pid]


async def test_it_is_asked_like_any_module_and_answers_from_its_one_process(tmp_path):
    async with scene(tmp_path) as here:
        pid = await here.running()
        ran = await here.ask(echo="hello")
        assert (ran.state, ran.code, ran.result.read().statistics) == ("done", "", {"echo": "hello", "pid": pid})
        assert (await here.ask(echo=7)).code == "bad-parameters"
        raised = await here.ask(raises=True, echo="x")
        assert (raised.code, "raised KeyError: 'x'" in raised.result.errors[0]) == ("raised", True)
        late = await here.ask(within_s=0.2, sleep_s=1.0)
        assert (late.state, late.code) == ("timeout", "deadline")
        assert (await here.ask()).result.read().statistics["pid"] == pid
        assert here.starts() == [pid]


async def test_what_it_raises_is_on_the_disk_when_it_goes_on(tmp_path):
    async with scene(tmp_path, how="tell", count=3) as here:
        await here.until_told("2 x")
        assert here.told() == [f"{number} {'x' * 10}" for number in range(3)]
    with AgentState(tmp_path / "state") as state:
        assert len(state.alerts._outbox.pending(at_most=100)) == 3


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("end", "module persisting came to an end"),
        ("fail", "module persisting raised ValueError: no way (persisting.py:"),
        ("leave", "the worker ended without a result (exit status 7)"),
        ("rave", "it said what is no message"),
        ("boast", "it announced a message of 4,294,967,295 bytes"),
        ("press", "it told more before it knew what was kept"),
    ],
)
async def test_however_it_ends_it_is_started_again_and_that_is_told(tmp_path, how, why):
    async with scene(tmp_path, how=how) as here:
        assert (await here.until_told("module persisting ended: ")).startswith(f"module persisting ended: {why}")
        await here.until_started(3)
        assert len(set(here.starts())) == len(here.starts())


async def test_a_killed_one_is_back_at_once_and_who_asked_meanwhile_hears_why(tmp_path):
    async with scene(tmp_path) as here:
        pid = await here.running()
        asking = asyncio.create_task(here.ask(sleep_s=30))
        await asyncio.sleep(0.1)
        os.kill(pid, signal.SIGKILL)
        ran = await asking
        assert (ran.state, ran.code) == ("failed", "crashed")
        assert await here.running() != pid
        assert "was killed by SIGKILL, and not by this agent" in await here.until_told("ended")


async def test_it_is_killed_with_all_that_it_started(tmp_path):
    async with scene(tmp_path, how="fork", file=str(tmp_path / "child")) as here:
        pid = await here.running()
        async with asyncio.timeout(20):
            while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text().endswith("\n"):  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.02)
        child = processes.look(int((tmp_path / "child").read_text()))
        assert child is not None
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while processes.is_running(child):  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.02)


async def test_one_that_is_silent_or_stuck_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "PING_S", 0.1)
    monkeypatch.setattr(keeper, "SILENT_S", 1.0)
    async with scene(tmp_path, how="mute") as here:
        await here.until_told("it said nothing for 1 s")
    monkeypatch.setattr(keeper, "STUCK_S", 0.5)
    async with scene(tmp_path, how="hang") as here:
        await here.until_told("it did not go on for")


async def test_where_it_cannot_run_it_is_not_started_again_and_again(tmp_path):
    async with scene(tmp_path, how="unavailable") as here:
        async with asyncio.timeout(20):
            while (ran := await here.ask()).code != "unavailable":  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.02)
        assert ran.result.errors == ["module persisting does not run now: not on this host"]
        assert (await here.persistence.survey()).unavailable["persisting"] == "not on this host"
        assert len(here.starts()) == 1
        assert here.told() == []


async def test_its_limits_hold(tmp_path):
    async with scene(tmp_path / "a", how="hog", size=300 << 20) as here:
        assert "out of memory: the limit is 268,435,456 bytes" in await here.until_told("ended")
    async with scene(tmp_path / "b", how="store", size=keeper.FILE_BYTES + 1) as here:
        await here.until_told("File too large")
    async with scene(tmp_path / "c", how="store", size=4 << 20) as here:
        await here.until_told("stored")


async def test_alerts_beyond_the_rate_wait_and_come(tmp_path):
    async with scene(tmp_path, how="tell", count=25, per_minute=240) as here:
        await here.until_told("24 x")
        numbers = [int(text.split()[0]) for text in here.told()]
        assert numbers == list(range(25))


async def test_a_full_outbox_makes_it_wait_and_loses_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(alerts, "MAX_WAITING_BYTES", 20_000)
    monkeypatch.setattr(alerts, "ROOM_LOOK_S", 0.05)
    async with scene(tmp_path, how="tell", count=6, size=8000) as here:
        async with asyncio.timeout(20):
            while len(here.told()) < 2:  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.02)
        await here.running()
        assert (here.folder / "told").read_text() == "2"
        heard: list[Alert] = []
        async with asyncio.timeout(20):
            while len(heard) < 6:
                for letter in here.state.alerts._outbox.pending():
                    heard += unpack_alerts(letter.payload, agent=here.state.identity.id, module="persisting").alerts
                    here.state.alerts._outbox.remove(letter)
                await asyncio.sleep(0.02)
        assert [one.alert.split()[0] for one in heard] == [str(number) for number in range(6)]


async def test_extra_privacy_mode_reaches_it(tmp_path):
    async with scene(tmp_path, private=True) as here:
        await here.running()
        ran = await here.ask(echo="secret")
        assert ran.result.read().statistics["echo"] == "masked"
        raised = await here.ask(raises=True, echo="secret")
        assert "secret" not in str(raised)


async def test_a_module_whose_subject_is_full_keeps_no_other_waiting(running, tmp_path):
    async with running() as broker:
        identity = Identity.generate()
        agent, investigator = await broker.agent(identity.id), await broker.investigator()
        subject = f"mig.alert.{identity.id}.loud"
        await asyncio.gather(
            *(agent.publish_acked(subject, b"x", message_id=f"{n}", timeout_s=30) for n in range(1000))
        )
        with AgentState(None) as state:
            box = state.alerts
            box._identity = identity
            box.per_minute = 6000
            for number in range(20):
                await box.keep("loud", [persisting.alert(str(number))], name="web-1")
            await box.keep("calm", [persisting.alert("hello")], name="web-1")
            delivering = asyncio.create_task(box.deliver(agent))
            async with asyncio.timeout(30):
                while len(box._outbox.pending()) > 20:  # noqa: ASYNC110 - another process has no event
                    await asyncio.sleep(0.02)
            assert [letter.subject for letter in box._outbox.pending()] == [subject] * 20
            calm = [item async for item in investigator.read_stream("MIG_ALERTS", f"mig.alert.{identity.id}.calm")]
            assert len(calm) == 1
            delivering.cancel()
