"""The library against a real broker and real agents: what a program sees, and that nothing of it stays behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from deployment import Deployment

import investigator
from investigator import AgentOutcome, Investigator, Operation
from investigator.config import load_console
from investigator.console.asking import Asked
from investigator.console.audience import Shown, Unmoved
from investigator.console.link import console_link
from investigator.console.store import Store
from investigator.errors import BadInput, BadTarget, BrokerError, DeploymentError
from investigator.modules import get_module
from investigator.modules.file.parameters import Parameters
from investigator.modules.interface import load_parameters
from investigator.protocol.action import Action
from investigator.protocol.result import Outcome
from investigator.protocol.subjects import ACTIONS, ALL_ACTIONS

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("library") / "home") as deployment:
        deployment.broker()
        deployment.agents("web-1", "web-2", "db-1")
        yield deployment


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "passwd").write_text("root:x:0:0\n")
    return tmp_path


def flags(tree: Path) -> list[str]:
    return ["-path", str(tree), "-name", "^passwd$"]


async def others() -> set[str]:
    """Tasks but this one."""
    return {task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()}


async def settled(before: set[str]) -> None:
    """Return when no other tasks are there than before; the test's own limit of time says that there are."""
    while len(await others()) > len(before):  # noqa: ASYNC110 - the end of a task has no event
        await asyncio.sleep(0)


async def test_every_targeted_agent_is_told_once_with_what_it_found(fleet: Deployment, tree: Path) -> None:
    async with Investigator(fleet.home) as console:
        investigation = console.run(target="all", operations=[("file", flags(tree))])
        outcomes = [outcome async for outcome in investigation]
    assert {outcome.name: outcome.state for outcome in outcomes} == dict.fromkeys(("web-1", "web-2", "db-1"), "found")
    assert len({outcome.agent for outcome in outcomes}) == 3
    for outcome in outcomes:
        (result,) = outcome.results
        assert result.success
        assert result.elements["s1"][0]["file"] == str(tree / "passwd")
    assert investigation.summary.states == {"found": 3}
    assert investigation.summary.action == investigation.action.id


async def test_all_forms_of_an_operation_go_into_one_action(fleet: Deployment, tree: Path) -> None:
    document = {"searches": {"s1": {"paths": [str(tree)], "names": ["^passwd$"]}}}
    struct = load_parameters(get_module("file"), document)
    assert isinstance(struct, Parameters)
    asked: list[Asked] = [
        ("file", document),
        ("file", struct),
        ("file", flags(tree)),
        Operation(module="file", parameters=document),
    ]
    async with Investigator(fleet.home) as console:
        investigation = console.run(target="name = 'db-1'", operations=asked, compress=True)
        (outcome,) = [outcome async for outcome in investigation]
    assert [result.foundanything for result in outcome.results] == [True] * 4


async def test_leaving_the_loop_ends_the_waiting_keeps_what_came_and_leaves_nothing_running(
    fleet: Deployment, tree: Path
) -> None:
    async with Investigator(fleet.home) as console:
        before = await others()
        investigation = console.run(target="all", operations=[("file", flags(tree))])
        async with investigation:
            async for first in investigation:
                assert isinstance(first, AgentOutcome)
                break
        await settled(before)
        assert console._broker._subscriptions == []
        assert investigation.summary.targeted == 3
        async with Store(load_console(fleet.home).store) as store:
            assert await store.action(investigation.action.id)


async def test_a_loop_that_is_only_left_is_ended_at_the_latest_with_the_console(fleet: Deployment, tree: Path) -> None:
    before = await others()
    async with Investigator(fleet.home) as console:
        kept = aiter(console.run(target="all", operations=[("file", flags(tree))]))
        await anext(kept)
    await settled(before)


async def test_two_investigations_at_a_time_hear_their_own_answers(fleet: Deployment, tree: Path) -> None:
    async with Investigator(fleet.home) as console:

        async def states(name: str) -> set[str]:
            asked = console.run(target="all", operations=[("file", ["-path", str(tree), "-name", name])])
            return {outcome.state async for outcome in asked}

        async with asyncio.TaskGroup() as group:
            found, notfound = group.create_task(states("^passwd$")), group.create_task(states("^shadow$"))
    assert (found.result(), notfound.result()) == ({"found"}, {"notfound"})


async def test_what_cannot_be_asked_is_said_at_once_and_nothing_is_sent(fleet: Deployment) -> None:
    async with Investigator(fleet.home) as console:
        before = await stored(fleet)
        with pytest.raises(BadTarget):
            console.run(target="nothing = 3", operations=[("file", ["-path", "/etc"])])
        with pytest.raises(BadInput):
            console.run(target="all", operations=[])
        console.run(target="all", operations=[("file", ["-path", "/etc", "-name", "x"])])
        assert await stored(fleet) == before


async def stored(fleet: Deployment) -> int:
    async with console_link(load_console(fleet.home)) as broker:
        return len([stored async for stored in broker.read_stream(ACTIONS, ALL_ACTIONS)])


async def test_an_investigation_is_sent_once_and_its_summary_comes_at_the_end(fleet: Deployment, tree: Path) -> None:
    async with Investigator(fleet.home) as console:
        investigation = console.run(target="name = 'db-1'", operations=[("file", flags(tree))])
        with pytest.raises(BadInput, match="not over"):
            _ = investigation.summary
        assert len([outcome async for outcome in investigation]) == 1
        with pytest.raises(BadInput, match="was followed already"):
            aiter(investigation)


