"""The agent as a process: settings, state, trust, workers and connection put together, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec

from investigator.agent.cgroups import Cgroups, NoCgroups, take, take_given
from investigator.agent.enrolment import Enrolment
from investigator.agent.facts import host_name
from investigator.agent.limits import Limits
from investigator.agent.machine import this_machine
from investigator.agent.own_status import Reporting, report_of
from investigator.agent.permissions import refuse_loose
from investigator.agent.persistent import Persistence
from investigator.agent.runner import Runner
from investigator.agent.service import Agent
from investigator.agent.state import AgentState
from investigator.agent.status_socket import status_served
from investigator.agent.thrift import give_back
from investigator.agent.token_setting import TokenSetting
from investigator.agent.trust import load_trust
from investigator.broker.connection import Broker, State, connect
from investigator.broker.problems import NotPermittedError
from investigator.broker.scopes import MAX_AGENT_MESSAGE_BYTES
from investigator.broker.tls import plain_text_notice
from investigator.config import AGENT_FILE, AgentConfig, load_agent
from investigator.logs import Logs
from investigator.modules.status.report import Report
from investigator.printable import printable
from investigator.protocol.subjects import token


async def serve(home: Path, *, name: str, tags: dict[str, str], state: Path | None, verbose: bool) -> None:
    """Run the agent of this host until SIGINT or SIGTERM, or until an action ends it (the module agentdestroy).

    Raises:
        DeploymentError: configuration, keyring, ACL or state is missing or not to be trusted.
        BadInput: one of them is wrong.
    """
    refuse_loose(home / AGENT_FILE)  # it names the keyring and the ACL
    config = load_agent(home)
    config = msgspec.structs.replace(config, tags={**config.tags, **tags})
    name = name or config.name or host_name()
    with Logs("agent", config.log, verbose=verbose) as logs:
        await _serve_as(home, config, logs, name=name, state=state)


async def _serve_as(home: Path, config: AgentConfig, logs: Logs, *, name: str, state: Path | None) -> None:
    trust = load_trust(config)
    for problem in trust.problems:
        logging.getLogger(__name__).warning("%s", problem)
    if config.broker.ca is not None:
        refuse_loose(config.broker.ca)  # who can write it chooses the broker
    if config.broker.key is not None:
        refuse_loose(config.broker.key, private=True)
    notice = plain_text_notice(config.broker.url)
    if notice:
        logging.getLogger(__name__).warning("%s", notice)
    with AgentState(state or state_folder(home, name), machine=this_machine()) as opened:
        logs.origin.agent = opened.identity.id
        setting = TokenSetting(home / AGENT_FILE, config.enrolment)
        enrolment = Enrolment(config.broker, opened, setting, name=name)
        limits, cgroups = limits_of(config), _cgroups(config)
        runner = Runner(
            limits,
            mark=opened.mark,
            private=config.extraprivacymode,
            cgroups=cgroups,
            warm_s=config.module_warm_s,
        )
        logging.getLogger(__name__).info("operations are held to their limits by %s: %s", runner.held_by, limits)
        async with runner:
            persistence = Persistence(runner, config, opened, name=name)

            def report() -> Report:
                return report_of(agent, runner, logs)

            reporting = Reporting(persistence, report, private=config.extraprivacymode)
            agent = Agent(config, opened, trust, reporting, name=name, survey=persistence.survey)
            async with (
                status_served(opened.folder, lambda: msgspec.json.encode(report())),
                _exported(config, report),
                persistence,  # from now on, also while there is no broker
            ):
                await _serve(agent, config, enrolment)


@contextlib.asynccontextmanager
async def _exported(config: AgentConfig, report: Callable[[], Report]) -> AsyncIterator[None]:
    """Most hosts have nobody who scrapes: what that needs is not loaded there."""
    if not config.metrics.listen:
        yield
        return
    from investigator.agent.status_page import report_page
    from investigator.exporter import exporting

    async def page() -> str:
        return report_page(report())

    async with exporting(config.metrics, page):
        yield


def state_folder(home: Path, name: str) -> Path:
    """Where the state of the agent of that name is, unless somebody says otherwise."""
    return home / "agents" / token(name)


async def _serve(agent: Agent, config: AgentConfig, enrolment: Enrolment) -> None:
    stopping = _when_stopped(asyncio.current_task())

    def ready() -> None:
        print(f"agent {printable(agent.name)} ({agent.id}) connected to {config.broker.url}", flush=True)  # noqa: T201 - the one line for who started it
        give_back()

    try:
        await enrolment.first()
        async with _connected(agent, config, enrolment) as broker:
            await agent.run(broker, ready=ready)
            print(f"agent {printable(agent.name)} ended, as a signed action told it", flush=True)  # noqa: T201 - likewise
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
        print(f"agent {printable(agent.name)} stopped", flush=True)  # noqa: T201 - likewise


@contextlib.asynccontextmanager
async def _connected(agent: Agent, config: AgentConfig, enrolment: Enrolment) -> AsyncIterator[Broker]:
    """The broker, with a credential that is renewed, and got anew where the broker refuses it."""

    def notice(state: State) -> None:
        if state is State.REFUSED:
            enrolment.refused()
        agent.notice(state)

    async with await _connect(agent, config, enrolment, notice) as broker:
        keeping = asyncio.create_task(enrolment.keep(broker), name="enrolment")
        keeping.add_done_callback(_kept)
        try:
            yield broker
        finally:
            keeping.cancel()


async def _connect(agent: Agent, config: AgentConfig, enrolment: Enrolment, notice: Callable[[State], None]) -> Broker:
    """Until there is a broker; one that does not take the credential of an earlier life is asked for another."""
    while True:
        try:
            return await connect(
                config.broker.url,
                enrolment.credentials,
                name=agent.id,
                tls=config.broker.tls,
                on_state=notice,
                give_up_after_s=math.inf,
                max_message_bytes=MAX_AGENT_MESSAGE_BYTES,
            )
        except NotPermittedError as error:
            logging.getLogger(__name__).warning("%s", error)
            await enrolment.anew()


def _kept(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        logging.getLogger(__name__).critical("the credential is renewed no more: a defect", exc_info=task.exception())


def _when_stopped(task: asyncio.Task[None] | None) -> asyncio.Event:
    """Cancel the task at the first SIGINT or SIGTERM; the event says that it was that."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: signal.Signals) -> None:
        stopping.set()
        loop.remove_signal_handler(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop, number)
    return stopping


def _cgroups(config: AgentConfig) -> Cgroups | None:
    """Where operations get cgroups, as agent.toml says it; why there is no such place, where it names one, is a warning."""
    if config.module_cgroup == "off":
        return None
    try:
        return take() if config.module_cgroup == "auto" else take_given(Path(config.module_cgroup))
    except NoCgroups as error:
        level = logging.INFO if config.module_cgroup == "auto" else logging.WARNING
        logging.getLogger(__name__).log(level, "no cgroups for operations: %s", error)
        return None


def limits_of(config: AgentConfig) -> Limits:
    """What agent.toml lets each operation use."""
    return Limits(
        wall_clock_s=config.module_timeout_s,
        memory_bytes=config.module_memory_bytes,
        output_bytes=config.module_result_bytes,
        cpu_percent=config.module_cpu_percent,
        open_files=config.module_open_files,
        processes=config.module_processes,
        niceness=config.module_niceness,
    )
