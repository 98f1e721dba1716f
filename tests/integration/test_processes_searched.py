"""process and memory in real workers: they find what runs here, not who asks, and stay small and harmless."""

import asyncio
import os
import sys
import time

import pytest

from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from victims import python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
NEEDLE = "Zr4-what-only-the-victim-holds"
PLANT = "needle = sys.argv[1][::-1].encode()\nheld = bytearray(64 << 20)\nheld[33 << 20:(33 << 20) + len(needle)] = needle\nprint('x')"


def run(*operations):
    """All operations at once, each in a worker of its own, within 100 MB; their results, and the fork server's pid."""

    async def story():
        async with Runner(Limits(memory_bytes=100_000_000)) as runner:
            deadline_s = time.monotonic() + 60
            ran = await asyncio.gather(*(runner.run(name, asked, deadline_s=deadline_s) for name, asked in operations))
            server = runner.server_pid
        assert [each.state for each in ran] == ["done"] * len(ran), ran
        return [each.result.read() for each in ran], server

    return asyncio.run(story())


def pids(result):
    return {element["process"]["pid"] for element in result.elements["s1"]}


def search(**asked):
    return {"searches": {"s1": {**asked, "options": {"matchall": True}}}}


def test_memory_finds_the_victim_and_neither_itself_nor_the_other_workers_nor_the_agent():
    with python(PLANT, NEEDLE[::-1]) as victim:
        asked = search(contents=[r"Zr4-what-[a-z]+-the-victim"])
        again = search(bytes=[NEEDLE.encode().hex()])
        results, server = run(("memory", asked), ("memory", again), ("memory", search(contents=[NEEDLE])))
        for result in results:
            assert victim.pid in pids(result)
            assert not {os.getpid(), os.getppid(), server} & pids(result)
            assert result.foundanything
        assert victim.process.poll() is None


def test_process_finds_the_victim_by_what_it_was_started_with():
    with python("print('x')", name=[NEEDLE]) as victim:
        (result,), server = run(("process", search(cmdlines=["Zr4-what"], users=[str(os.geteuid())])))
        assert pids(result) == {victim.pid}
        assert server not in pids(result)
