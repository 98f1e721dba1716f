"""A simulation from its beginning to its end: a broker of its own, agents that are not there, one question, and what it all cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

import orjson

from investigator.agent.trust import load_trust
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.operator import mint_agent
from investigator.broker.scopes import MAX_AGENT_MESSAGE_BYTES
from investigator.broker.server import EmbeddedServer
from investigator.broker.server_tls import server_tls
from investigator.broker.streams import StreamState, ensure_streams, stream_states
from investigator.config import load_agent, load_broker
from investigator.console.deployment import SIGNING_KEY
from investigator.console.enrolling import make_token
from investigator.errors import BrokerError
from investigator.pgp.signer import KeyFileSigner
from investigator.program import own_command
from investigator.protocol.statement import MAX_COUNT
from investigator.protocol.subjects import (
    ACTIONS,
    ALL_ACTIONS,
    FACTS,
    HEARTBEATS,
    RESULTS,
    agent_routes,
    heartbeat_subject,
    subscription,
)
from investigator.simulation.costs import Costs, Meter, Reading, each, sync_us, wire_bytes
from investigator.simulation.fleet import Fleet
from investigator.simulation.population import Population
from investigator.simulation.scratch import mint_wide, now, open_scratch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from investigator.broker.connection import Broker
    from investigator.config import AgentConfig

LEAST_SAMPLE: Final = 100
MOST_SAMPLE: Final = 300
"""Real connections that are made to measure one."""
POLLS: Final = 10
TOKEN_LIFE: Final = timedelta(days=2)
ASK: Final = ("-t", "all", "-e", "1h", "--output", "json", "netstat", "-ci", "198.51.100.7")
"""The question; no simulated agent runs it."""
LET_IN_WITHIN_S: Final = 30.0
SETTLE_S: Final = 1.0
MOST_WARNINGS: Final = 20
STORED_WITHIN_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is simulated."""

    agents: int
    answer_bytes: int = 300
    found: float = 0.01
    heartbeat_s: float = 60.0


@dataclass(slots=True)
class Found:
    """What came of it."""

    wanted: Wanted
    costs: Costs
    fill_s: float = 0.0
    beat_s: float = 0.0
    answer_s: float = 0.0
    """From when the agents heard the action until the stream had acknowledged the last answer."""
    console_s: float = 0.0
    """From the console's start to its end, its own reading of the inventory included."""
    states: dict[str, int] | None = None
    answers: int = 0
    """That the agents gave and the stream acknowledged; the console should have counted as many."""
    warnings: tuple[str, ...] = ()
    """What the console said beside that."""
    broker_peak_bytes: int = 0
    simulator_peak_bytes: int = 0
    recover_s: float = 0.0


