"""A fleet whose answers and runs can be counted, and the faults that are played on it; for the suite and for `bench/faults.py`.

Every fault is a function of a `Fleet` that asks a question, breaks something while it is answered, and mends it. Then each agent must
have answered exactly once, and run at most once: counted in the broker's stream, on the console, in each agent's audit, and by the
runs themselves, each of which rings a `Bell`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import shutil
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Self

import orjson
from bell import Bell, until
from black_hole import BlackHole
from deployment import Deployment, Process, read_answer

from investigator.config import AGENT_FILE, load_broker, load_console
from investigator.console.dispatch import sign_action, write_action
from investigator.console.keys import load_sealing_key, load_signer
from investigator.console.link import console_link
from investigator.errors import BrokerError
from investigator.protocol.answer import Assembly, unpack
from investigator.protocol.result import Outcome
from investigator.protocol.sealing import public_sealing_key
from investigator.protocol.subjects import ALL_FACTS, FACTS, RESULTS, results_of

SET_CLOCK = Path(__file__).with_name("set_clock.py")
CROWD = Path(__file__).with_name("crowd.py")
LIFE_S = 150
ANSWERED_WITHIN_S = 100.0
NO_ROOM_BYTES = 96 << 10
"""A process whose files may not grow beyond this has a full disk, where its files are larger; a worker's standard error is 64 KiB."""


@dataclass
class Asked:
    """One question to the whole fleet."""

    action: str
    digest: str
    console: Process
    bell: Bell
    at_s: float
    """When it was asked, seconds since 1970."""


@dataclass(frozen=True)
class Count:
    """What came of a question."""

    states: dict[str, int]
    """How many agents came to each state and code, as `found` or `failed/interrupted`."""
    lost: int
    """Agents without an answer in the stream."""
    double: int
    """Answers beyond the first of an agent, in the stream."""
    twice: int
    """Runs beyond the first of an agent."""
    runs: int
    seconds: float
    """From the question to the last first answer, by the broker's clock."""
    on_console: dict[str, int]
    """What the console's summary counts; empty where it was killed."""