async def test_results_are_told_again_and_what_was_asked_is_on_record(fleet: Deployment, tree: Path) -> None:
    async with Investigator(fleet.home) as console:
        investigation = console.run(target="name = 'db-1'", name="again", operations=[("file", flags(tree))])
        (first,) = [outcome async for outcome in investigation]
    async with Investigator(fleet.home) as console:
        again = await console.results(investigation.action.id)
        assert [outcome async for outcome in again] == [first]
        assert again.summary.states == {"found": 1}
        (recorded,) = [action for action in await console.actions() if action.id == investigation.action.id]
        with pytest.raises(BadInput, match="no action"):
            await console.results("f" * 32)
    assert (recorded.name, recorded.modules, recorded.states, recorded.final) == (
        "again",
        ("file",),
        {"found": 1},
        True,
    )
    assert len(recorded.signers) == 1


async def test_the_agents_of_a_target(fleet: Deployment) -> None:
    async with Investigator(fleet.home) as console:
        assert [agent.name for agent in await console.agents()] == ["db-1", "web-1", "web-2"]
        (agent,) = await console.agents("name = 'db-1'")
    assert agent.status == "online"
    assert agent.row["os"] == "linux"


async def test_a_cancel_stops_what_runs(fleet: Deployment) -> None:
    async with Investigator(fleet.home) as console:
        investigation = console.run(
            target="name = 'web-1'",
            operations=[("ping", ["-d", "127.0.0.1", "-p", "udp", "-dp", "9", "-c", "30", "-t", "10"])],
            life=timedelta(seconds=60),
        )
        audience = Watching()
        async with asyncio.TaskGroup() as group:
            following = group.create_task(investigation.follow(audience, asyncio.Event()))
            await audience.begun.wait()
            stopped = await console.cancel(investigation.action.id, reason="enough")
    assert (stopped.running, stopped.refused, stopped.working) == (1, {}, 0)
    assert following.result().states == {"cancelled": 1}
    assert audience.told == [("cancelled", "by-signer")]


class Watching(Unmoved):
    """An audience that can be waited for."""

    def __init__(self) -> None:
        super().__init__(print)
        self.begun = asyncio.Event()
        self.told: list[tuple[Shown, str]] = []

    def started(self, action: Action, *, targeted: int, expected: int) -> None:
        self.begun.set()

    def outcome(
        self, agent: str, name: str, state: Shown, outcome: Outcome | None, *, unfinished: bool = False
    ) -> None:
        self.told.append((state, outcome.code if outcome is not None else ""))


async def test_a_broker_that_is_not_there_is_a_broker_error(tmp_path: Path) -> None:
    with Deployment(tmp_path / "home") as deployment, pytest.raises(BrokerError):
        async with Investigator(deployment.home):
            pass
    with pytest.raises(DeploymentError):
        async with Investigator(tmp_path / "nowhere"):
            pass


def test_nobody_is_asked_for_a_passphrase_unless_that_is_wanted(tmp_path: Path) -> None:
    with Deployment(tmp_path / "home") as deployment:
        deployment.broker()
        protected = deployment.call("keys", "generate", "--use", stdin=b"secret words\n")
        assert protected.returncode == 0, protected.stderr
        program = (
            "import asyncio, sys\n"
            "from investigator import Investigator\n"
            "async def main():\n"
            "    async with Investigator(sys.argv[1]) as console:\n"
            "        async for _ in console.run(target='all', operations=[('file', ['-path', '/etc', '-name', 'x'])]):\n"
            "            pass\n"
            "asyncio.run(main())\n"
        )
        done = subprocess.run(  # a terminal is there, and must not be used
            ["script", "-qec", f"{sys.executable} -c \"$PROGRAM\" '{deployment.home}'", "/dev/null"],
            env={**deployment.environment, "PROGRAM": program},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert b"DeploymentError" in done.stdout
    assert b"nobody may be asked" in done.stdout
    assert b"Passphrase of" not in done.stdout


def test_the_package_alone_imports_nothing_of_the_library() -> None:
    names = "import sys, investigator; print([m for m in sys.modules if m.startswith('investigator.')], 'typing' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{names}"],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"[] False\n"


def test_every_name_of_the_library_is_there() -> None:
    assert all(getattr(investigator, name).__name__ == name for name in investigator.__all__)
    assert sorted(investigator.__all__) == investigator.__all__
    with pytest.raises(AttributeError, match="no attribute 'Nobody'"):
        _ = investigator.Nobody


def test_the_program_in_the_readme_runs_as_it_stands(fleet: Deployment, tmp_path: Path) -> None:
    text = README.read_text()
    (program,) = [block for block in text.split("```python\n")[1:] if "Investigator" in block]
    file = tmp_path / "program.py"
    file.write_text(program.partition("```")[0])
    done = subprocess.run([sys.executable, file], env=fleet.environment, capture_output=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert sorted(line.split()[0] for line in lines[:-1]) == ["db-1", "web-1", "web-2"]
    assert lines[-1] == "{'found': 3}"