class Simulation:
    """A deployment with its broker and its simulated agents; `async with` starts and stops both."""

    def __init__(self, home: Path, wanted: Wanted, progress: Callable[[str], None]) -> None:
        """Nothing is touched yet."""
        self.home = home
        self.wanted = wanted
        self._progress = progress
        self._open = contextlib.AsyncExitStack()
        self._server: EmbeddedServer
        self._wide: Credentials
        self._agents: AgentConfig
        self._fleet: Fleet
        self._services: Broker
        self._watching: asyncio.Task[None]
        self._start_s = 0.0
        """What an empty broker took until it listened."""

    async def __aenter__(self) -> Self:
        """Make the deployment, and start its broker.

        Raises:
            DeploymentError: the folder is no simulation's.
            BrokerError: the broker does not start.
        """
        secret = await asyncio.to_thread(open_scratch, self.home)
        self._agents, config = load_agent(self.home), load_broker(self.home)
        signer = KeyFileSigner((self.home / SIGNING_KEY).read_bytes(), lambda: "")
        counts = [min(MAX_COUNT, self.wanted.agents - start) for start in range(0, self.wanted.agents, MAX_COUNT)]
        tokens = [make_token(signer, count=count, life=TOKEN_LIFE, now_s=time.time())[0] for count in counts]
        population = Population(
            self.wanted.agents,
            secret=secret,
            tokens=tokens,
            heartbeat_s=self.wanted.heartbeat_s,
            started=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        )
        trust = load_trust(self._agents)
        self._fleet = Fleet(
            population, trust.keyring, trust.acl, answer_bytes=self.wanted.answer_bytes, found=self.wanted.found
        )
        async with contextlib.AsyncExitStack() as opening:
            # without `sync_always`: filling would wait for the disk, whose part is measured by itself
            self._server = EmbeddedServer(
                config.store, host=config.host, port=config.port, tls=server_tls(config), sync_always=False
            )
            began = time.monotonic()
            await opening.enter_async_context(self._server)
            self._start_s = time.monotonic() - began
            self._watching = asyncio.create_task(self._server.wait(), name="simulated broker")
            opening.callback(self._watching.cancel)
            self._wide = mint_wide(config.store, now_s=now())  # which the server reads within a second
            self._services = await self._connect(Credentials.load(config.credentials))
            opening.push_async_callback(self._services.close)
            await ensure_streams(self._services)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def run(self) -> Found:
        """Measure, fill, ask, and measure again.

        Raises:
            BrokerError: the broker went away; or the console's own error.
        """
        meter = Meter(self._server.pid)
        costs: dict[str, float] = {"sync_us": await asyncio.to_thread(sync_us, self.home)}
        await self._measure_connections(meter, costs)
        self._fleet.broker = await self._wide_connection()
        self._open.push_async_callback(self._fleet.broker.close)
        await self._fleet.broker.subscribe(ALL_ACTIONS, self._fleet.heard)
        found = Found(self.wanted, costs=None)  # type: ignore[arg-type]  # set below
        found.fill_s = await self._phase(meter, costs, "facts", FACTS, self._fleet.register)
        found.beat_s = await self._phase(meter, costs, "heartbeat", HEARTBEATS, self._fleet.beat)
        self._measure_sizes(costs)
        async with self._living():
            await self._ask(meter, costs, found)
        await self._measure_recovery(costs, found)
        found.costs = Costs(**costs)
        found.simulator_peak_bytes = _own_peak_bytes()
        return found

    async def fill(self, stop: asyncio.Event) -> None:
        """Only fill, for who asks by hand; less than all once told to stop."""
        self._fleet.broker = await self._wide_connection()
        self._open.push_async_callback(self._fleet.broker.close)
        await self._fleet.broker.subscribe(ALL_ACTIONS, self._fleet.heard)
        filling = asyncio.create_task(self._fill())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({filling, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stop.is_set():
            filling.cancel()
            await asyncio.gather(filling, return_exceptions=True)
        else:
            await filling

    async def _fill(self) -> None:
        await self._fleet.register(self._counting("facts"))
        await self._fleet.beat(self._counting("heartbeat"))

    async def live(self, stop: asyncio.Event, tell: Callable[[str], None]) -> None:
        """Answer whoever asks, with heartbeats, until told to stop."""
        async with self._living():
            told = len(self._fleet.asked)
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), SETTLE_S)
                while told < len(self._fleet.asked) and self._fleet.asked[told].over.is_set():
                    run = self._fleet.asked[told]
                    tell(f"action {run.action}: {run.answers:,} agents answered in {run.took_s:.1f} s")
                    told += 1

    @contextlib.asynccontextmanager
    async def _living(self) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._fleet.answer_regularly(), name="simulated answers"),
            asyncio.create_task(self._fleet.beat_regularly(), name="simulated heartbeats"),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _phase(
        self,
        meter: Meter,
        costs: dict[str, float],
        what: str,
        stream: str,
        work: Callable[[Callable[[int], None]], Awaitable[None]],
    ) -> float:
        before, stored = meter.read(), await self._stored(stream)
        began = time.monotonic()
        await work(self._counting(what))
        took_s = time.monotonic() - began
        await self._until_stored(stream)
        self._note(costs, what, before, meter.read(), self.wanted.agents)
        costs[f"{what}_stored_bytes"] = each(stored, await self._stored(stream), self.wanted.agents)
        return took_s

    async def _until_stored(self, stream: str) -> None:
        """Heartbeats are not acknowledged; raises `BrokerError` where not all of them arrive."""
        ends_s = time.monotonic() + STORED_WITHIN_S
        while (state := await self._state(stream)).messages < self.wanted.agents:
            if time.monotonic() > ends_s:
                raise BrokerError(f"stream {stream} has {state.messages:,} messages of {self.wanted.agents:,} agents")
            await asyncio.sleep(0.1)

    def _note(self, costs: dict[str, float], what: str, before: Reading, after: Reading, number: int) -> None:
        costs[f"{what}_cpu_us"] = each(before.cpu_s, after.cpu_s, number) * 1e6

    async def _measure_connections(self, meter: Meter, costs: dict[str, float]) -> None:
        """As many real agents' connections as are needed to tell what one costs; then each asks for what it missed."""
        sample = max(LEAST_SAMPLE, min(MOST_SAMPLE, self.wanted.agents))
        self._progress(f"connecting {sample} agents for real")
        costs["base_memory_bytes"] = meter.read().memory_bytes
        async with contextlib.AsyncExitStack() as stack:
            before, own_s = meter.read(), time.process_time()
            brokers = [await stack.enter_async_context(await self._agent(number)) for number in range(sample)]
            own_s = time.process_time() - own_s
            await asyncio.sleep(SETTLE_S)
            after = meter.read()
            costs["connect_cpu_us"] = each(before.cpu_s, after.cpu_s, sample) * 1e6
            costs["connect_cpu_client_us"] = own_s / sample * 1e6
            costs["connection_memory_bytes"] = each(before.memory_bytes, after.memory_bytes, sample)
            before = meter.read()
            for _ in range(POLLS):
                for number, broker in enumerate(brokers):
                    async for _ in broker.batch_get(ACTIONS, subjects=self._subjects(number), after_seq=1):
                        pass
            costs["poll_cpu_us"] = each(before.cpu_s, meter.read().cpu_s, sample * POLLS) * 1e6

    async def _agent(self, number: int) -> Broker:
        """A connection as a real agent makes it, with a credential of its own."""
        agent = self._fleet.population.identity(number % self.wanted.agents).id
        made = Credentials.generate(agent)
        token = mint_agent(
            load_broker(self.home).store, agent=agent, user_key=made.public_key, lives_s=3600, now_s=now()
        )
        broker = await self._connect(made.with_jwt(token), max_message_bytes=MAX_AGENT_MESSAGE_BYTES)
        for subject in self._subjects(number):
            await broker.subscribe(subject, lambda _: None)
        return broker

    def _subjects(self, number: int) -> list[str]:
        agent = self._fleet.population.identity(number % self.wanted.agents).id
        return [subscription(route) for route in agent_routes(agent, "linux", {"role": "web"})]

    def _measure_sizes(self, costs: dict[str, float]) -> None:
        population = self._fleet.population
        identity = population.identity(0)
        beat = population.heartbeat(0, identity, now_s=time.time(), answered=1000, seen=1000)
        costs["facts_bytes"] = len(population.facts(0, identity, now_s=now()))
        costs["heartbeat_bytes"] = len(beat)
        costs["heartbeat_wire_bytes"] = wire_bytes(heartbeat_subject(identity.id), len(beat))

    async def _ask(self, meter: Meter, costs: dict[str, float], found: Found) -> None:
        """One question to all, by a console of its own, as an operator would ask it."""
        self._progress("one question to all")
        before, stored = meter.read(), await self._stored(RESULTS)
        began = time.monotonic()
        words = [*own_command(), "run", "--home", str(self.home), *ASK]
        console = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            out, err = await console.communicate()
        finally:
            if console.returncode is None:
                console.kill()
                await console.wait()
        found.console_s = time.monotonic() - began
        found.states = _states(out, err)
        (run,) = self._fleet.asked[-1:]
        await run.over.wait()
        found.answer_s, found.answers = run.took_s, run.answers
        found.warnings = tuple(err.decode(errors="replace").splitlines()[:MOST_WARNINGS])
        after = meter.read()
        self._note(costs, "result", before, after, run.answers)
        costs["result_stored_bytes"] = each(stored, await self._stored(RESULTS), run.answers)
        costs["result_bytes"] = run.payload_bytes / max(1, run.answers)
        costs["action_bytes"] = float(run.action_bytes)

    async def _measure_recovery(self, costs: dict[str, float], found: Found) -> None:
        """What a restart takes with what is stored now."""
        self._progress("restarting the broker")
        messages = sum(state.messages for state in await stream_states(self._services))
        found.broker_peak_bytes = _peak_bytes(self._server.pid)
        self._watching.cancel()  # that it ends is no news
        await self._server.stop()
        began = time.monotonic()
        await self._server.start()
        found.recover_s = time.monotonic() - began
        costs["recover_us"] = each(self._start_s, found.recover_s, messages) * 1e6
        costs["stored_memory_bytes"] = each(
            costs["base_memory_bytes"], Meter(self._server.pid).read().memory_bytes, messages
        )

    async def _stored(self, stream: str) -> int:
        return (await self._state(stream)).bytes

    async def _state(self, stream: str) -> StreamState:
        return next(state for state in await stream_states(self._services) if state.name == stream)

    async def _wide_connection(self) -> Broker:
        """Once the server has read the account anew."""
        ends_s = time.monotonic() + LET_IN_WITHIN_S
        while True:
            try:
                return await self._connect(self._wide)
            except BrokerError:
                if time.monotonic() > ends_s:
                    raise
                await asyncio.sleep(0.2)

    async def _connect(self, user: Credentials, *, max_message_bytes: int | None = None) -> Broker:
        return await connect(
            self._agents.broker.url,
            user,
            name=user.name,
            tls=self._agents.broker.tls,
            give_up_after_s=LET_IN_WITHIN_S,
            max_message_bytes=max_message_bytes,
        )

    def _counting(self, what: str) -> Callable[[int], None]:
        def count(number: int) -> None:
            self._progress(f"{what}: {number:,} of {self.wanted.agents:,}")

        return count


def _states(out: bytes, err: bytes) -> dict[str, int]:
    """What the console counted."""
    try:
        states = orjson.loads(out)["summary"]["states"]
    except (ValueError, KeyError, TypeError):
        said = err.decode(errors="replace").strip().splitlines()
        raise BrokerError(f"the console did not count: {said[-1] if said else 'it said nothing'}") from None
    return {str(state): int(count) for state, count in states.items()}


def _peak_bytes(pid: int) -> int:
    """The most memory that a process had; Linux only, else 0."""
    with contextlib.suppress(OSError, StopIteration, ValueError), open(f"/proc/{pid}/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024
    return 0


def _own_peak_bytes() -> int:
    return _peak_bytes(os.getpid())