@dataclass
class Fleet:
    """A deployment with so many agents, as processes; a context manager."""

    home: Path
    size: int
    in_one_process: bool = False
    """Whether the agents are coroutines of one process, for many: then none of them can be broken alone."""
    kind: type[Deployment] = Deployment
    deployment: Deployment = field(init=False)
    broker: Process = field(init=False)
    agents: dict[str, Process] = field(default_factory=dict)
    _open: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as opened:
            self.deployment = opened.enter_context(self.kind(self.home))
            self.broker = self.deployment.broker()
            if self.in_one_process:
                program = [sys.executable, str(CROWD), str(self.home), str(self.size)]
                self.deployment.start(program=program).until("ready", within_s=120)
            else:
                self.start(*(f"agent-{number}" for number in range(1, self.size + 1)))
            self._open = opened.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    # --- processes

    def start(self, *names: str) -> None:
        """Start agents, and wait until each is connected."""
        started = {name: self.deployment.agent(name, until="") for name in names}
        for process in started.values():
            process.until("connected")
        self.agents |= started

    def kill(self, *names: str) -> None:
        """SIGKILL."""
        for name in names:
            self.agents[name].signal(signal.SIGKILL)
            self.agents[name].wait()

    def kill_broker(self) -> None:
        """SIGKILL to the server itself; what runs it says so and ends."""
        (server,) = [line for line in self.broker.lines if "broker ready" in line]
        os.kill(int(server.rpartition("pid ")[2]), signal.SIGKILL)
        assert self.broker.wait() != 0

    def start_broker(self) -> None:
        """On the same store, port and credentials."""
        self.broker = self.deployment.broker()

    @contextlib.contextmanager
    def broker_paused(self) -> Iterator[None]:
        """SIGSTOP to the server, SIGCONT at the end."""
        (server,) = [line for line in self.broker.lines if "broker ready" in line]
        pid = int(server.rpartition("pid ")[2])
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def agents_through_a_black_hole(self) -> Iterator[BlackHole]:
        """The agents are started again, and reach the broker through a relay."""
        path = self.home / AGENT_FILE
        before = path.read_text()
        with BlackHole(load_broker(self.home).port) as hole:
            path.write_text(re.sub(r"(?m)^(url = .*:)\d+", rf"\g<1>{hole.port}", before))
            self.restart_all()
            yield hole
            path.write_text(before)
            self.restart_all()

    @contextlib.contextmanager
    def own_clock(self, name: str) -> Iterator[Callable[[float], object]]:
        """An agent is started again with a clock of its own; yields what sets it, in seconds from the true time."""
        offset = self.home / "offset"

        def set_clock(seconds: float) -> None:
            fresh = offset.with_suffix(".new")
            fresh.write_text(f"{seconds:g}")
            fresh.replace(offset)

        set_clock(0)
        self.agents[name].end()
        program = [sys.executable, str(SET_CLOCK), str(offset)]
        self.agents[name] = self.deployment.start("agent", "--name", name, program=program)
        self.agents[name].until("connected")
        yield set_clock
        self.agents[name].end()
        self.start(name)

    def restart_all(self) -> None:
        """In order, so that each says good-bye."""
        names = list(self.agents)
        for name in names:
            self.agents[name].end()
        self.start(*names)

    # --- questions

    def ask(self, bell: Bell) -> Asked:
        """Ask every agent, by a console of its own, which waits until the end."""
        config = load_console(self.home)
        assert config.sealing_key is not None
        key = load_sealing_key(config.sealing_key, lambda: "")
        action = write_action(
            name="a question",
            target="all",
            operations=[bell.operation],
            now_s=time.time(),
            life=timedelta(seconds=LIFE_S),
            macros={},
            sealto=public_sealing_key(key),
        )
        prepared = sign_action(action, load_signer(config.signer, lambda: ""))
        path = self.home / f"{action.id}.json"
        path.write_bytes(prepared.envelope.encode())
        console = self.deployment.start("run", "--output", "ndjson", "--wait", "-i", str(path))
        return Asked(action.id, prepared.envelope.digest, console, bell, time.time())

    def play_back(self, asked: Asked) -> None:
        """Publish the envelope of a question again, as a broker could that turned against its fleet."""

        async def publish() -> None:
            async with console_link(load_console(self.home)) as broker:
                raw = (self.home / f"{asked.action}.json").read_bytes()
                await broker.publish(f"mig.action.all.{asked.action}", raw)
                await broker.flush()

        asyncio.run(publish())

    def finish(self, asked: Asked, *, console: bool = True) -> Count:
        """Wait until every agent has answered, and the console has ended; then count."""
        until(lambda: len(self.answered(asked)) >= self.size, "all agents answered", within_s=ANSWERED_WITHIN_S)
        on_console: dict[str, int] = {}
        if console:
            asked.console.until('"summary"')
            told = "\n".join(line for line in asked.console.lines if line.startswith("{"))
            on_console = read_answer(asked.console.wait(), told.encode(), b"").summary["states"]
        answers = self.answered(asked)
        first = [min(answers[agent], key=lambda answer: answer[0]) for agent in answers]
        states = Counter(f"{outcome.state}/{outcome.code}".rstrip("/") for _, outcome in first)
        runs = asked.bell.rung
        return Count(
            states=dict(states),
            lost=self.size - len(answers),
            double=sum(max(0, sum(outcome.state != "refused" for _, outcome in each) - 1) for each in answers.values()),
            twice=max(runs - self.size, 0, sum(max(0, each - 1) for each in self.admissions(asked).values())),
            runs=runs,
            seconds=max(at_s for at_s, _ in first) - asked.at_s,
            on_console=on_console,
        )

    def answered(self, asked: Asked, *, replays: bool = False) -> dict[str, list[tuple[float, Outcome]]]:
        """Every outcome that the stream holds, by agent, with its time there; none while there is no broker.

        With `replays` instead what agents said to the same action when it came again.
        """
        try:
            return asyncio.run(self._answered(asked, replays=replays))
        except BrokerError:
            return {}

    async def _answered(self, asked: Asked, *, replays: bool) -> dict[str, list[tuple[float, Outcome]]]:
        config = load_console(self.home)
        assert config.sealing_key is not None
        key = load_sealing_key(config.sealing_key, lambda: "")
        answers: dict[str, list[tuple[float, Outcome]]] = {}
        async with console_link(config) as broker:
            async for stored in broker.read_stream(RESULTS, results_of(asked.action)):
                agent = stored.subject.rpartition(".")[2]
                head, part = unpack(stored.data, action=asked.action, agent=agent, private_key=key)
                outcome = Assembly().add(head, part)
                assert isinstance(outcome, Outcome)
                if replays != (outcome.code == "replayed"):  # which is no answer: it says that one came or will come
                    continue
                answers.setdefault(agent, []).append((stored.time.timestamp(), outcome))
        return answers

    def registered(self) -> int:
        """How many agents the broker knows."""

        async def count() -> int:
            async with console_link(load_console(self.home)) as broker:
                return len([stored async for stored in broker.read_stream(FACTS, ALL_FACTS)])

        try:
            return asyncio.run(count())
        except BrokerError:
            return 0

    def admissions(self, asked: Asked) -> dict[str, int]:
        """How often each agent let the action run, by its audit; not where it then said that it could not record it."""
        counted: dict[str, int] = {}
        for name in self.agents:
            lines = [
                orjson.loads(line)
                for path in self.state(name).glob("audit*.jsonl")
                for line in path.read_bytes().splitlines()
            ]
            mine = [line for line in lines if line.get("digest") == asked.digest]
            admitted = sum(line.get("verdict") == "admitted" for line in mine)
            counted[name] = admitted - sum(line.get("code") in ("ledger", "audit") for line in mine)
        return counted

    def state(self, name: str) -> Path:
        """An agent's state folder."""
        return self.home / "agents" / name

    def letters(self, name: str) -> int:
        """How many answers wait in an agent's outbox."""
        with contextlib.closing(
            sqlite3.connect(f"file:{self.state(name) / 'agent.sqlite'}?mode=ro", uri=True)
        ) as database:
            return int(database.execute("SELECT count(*) FROM outbox").fetchone()[0])

    @contextlib.contextmanager
    def disk_full(self, name: str) -> Iterator[None]:
        """The agent's database cannot grow meanwhile; its audit, which is small, can."""
        with contextlib.closing(sqlite3.connect(self.state(name) / "agent.sqlite")) as database:
            database.execute("CREATE TABLE IF NOT EXISTS filler (content BLOB)")
            database.execute("INSERT INTO filler VALUES (zeroblob(300000))")
            database.commit()
            database.execute("DROP TABLE filler")
            database.commit()
            pid = self.agents[name].pid
            before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (NO_ROOM_BYTES, resource.RLIM_INFINITY))
            try:
                yield
            finally:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


