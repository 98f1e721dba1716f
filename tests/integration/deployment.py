"""A real deployment for tests: broker and agents as processes of the command line, in a folder of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

import orjson

from investigator.config import load_console
from investigator.console.deployment import create_deployment
from investigator.console.keys import load_sealing_key
from investigator.console.link import console_link
from investigator.errors import Refused
from investigator.program import own_command
from investigator.protocol.answer import Assembly, unpack
from investigator.protocol.piece import Piece
from investigator.protocol.subjects import ALL_RESULTS, RESULTS

WITHIN_S = 45.0


class Process:
    """A command that runs in the background; what it prints is read line by line."""

    def __init__(self, words: list[str], environment: dict[str, str], *, program: Sequence[str] = ()) -> None:
        self.lines: list[str] = []
        self._queue: Queue[str | None] = Queue()
        self._child = subprocess.Popen(
            [*(program or own_command()), *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._queue.put(line.decode(errors="replace").rstrip("\n"))
        self._queue.put(None)

    def until(self, text: str, *, within_s: float = WITHIN_S) -> str:
        """Wait for a line that holds the text."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                line = self._queue.get(timeout=max(deadline - time.monotonic(), 0))
            except Empty:
                raise AssertionError(f"no {text!r} within {within_s} s in {self.lines}") from None
            if line is None:
                raise AssertionError(f"it ended without {text!r}: {self.lines}")
            self.lines.append(line)
            if text in line:
                return line

    def all_lines(self) -> list[str]:
        """Everything that it printed, once it has ended."""
        self.end()
        self.lines += iter(self._queue.get, None)
        self._queue.put(None)
        return self.lines

    def signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def wait(self, within_s: float = WITHIN_S) -> int:
        """Until it ends; its exit code."""
        return self._child.wait(within_s)

    def end(self) -> None:
        if self._child.poll() is None:
            self._child.terminate()
            try:
                self._child.wait(15)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._reader.join()
        assert self._child.stdout is not None
        self._child.stdout.close()


@dataclass
class Answer:
    """What `run --output ndjson` said."""

    code: int
    outcomes: dict[str, dict[str, Any]]
    """By the agent's name."""
    summary: dict[str, Any]
    errors: str

    @property
    def states(self) -> dict[str, str]:
        return {name: outcome["state"] for name, outcome in self.outcomes.items()}


@dataclass
class Deployment:
    """Use it as a context manager: everything that it started is ended."""

    home: Path
    running: list[Process] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        return {**kept, "INVESTIGATOR_HOME": str(self.home)}

    def __enter__(self) -> Self:
        create_deployment(self.home, port=0, passphrase=None)
        agent = (
            self.home / "agent.toml"
        )  # with the default, 19, an operation starves while other tests have the processors
        agent.write_text(agent.read_text().replace("module_niceness = 19", "module_niceness = 0"))
        return self

    def __exit__(self, *error: object) -> None:
        for process in reversed(self.running):
            process.end()

    def start(self, *words: str, program: Sequence[str] = ()) -> Process:
        process = Process(list(words), self.environment, program=program)
        self.running.append(process)
        return process

    def broker(self) -> Process:
        process = self.start("broker")
        process.until("broker ready")
        return process

    def agent(self, name: str, *words: str, until: str = "connected") -> Process:
        process = self.start("agent", "--name", name, *words)
        if until:
            process.until(until)
        return process

    def agents(self, *names: str) -> list[Process]:
        """Several at once."""
        started = [self.agent(name, until="") for name in names]
        for process in started:
            process.until("connected")
        return started

    def stranger(self, home: Path) -> Path:
        """The deployment of somebody whose key no agent trusts: with access to the same broker, and the fleet's own rules."""
        create_deployment(home, port=int(load_console(self.home).broker.url.rpartition(":")[2]), passphrase=None)
        for folder in ("broker", "keyring"):
            shutil.copytree(
                self.home / folder,
                home / folder,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("store", "*.sqlite*"),
            )
        shutil.copy2(self.home / "acl.json", home / "acl.json")
        return home

    def call(self, *words: str, stdin: bytes = b"", home: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        """A command in the foreground."""
        environment = {**self.environment, **({"INVESTIGATOR_HOME": str(home)} if home else {})}
        return subprocess.run(
            [*own_command(), *words], env=environment, input=stdin, capture_output=True, timeout=60, check=False
        )

    def ask(self, *words: str, home: Path | None = None) -> Answer:
        """`investigator run` with these words, as a program reads it."""
        done = self.call("run", "--output", "ndjson", *words, home=home)
        return read_answer(done.returncode, done.stdout, done.stderr)


def let_all_in(home: Path) -> None:
    """Enrolment without tokens, for tests in which whoever signed the token loses key or weight."""
    for name, setting in (("broker.toml", "policy"), ("console.toml", "enrolment")):
        path = home / name
        path.write_text(path.read_text().replace(f'{setting} = "token"', f'{setting} = "open"'))


def read_answer(code: int, stdout: bytes, stderr: bytes) -> Answer:
    lines = [orjson.loads(line) for line in stdout.splitlines()]
    outcomes = [line for line in lines if line["type"] == "outcome"]
    summaries = [line for line in lines if line["type"] == "summary"]
    by_name = {outcome["agent"]["name"]: outcome for outcome in outcomes}
    assert len(by_name) == len(outcomes), f"an agent was told twice: {outcomes}"
    assert len(summaries) <= 1
    return Answer(code, by_name, summaries[0] if summaries else {}, stderr.decode())


def pieces_told(deployment: Deployment) -> dict[str, list[Piece]]:
    """The pieces that the stream has, by the action's id."""
    return asyncio.run(_pieces_told(deployment))


async def _pieces_told(deployment: Deployment) -> dict[str, list[Piece]]:
    key = load_sealing_key(deployment.home / "secrets" / "sealing.pem", lambda: "")
    told: dict[str, list[Piece]] = {}
    async with console_link(load_console(deployment.home)) as broker:
        async for stored in broker.read_stream(RESULTS, ALL_RESULTS):
            _, _, action, agent = stored.subject.split(".")
            try:
                head, part = unpack(stored.data, action=action, agent=agent, private_key=key)
            except Refused:
                continue
            piece = Assembly().add(head, part) if head.parts == 1 else None
            if isinstance(piece, Piece):
                told.setdefault(action, []).append(piece)
    return told


def is_running(pid: int) -> bool:
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
