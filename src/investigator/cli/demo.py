"""`investigator demo`: a broker, three agents and four investigations, for real, in a scratch folder."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Final

import typer

from investigator.errors import BrokerError
from investigator.program import own_command

AGENTS: Final = (
    ("web-1", {"role": "web", "site": "berlin"}),
    ("web-2", {"role": "web", "site": "tokyo"}),
    ("db-1", {"role": "db", "site": "tokyo"}),
)
START_WITHIN_S: Final = 30.0
STOP_WITHIN_S: Final = 10.0


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the deployment running, and say how to go on.")] = False,
) -> None:
    """Set up a broker and three agents in a scratch folder, and run four investigations."""
    signal.signal(signal.SIGTERM, _interrupt)
    started = time.monotonic()
    with ExitStack() as cleanup:
        scratch = Path(tempfile.mkdtemp(prefix="investigator-demo-"))
        cleanup.callback(shutil.rmtree, scratch, ignore_errors=True)
        fleet = Fleet(scratch)
        cleanup.callback(fleet.stop)
        fleet.start()
        _investigate(fleet)
        _tell_times(fleet, total_s=time.monotonic() - started)
        if keep:
            cleanup.pop_all()
            _tell_how_to_go_on(fleet)


def _interrupt(number: int, frame: object) -> None:  # noqa: ARG001 - a signal handler's signature
    raise KeyboardInterrupt


@dataclass(slots=True)
class Fleet:
    """The demo's deployment and its processes, each a real one."""

    scratch: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    times_s: list[tuple[str, float]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """The deployment."""
        return self.scratch / "home"

    @property
    def stranger(self) -> Path:
        """The deployment of somebody whose key no agent trusts, with access to the same broker."""
        return self.scratch / "stranger"

    def start(self) -> None:
        """Deployment, broker, and three agents that are registered."""
        from investigator.console.deployment import create_deployment

        with self._timed("deployment, broker and three agents started"):
            made = create_deployment(self.home, port=0, passphrase=None)
            port = int(made.url.rpartition(":")[2])
            create_deployment(self.stranger, port=port, passphrase=None)
            for folder in ("broker", "keyring"):  # they know the fleet, and nobody there knows them
                shutil.copytree(self.home / folder, self.stranger / folder, dirs_exist_ok=True)
            shutil.copy2(self.home / "acl.json", self.stranger / "acl.json")
            print(f"$ export INVESTIGATOR_HOME={shlex.quote(str(self.home))}")
            print("$ investigator init --port 0")
            self._launch("broker", ["broker"], until="broker ready")
            launched = [self._spawn(name, self._agent_words(name, tags)) for name, tags in AGENTS]
            for name, process, log in launched:
                self._wait_for(name, process, log, until="connected")

    def run(self, about: str, words: Sequence[str], *, home: Path | None = None) -> None:
        """An investigation as its user would type it, and what it prints."""
        prefix = f"INVESTIGATOR_HOME={shlex.quote(str(home))} " if home is not None else ""
        print(f"\n# {about}\n$ {prefix}{_as_typed(['investigator', *words])}", flush=True)
        with self._timed(about):
            subprocess.run(  # noqa: S603 - this very program
                [*own_command(), *words],
                env=self._environment(home or self.home),
                stderr=subprocess.STDOUT,  # one stream, so that what is said comes in the order in which it is said
                check=False,
            )

    def stop(self) -> None:
        """End what was started here, the broker last."""
        for process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def _agent_words(self, name: str, tags: dict[str, str]) -> list[str]:
        return ["agent", "--name", name, *(word for pair in tags.items() for word in ("--tag", "=".join(pair)))]

    def _launch(self, name: str, words: list[str], *, until: str) -> None:
        name, process, log = self._spawn(name, words)
        self._wait_for(name, process, log, until=until)

    def _spawn(self, name: str, words: list[str]) -> tuple[str, subprocess.Popen[bytes], Path]:
        log = self.scratch / f"{name}.log"
        print(f"$ {_as_typed(['investigator', *words])} &", flush=True)
        with log.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 - this very program
                [*own_command(), *words],
                env=self._environment(self.home),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self.processes.append(process)
        return name, process, log

    def _wait_for(self, name: str, process: subprocess.Popen[bytes], log: Path, *, until: str) -> None:
        """Until the process prints that line; it writes into a file, so that it can outlive us with `--keep`."""
        deadline = time.monotonic() + START_WITHIN_S
        with log.open("rb") as file:
            for line in _lines(file, process, deadline):
                if until in line:
                    print(line.rstrip(), flush=True)
                    return
        raise BrokerError(f"{name} did not start: {log.read_text(errors='replace').strip() or 'it said nothing'}")

    def _environment(self, home: Path) -> dict[str, str]:
        return {**os.environ, "INVESTIGATOR_HOME": str(home)}

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.times_s.append((what, time.monotonic() - started))


def _lines(file: IO[bytes], process: subprocess.Popen[bytes], deadline_s: float) -> Iterator[str]:
    """Whole lines as they are written, until the process or the time ends."""
    kept = b""
    while True:
        ended = process.poll() is not None
        chunk = file.read()
        *whole, kept = (kept + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)
        if not chunk:
            if ended or time.monotonic() > deadline_s:
                return
            time.sleep(0.005)


def _investigate(fleet: Fleet) -> None:
    evidence = fleet.scratch / "evidence"
    evidence.mkdir()
    (evidence / "dropper.bin").write_bytes(b"\x7fELF the file that the report is about\n")
    (evidence / "settings.ini").write_text("[update]\nserver = updates.example.net\n")
    digest = hashlib.sha256((evidence / "dropper.bin").read_bytes()).hexdigest()

    fleet.run("a file's name, on every host", ["run", "file", "--path", "/etc", "--name", "^passwd$"])
    fleet.run(
        "names and contents, not on the database",
        [
            *("run", "--target", "tags->>'role' <> 'db'"),
            *("file", "--path", str(evidence), "--name", r"\.ini$", "--content", r"^server = .*\.example\.net$"),
        ],
    )
    fleet.run(
        "a hash, on Linux hosts",
        ["run", "--target", "os='linux'", "file", "--path", str(evidence), "--sha2", digest],
    )
    fleet.run(
        "the same question from somebody whom the agents do not trust",
        ["run", "file", "--path", "/etc", "--name", "^shadow$"],
        home=fleet.stranger,
    )


def _tell_times(fleet: Fleet, *, total_s: float) -> None:
    print("\n# how long it took")
    for what, took_s in [*fleet.times_s, ("in all", total_s)]:
        print(f"{took_s:6.2f} s  {what}")


def _tell_how_to_go_on(fleet: Fleet) -> None:
    pids = " ".join(str(process.pid) for process in fleet.processes)
    print(f"\n# it keeps running; go on with\nexport INVESTIGATOR_HOME={shlex.quote(str(fleet.home))}")
    print("investigator agents\ninvestigator run --target \"tags->>'site'='tokyo'\" file --path /tmp --name demo")
    print(f"# and end it with\nkill {pids}; rm -r {shlex.quote(str(fleet.scratch))}", flush=True)


def _as_typed(words: Sequence[str]) -> str:
    """A command line as a person would quote it: double quotes around what holds single ones."""
    return " ".join(
        f'"{word}"' if "'" in word and not set(word) & set('"$`\\!') else shlex.quote(word) for word in words
    )