# --- the faults


def nothing(fleet: Fleet) -> Count:
    """No fault: what the others are compared with."""
    with Bell(holds=False) as bell:
        return fleet.finish(fleet.ask(bell))


def agent_killed_before_it_ran(fleet: Fleet) -> Count:
    """SIGKILL of an agent that has not heard the action; it fetches it when it is back."""
    with Bell() as bell:
        fleet.agents["agent-1"].signal(signal.SIGSTOP)
        asked = fleet.ask(bell)
        bell.until(fleet.size - 1)
        fleet.kill("agent-1")
        fleet.start("agent-1")
        bell.until(fleet.size)
        bell.let_go()
        return fleet.finish(asked)


def agent_killed_while_it_runs(fleet: Fleet) -> Count:
    """SIGKILL of an agent whose worker is busy; it answers for the run when it is back, and runs nothing again."""
    with Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        fleet.kill("agent-1")
        fleet.start("agent-1")
        bell.let_go()
        return fleet.finish(asked)


def agent_killed_before_the_broker_had_its_answer(fleet: Fleet) -> Count:
    """SIGKILL between run and acknowledgement: the broker stands still, the answer is in the outbox."""
    with Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        with fleet.broker_paused():
            bell.let_go()
            until(lambda: fleet.letters("agent-1") == 1, "the answer is in the outbox")
            fleet.kill("agent-1")
        fleet.start("agent-1")
        return fleet.finish(asked)


