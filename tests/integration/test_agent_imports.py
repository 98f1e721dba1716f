"""What an agent loads, in its own process and in the one that its workers are forked from: it is memory on every host.

The numbers are those of CPython 3.11 (455 and 301) with room for what other versions split up: whoever goes beyond them
looks at what came, then loads it later, or raises the number and says why.
"""

from __future__ import annotations

import asyncio
import sys
import time

import pytest
from deployment import Deployment

from investigator.agent.limits import Limits
from investigator.agent.runner import Runner

AGENT_AT_MOST = 490
WORKER_AT_MOST = 330
CONSOLE = {"typer", "click", "sqlglot", "rich", "pygments", "aiosqlite", "yaml", "pydantic", "shellingham", "shiv"}
IN_WORKERS_ONLY = {"yara_x", "watchfiles", "anyio", "psutil"}
IN_CONSOLES_ONLY = {"pgpy", "pyasn1"}
NOT_IN_WORKERS = {"asyncio", "nats", "pgpy", "sqlite3", "concurrent.futures"}
PROBE = """
import sys
sys.argv = ["investigator", *sys.argv[1:]]
from investigator.__main__ import main
main()
print("loaded:", *sorted(sys.modules))
"""


@pytest.fixture(scope="module")
def by_the_agent(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    with Deployment(tmp_path_factory.mktemp("deployment")) as deployment:
        deployment.broker()
        agent = deployment.start("agent", "--name", "x", program=(sys.executable, "-c", PROBE))
        agent.until("connected")
        return set(agent.all_lines()[-1].removeprefix("loaded: ").split())


@pytest.fixture(scope="module")
def by_a_worker() -> set[str]:
    async def ask() -> set[str]:
        modules = {"telling_modules": "telling_modules"}
        async with Runner(Limits(memory_bytes=256 << 20, niceness=0), modules=modules) as runner:
            ran = await runner.run("telling_modules", {}, deadline_s=time.monotonic() + 30)
            assert ran.result is not None, ran
            return set(ran.result.read().elements)

    return asyncio.run(ask())


def tops(loaded: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in loaded}


def assert_few(loaded: set[str], most: int) -> None:
    counts: dict[str, int] = {}
    for name in loaded:
        counts[name.partition(".")[0]] = counts.get(name.partition(".")[0], 0) + 1
    largest = sorted(counts.items(), key=lambda item: -item[1])[:15]
    assert len(loaded) <= most, f"{len(loaded)} modules are loaded, {most} are allowed; most of them: {largest}"


def test_an_agent_loads_nothing_of_the_console(by_the_agent: set[str]) -> None:
    assert "investigator.agent.service" in by_the_agent
    assert not tops(by_the_agent) & CONSOLE
    assert not {name for name in by_the_agent if name.startswith("investigator.console")}
    assert not tops(by_the_agent) & (IN_WORKERS_ONLY | IN_CONSOLES_ONLY)


def test_a_worker_loads_nothing_of_the_console_nor_of_the_connection(by_a_worker: set[str]) -> None:
    assert "investigator.modules.file" in by_a_worker
    assert not tops(by_a_worker) & CONSOLE
    assert not {name for name in by_a_worker if name.startswith(("investigator.console", "investigator.broker"))}
    assert not by_a_worker & NOT_IN_WORKERS


def test_an_agent_loads_no_more_than_was_counted(by_the_agent: set[str]) -> None:
    assert_few(by_the_agent, AGENT_AT_MOST)


def test_a_worker_loads_no_more_than_was_counted(by_a_worker: set[str]) -> None:
    assert_few(by_a_worker, WORKER_AT_MOST)
