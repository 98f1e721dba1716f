"""Real agents: `investigator agent` processes, each forked from one warm parent that has everything loaded.

Each is the whole of `agent.main.serve`: a state folder with its own key, ledger, outbox and audit, its own JWT, its own
fork server with a worker per operation. Two things are not as on a thousand hosts, so that they fit on one: an agent's fork
server is forked from the agent instead of executed (its memory is shared then), and nobody looks for what an earlier life
of the agent left behind (each would read all the others' environments).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from fleet_deployment import enlist, raise_open_files
from fleet_simulated import loop_factory
from fleet_stages import watch
from investigator.agent import forkserver, main, runner, server
from investigator.agent.limits import die_with
from investigator.agent.machine import this_machine
from investigator.agent.state import AgentState
from investigator.modules import MODULES, get_module
from investigator.modules.interface import shape_of
from investigator.modules.patterns.hyper import library
from investigator.protocol.token import SecretToken, decode_token

STARTING_AT_ONCE = 12
READY_WITHIN_S = 600.0


@contextlib.contextmanager
def real_fleet(
    home: Path, token: SecretToken, agents: int, *, states: Path, stages: Path | None, loop: str
) -> Iterator[list[int]]:
    """So many agents; the process ids of all of them and of their fork servers, once all are registered."""
    words = [str(home), token.encode(), str(agents), str(states), str(stages or ""), loop]
    parent = subprocess.Popen([sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert parent.stdout is not None
        line = parent.stdout.readline().split()
        if not line:
            sys.exit("the real agents did not start")
        yield [int(word) for word in line]
    finally:
        assert parent.stdin is not None
        parent.stdin.close()
        parent.wait(60)


def warm_parent(home: Path, token: SecretToken, agents: int, states: Path, stages: Path | None, loop: str) -> None:
    """Load everything once, fork the agents, say their process ids, and end them when standard input closes."""
    raise_open_files()
    logging.getLogger("investigator.agent.main").setLevel(logging.ERROR)  # a thousand times that the link is plain text
    for name in MODULES:
        with contextlib.suppress(Exception):
            shape_of(get_module(name).spec.parameters)
    library()
    server._execute = fork_workers
    server.end_marked = runner.end_marked = nothing_left  # type: ignore[attr-defined]
    if stages is not None:
        watch(stages)
    loop_factory(loop)
    machine, heard = this_machine(), os.pipe()
    gc.collect()
    gc.freeze()
    children: list[int] = []
    try:
        said = 0
        with os.fdopen(heard[0], "rb") as ready:
            for number in range(agents):
                children.append(fork_agent(home, token, states, number, machine, heard[1], loop))
                while len(children) - said >= STARTING_AT_ONCE:
                    said += b" connected to " in ready.readline()
            while said < agents:
                said += b" connected to " in ready.readline()
            print(*children, *below(children), flush=True)
            sys.stdin.read()
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


def fork_agent(
    home: Path, token: SecretToken, states: Path, number: int, machine: str, says: int, loop: str
) -> int:
    """One agent, as `investigator agent --name … --state …` starts it; its process id."""
    parent, name = os.getpid(), f"real-{number:05}"
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with(parent)
        os.dup2(says, 1)
        sys.stdout = os.fdopen(1, "w")
        folder = states / name
        with AgentState(folder, machine=machine) as opened:
            enlist(opened, home, token, name=name)
        with asyncio.Runner(loop_factory=loop_factory(loop)) as running:
            running.run(main.serve(home, name=name, tags={}, state=folder, verbose=False))
    except BaseException as error:  # noqa: BLE001 - nothing may get back into the warm parent
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(0)


class Forked:
    """The part of `subprocess.Popen` that an agent uses of its fork server."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit status, once it has ended."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def kill(self) -> None:
        """End it."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def fork_workers(control: int, mark: str, modules: Mapping[str, str]) -> Any:  # noqa: ARG001 - in place of `_execute`
    """The agent's fork server, forked from the agent."""
    pid = os.fork()
    if pid == 0:
        be_fork_server(control)
    return Forked(pid)


def be_fork_server(control: int) -> NoReturn:
    """With nothing of the agent but its memory: no descriptor of the loop, the database or the broker."""
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1):
            os.dup2(nothing, standard)
        moved = os.dup2(control, 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 4096 else 4096)
        os.chdir("/")
        forkserver.main([str(moved)])
    finally:
        os._exit(1)


async def nothing_left(mark: str) -> None:
    """In place of `end_marked`: these agents have no earlier life."""


def below(pids: list[int]) -> list[int]:
    """The fork servers."""
    found = []
    for pid in pids:
        children = Path(f"/proc/{pid}/task/{pid}/children")
        found += [int(word) for word in children.read_text().split()]
    return found


if __name__ == "__main__":
    folder, secret, count, places, stamps, event_loop = sys.argv[1:]
    warm_parent(Path(folder), decode_token(secret), int(count), Path(places), Path(stamps) if stamps else None, event_loop)