def agent_killed_before_it_heard_of_the_acknowledgement(fleet: Fleet) -> Count:
    """SIGKILL after the stream took the answer: the acknowledgement is swallowed, so it is sent again, and stored once."""
    with fleet.agents_through_a_black_hole() as hole, Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        hole.swallow(only_answers=True)
        bell.let_go()
        until(lambda: len(fleet.answered(asked)) == fleet.size, "the stream has every answer")
        assert fleet.letters("agent-1") == 1
        fleet.kill(*fleet.agents)
        fleet.start(*fleet.agents)
        until(lambda: fleet.letters("agent-1") == 0, "the answer was acknowledged")
        return fleet.finish(asked)


def agent_killed_after_it_answered(fleet: Fleet) -> Count:
    """SIGKILL once all is over, while the action is still valid: it comes again from the stream, and passes in silence."""
    with Bell(holds=False) as bell:
        asked = fleet.ask(bell)
        until(lambda: len(fleet.answered(asked)) == fleet.size, "all answered")
        fleet.kill("agent-1")
        fleet.start("agent-1")
        return fleet.finish(asked)


def broker_killed_mid_action(fleet: Fleet) -> Count:
    """SIGKILL of the server while all agents run; it comes back on the same store after they are done."""
    with Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        fleet.kill_broker()
        bell.let_go()
        until(lambda: all(fleet.letters(name) for name in fleet.agents), "the answers are in the outboxes")
        fleet.start_broker()
        return fleet.finish(asked)


def broker_killed_and_its_store_lost(fleet: Fleet) -> Count:
    """SIGKILL of the server, and an empty store: facts, action and answers come again from those who have them.

    One agent had not heard the action: nobody but the console has it any more.
    """
    with Bell() as bell:
        fleet.kill("agent-1")
        asked = fleet.ask(bell)
        bell.until(fleet.size - 1)
        fleet.kill_broker()
        shutil.rmtree(load_broker(fleet.home).store / "store")
        fleet.start_broker()
        fleet.start("agent-1")
        bell.until(fleet.size)
        bell.let_go()
        count = fleet.finish(asked)
        until(lambda: fleet.registered() == fleet.size, "every agent is in the inventory again")
        return count


def agent_asleep(fleet: Fleet) -> Count:
    """SIGSTOP of an agent, as a laptop that is closed: the broker has come and gone when it wakes, and the action is in the stream."""
    with Bell(holds=False) as bell:
        fleet.agents["agent-1"].signal(signal.SIGSTOP)
        asked = fleet.ask(bell)
        bell.until(fleet.size - 1)
        fleet.kill_broker()
        fleet.start_broker()
        fleet.agents["agent-1"].signal(signal.SIGCONT)
        return fleet.finish(asked)


def console_killed(fleet: Fleet) -> Count:
    """SIGKILL of the console while all agents run: the stream has their answers."""
    with Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        asked.console.signal(signal.SIGKILL)
        asked.console.wait()
        bell.let_go()
        return fleet.finish(asked, console=False)


