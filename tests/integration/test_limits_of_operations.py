"""What an operation may use, with real workers: each limit is met, named with its number, and can be lowered only."""

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from investigator.agent import processes
from investigator.agent.cgroups import Cgroups, NoCgroups, take_given
from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from investigator.protocol.action import AskedLimits

OWN = Limits(memory_bytes=256 << 20, output_bytes=100_000, niceness=0)
TREE = Path("/sys/fs/cgroup")


async def ask(how, *, own=OWN, asked=None, seconds=60.0, cgroups=None, **parameters):
    async with Runner(own, modules={"misbehaving": "misbehaving"}, cgroups=cgroups) as runner:
        deadline_s = time.monotonic() + seconds
        return await runner.run("misbehaving", {"how": how, **parameters}, deadline_s=deadline_s, limits=asked)


def outcome(how, **more):
    return asyncio.run(ask(how, **more))


def state_of(pid):
    """The letter that the kernel has for it; T is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@pytest.mark.parametrize("cpu_percent", [10, 25])
def test_what_used_its_share_of_a_processor_waits_and_ends_well(cpu_percent):
    ran = outcome("spin", asked=AskedLimits(cpu_percent=cpu_percent), count=2000)
    assert ran.state == "done", ran
    # its share of two seconds, what is free at the start, and a tenth for what the clock of the kernel rounds
    assert ran.result.read().elements["used_s"] < 2.0 * cpu_percent / 100 + 0.1 + 0.2


def test_its_children_are_counted_and_stand_still_with_it_whatever_session_they_are_in(tmp_path):
    async def story():
        async with Runner(OWN, modules={"misbehaving": "misbehaving"}) as runner:
            task = asyncio.create_task(
                runner.run(
                    "misbehaving",
                    {"how": "spin", "count": 3000, "path": str(tmp_path / "child")},
                    deadline_s=time.monotonic() + 60,
                    limits=AskedLimits(cpu_percent=10),
                )
            )
            most = 0
            while not task.done():
                family = processes.tree(runner.server_pid or 0)[1:]
                most = max(most, sum(state_of(one.pid) == "T" for one in family))
                await asyncio.sleep(0.005)
            return most, task.result()

    most, ran = asyncio.run(story())
    assert most == 2  # the worker and its child
    assert ran.state == "done", ran
    assert ran.result.read().elements["used_s"] < 3.0 * 0.1 + 0.1 + 0.4


def test_one_that_stands_still_is_killed_at_its_deadline_and_the_processor_time_is_told():
    ran = outcome("spin", asked=AskedLimits(cpu_percent=1, wall_clock_s=1.5), count=60_000)
    assert (ran.state, ran.code) == ("timeout", "deadline")
    assert "the limit is 1.5 s" in ran.result.errors[0]
    assert "s of a processor, at most 1 % of one" in ran.result.errors[0]


def test_the_action_lowers_the_memory_and_the_lower_number_is_told():
    ran = outcome("allocate", count=512, asked=AskedLimits(memory_bytes=128 << 20))
    assert (ran.state, ran.code) == ("failed", "memory")
    assert f"{128 << 20:,}" in ran.result.errors[0]


def test_the_action_lowers_the_size_of_the_result():
    ran = outcome("return_too_much", asked=AskedLimits(output_bytes=2000), count=5000)
    assert (ran.state, ran.code) == ("failed", "output")
    assert "the limit is 2,000" in ran.result.errors[0]


def test_too_many_open_files_are_a_failure_that_names_the_limit():
    ran = outcome("open_too_many", asked=AskedLimits(open_files=64), count=100)
    assert (ran.state, ran.code) == ("failed", "open-files")
    assert ran.result.errors == ["too many open files: the limit is 64"]


def test_too_large_a_file_is_a_failure_that_names_the_limit(tmp_path):
    ran = outcome("write_too_much", path=str(tmp_path / "large"), count=2 << 20)
    assert (ran.state, ran.code) == ("failed", "file-size")
    assert "1,048,576" in ran.result.errors[0]


def test_what_asks_for_more_than_the_host_gives_has_what_the_host_gives():
    everything = AskedLimits(
        cpu_percent=100_000, memory_bytes=1 << 50, wall_clock_s=30 * 86_400, output_bytes=1 << 50, open_files=1 << 30
    )
    ran = outcome("surroundings", asked=everything)
    found = ran.result.read().elements
    assert (found["memory"], found["files"]) == (OWN.memory_bytes, OWN.open_files)
    assert outcome("return_too_much", asked=everything, count=200_000).code == "output"
    assert outcome("hang", own=Limits(wall_clock_s=0.4), asked=everything).code == "deadline"


@contextlib.contextmanager
def group_of_ours(*, needs=()):
    """A group of cgroup v2 made for this test; skips where there is none, or one lacks these controllers."""
    roots = [root for root in (TREE, TREE / "unified") if (root / "cgroup.controllers").exists()]
    if not roots:
        pytest.skip("this machine has no cgroup v2")
    lacking = set(needs) - set((roots[0] / "cgroup.controllers").read_text().split())
    if lacking:
        pytest.skip(f"this machine's cgroup v2 has no controller of {', '.join(sorted(lacking))}")
    folder = roots[0] / f"investigator-test-{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no group can be made in {roots[0]}: {error.strerror}")
    try:
        yield take_given(folder)
    except NoCgroups as error:
        pytest.skip(str(error))
    finally:
        Cgroups(folder).sweep()
        folder.rmdir()


def test_an_operation_is_in_a_cgroup_of_its_own_which_goes_with_it(tmp_path):
    with group_of_ours() as cgroups:

        async def story():
            async with Runner(OWN, modules={"misbehaving": "misbehaving"}, cgroups=cgroups) as runner:
                parameters = {"how": "spin", "count": 60_000, "path": str(tmp_path / "child")}
                task = asyncio.create_task(runner.run("misbehaving", parameters, deadline_s=time.monotonic() + 60))
                async with asyncio.timeout(30):
                    while len(members := [*members_of(cgroups)]) < 2:  # noqa: ASYNC110 - the worker and its child; a group has no event
                        await asyncio.sleep(0.01)
                family = {one.pid for one in processes.tree(runner.server_pid or 0)[1:]}
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                return members, family, [*cgroups.folder.glob("operation-*")]

        members, family, left = asyncio.run(story())
        assert set(members) == family
        assert left == []


def members_of(cgroups):
    for group in cgroups.folder.glob("operation-*"):
        yield from map(int, (group / "cgroup.procs").read_text().split())


def test_a_cgroup_holds_an_operation_to_its_share():
    with group_of_ours(needs=["cpu"]) as cgroups:
        ran = outcome("spin", asked=AskedLimits(cpu_percent=10), count=2000, cgroups=cgroups)
        assert ran.state == "done", ran
        assert ran.result.read().elements["used_s"] < 2.0 * 0.1 + 0.3


def test_a_cgroup_counts_the_memory_that_processes_share():
    with group_of_ours(needs=["memory"]) as cgroups:
        ran = outcome("share_memory", asked=AskedLimits(memory_bytes=64 << 20), count=256 << 20, cgroups=cgroups)
        assert (ran.state, ran.code) == ("failed", "memory")
        assert f"the limit is {64 << 20:,}" in ran.result.errors[0]
