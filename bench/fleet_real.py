"""Real agents: `investigator agent` processes, each forked from one warm parent that has everything loaded.

Each is the whole of `agent.main.serve`: a state folder with its own key, ledger, outbox and audit, its own JWT, its own
fork server with a worker per operation. Two things are not as on a thousand hosts, so that they fit on one: fork servers are
forked from a second warm process, which has loaded what they load, instead of executed; and nobody looks for what an earlier
life of the agent left behind (each would read all the others' environments).
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from fleet_deployment import enlist, raise_open_files
from fleet_simulated import loop_factory
from fleet_stages import watch
from investigator import __version__
from investigator.agent import forkserver, main, runner, server
from investigator.agent.facts import gather_row
from investigator.agent.limits import die_with
from investigator.agent.machine import this_machine
from investigator.agent.rehearsal import rehearse
from investigator.agent.state import AgentState
from investigator.agent.trust import load_trust
from investigator.config import load_agent
from investigator.modules import MODULES, get_module
from investigator.modules.interface import shape_of
from investigator.modules.patterns.hyper import library
from investigator.protocol.token import SecretToken, decode_token

STARTING_AT_ONCE = 12
WORKSHOP = "workshop"
BEHIND = 5
"""Niceness of agents: broker and console have machines of their own, and are not to wait behind a thousand hosts."""


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
    os.nice(BEHIND)
    makes = Workshop()
    setattr(server, "_execute", makes.execute)  # noqa: B010 - what mypy need not follow
    for place in (server, runner):
        setattr(place, "end_marked", nothing_left)  # noqa: B010 - likewise
    if stages is not None:
        watch(stages)
    loop_factory(loop)
    machine, heard = this_machine(), os.pipe()
    with tempfile.TemporaryDirectory() as folder, AgentState(Path(folder), machine=machine) as opened:
        enlist(opened, home, token, name="nobody")
        load_trust(load_agent(home))
        gather_row(agent="", name="", tags={}, started="")
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
            print(*children, *children_of(makes.process.pid), flush=True)
            sys.stdin.read()
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
        makes.process.kill()  # its fork servers ended with their agents
        makes.process.wait()


def fork_agent(home: Path, token: SecretToken, states: Path, number: int, machine: str, says: int, loop: str) -> int:
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
        self._handle = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """Its exit status, once it has ended."""
        if self.returncode is None and select.select([self._handle], [], [], 0)[0]:
            self.returncode = 0
        return self.returncode

    def kill(self) -> None:
        """End it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)


class Workshop:
    """The other warm process: it has loaded what an agent's fork server loads, and forks one for each agent that asks."""

    def __init__(self) -> None:
        self._asking, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        words = [sys.executable, __file__, WORKSHOP, str(theirs.fileno())]
        with theirs:
            self.process = subprocess.Popen(words, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)

    def execute(self, control: int, *_: object) -> Any:
        """In place of `agent.server._execute`."""
        told, tells = os.pipe()
        socket.send_fds(self._asking, [b"+"], [control, tells])
        os.close(tells)
        with os.fdopen(told, "rb") as answer:
            return Forked(int(answer.read()))


def workshop(asked: int) -> None:
    """Fork servers on request, until the warm parent and all agents are gone."""
    for name in MODULES:
        with contextlib.suppress(Exception):
            shape_of(get_module(name).spec.parameters)
    library()
    rehearse()
    forkserver.shape_of = forkserver.library = forkserver.rehearse = lambda *_: None  # type: ignore[attr-defined,assignment]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    asking = socket.socket(fileno=asked)
    while True:
        _, descriptors, _, _ = socket.recv_fds(asking, 1, 2)
        if len(descriptors) < 2:
            return
        control, tells = descriptors
        pid = os.fork()
        if pid == 0:
            be_fork_server(control)
        os.write(tells, b"%d" % pid)
        os.close(control)
        os.close(tells)


def be_fork_server(control: int) -> NoReturn:
    """As `agent.server` starts one, but for the interpreter and the modules, which are there."""
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.chdir("/")
        moved = os.dup2(control, 3)
        os.closerange(4, 64)
        forkserver.main([str(moved), "", __version__])
    finally:
        os._exit(1)


def children_of(pid: int) -> list[int]:
    """The fork servers."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def nothing_left(mark: str) -> None:
    """In place of `end_marked`: these agents have no earlier life."""


if __name__ == "__main__":
    if sys.argv[1] == WORKSHOP:
        workshop(int(sys.argv[2]))
    else:
        folder, secret, count, places, stamps, event_loop = sys.argv[1:]
        marks = Path(stamps) if stamps else None
        warm_parent(Path(folder), decode_token(secret), int(count), Path(places), marks, event_loop)