def broker_paused(fleet: Fleet, *, pause_s: float = 20.0) -> Count:
    """SIGSTOP of the server for 20 s while the agents finish."""
    with Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        with fleet.broker_paused():
            bell.let_go()
            time.sleep(pause_s)
        return fleet.finish(asked)


def black_holed(fleet: Fleet) -> Count:
    """Every agent's connection swallows what it is sent, without a word; agents notice within two pings."""
    with fleet.agents_through_a_black_hole() as hole, Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        hole.swallow()
        bell.let_go()
        return fleet.finish(asked)


def disk_full_for_the_outbox(fleet: Fleet) -> Count:
    """An agent's disk is full when its run ends: it answers from memory."""
    with Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        with fleet.disk_full("agent-1"):
            bell.let_go()
            return fleet.finish(asked)


def disk_full_for_the_ledger(fleet: Fleet) -> Count:
    """An agent's disk is full when the action comes: it does not run what it cannot record, says so, and runs the next one."""
    with Bell(holds=False) as bell:
        with fleet.disk_full("agent-1"):
            asked = fleet.ask(bell)
            count = fleet.finish(asked)
        assert bell.rung == fleet.size - 1
        assert nothing(fleet).states == {"found": fleet.size}
        return count


def ledger_overwritten(fleet: Fleet) -> Count:
    """An agent is killed and its database is rubbish: it is put aside, and the audit knows what ran. The next question is answered."""
    with Bell(holds=False) as bell:
        asked = fleet.ask(bell)
        until(lambda: len(fleet.answered(asked)) == fleet.size, "all answered")
        fleet.kill("agent-1")
        for path in fleet.state("agent-1").glob("agent.sqlite*"):
            path.write_bytes(b"rubbish" * 1000)
        fleet.start("agent-1")
        until(lambda: sum(len(each) for each in fleet.answered(asked).values()) > fleet.size, "it was refused")
        assert "ledger-lost" in [outcome.code for each in fleet.answered(asked).values() for _, outcome in each]
        assert list(fleet.state("agent-1").glob("agent-damaged-*.sqlite"))
        assert nothing(fleet).states == {"found": fleet.size}
        return fleet.finish(asked)


def clock_set_back(fleet: Fleet) -> Count:
    """An agent's clock goes back by an hour once it has run the action: played back, that is refused; what is new still runs."""
    with fleet.own_clock("agent-1") as set_clock, Bell(holds=False) as bell:
        asked = fleet.ask(bell)
        count = fleet.finish(asked)
        set_clock(-3600)
        fleet.play_back(asked)
        until(lambda: len(fleet.answered(asked, replays=True)) == fleet.size, "all say that it ran")
        assert bell.rung == fleet.size
        assert nothing(fleet).states == {"found": fleet.size}  # the time of the newest signature counts
        set_clock(0)
        assert nothing(fleet).states == {"found": fleet.size}
        return count


def many_come_back_at_once(fleet: Fleet) -> Count:
    """SIGKILL of the server, and a question as soon as it is back; the agents come when they come."""
    with Bell(holds=False) as bell:
        fleet.kill_broker()
        fleet.start_broker()
        return fleet.finish(fleet.ask(bell))


Fault = Callable[[Fleet], Count]
FAULTS: tuple[Fault, ...] = (
    nothing,
    agent_killed_before_it_ran,
    agent_killed_while_it_runs,
    agent_killed_before_the_broker_had_its_answer,
    agent_killed_before_it_heard_of_the_acknowledgement,
    agent_killed_after_it_answered,
    agent_asleep,
    broker_killed_mid_action,
    broker_killed_and_its_store_lost,
    console_killed,
    broker_paused,
    black_holed,
    disk_full_for_the_outbox,
    disk_full_for_the_ledger,
    ledger_overwritten,
    clock_set_back,
)
SLOW: frozenset[Fault] = frozenset((broker_paused, black_holed))
"""Which take half a minute, by their nature."""
