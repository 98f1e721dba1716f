"""Stage 5, the agent's side of one fork server: start it, have it run and end operations, notice that it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import investigator
from investigator.agent import processes
from investigator.agent.channel import MARK, OTHER_VERSION, Kind, Record, receive_record, send_record
from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from investigator.agent.limits import Limits

START_S: Final = 30.0
"""How long a fork server may take to load the modules; a busy host with a cold disk needs seconds."""
GRACE_S: Final = 15.0
"""How long an orderly end may take before it is made a hard one: longer than the fork server's own patience."""
_PAUSE_S: Final = 0.005
_BOOT: Final = (
    "import sys; at = sys.argv.index('--'); sys.path[:] = sys.argv[at + 1:]; "
    "from investigator.agent.forkserver import main; main(sys.argv[2:at])"
)


class Server:
    """One fork server process, from `start` to its end; it is not started again."""

    def __init__(self, *, mark: str, modules: Mapping[str, str], cgroups: Path | None = None) -> None:
        """Not started. `cgroups` is the folder in which it may make groups for operations."""
        self._mark = f"{MARK}={mark}"
        self._cgroups = cgroups
        self._modules = modules
        self._control: socket.socket
        self._process: subprocess.Popen[bytes]
        self._pending: dict[int, asyncio.Future[Record]] = {}
        self._ready: asyncio.Future[Record]
        self._gone: asyncio.Task[None] | None = None
        self._last = 0
        self.alive = False

    @property
    def pid(self) -> int:
        """The fork server's process id."""
        return self._process.pid

    async def start(self) -> None:
        """Execute a fresh interpreter and wait until it has loaded everything.

        Raises:
            DeploymentError: it could not be executed, ended, or did not become ready.
        """
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        self._control, theirs = socket.socketpair()
        self._control.settimeout(0)
        try:
            with theirs:
                self._process = _execute(theirs.fileno(), self._mark, self._modules, self._cgroups)
        except OSError as error:
            self._control.close()
            raise DeploymentError(f"cannot start {sys.executable!r} for the workers: {error.strerror}") from None
        self.alive = True
        loop.add_reader(self._control, self._hear)
        try:
            async with asyncio.timeout(START_S):
                await self._ready
        except (TimeoutError, EOFError) as error:
            await self.kill()
            how = "ended" if isinstance(error, EOFError) else f"was not ready within {START_S:g} s"
            status = self._process.returncode
            if status == OTHER_VERSION:
                raise DeploymentError(
                    "the program's files are of another version than the agent that runs: start the agent again"
                ) from None
            raise DeploymentError(f"the workers' server process {how} at its start (exit status {status})") from None
        except BaseException:
            await self.kill()
            raise

    def run(self, connection: socket.socket, stderr: int, *, deadline_s: float, limits: Limits) -> int:
        """Have an operation started; its number, for `ended` and `end`.

        Raises:
            OSError: the fork server is gone.
        """
        self._last += 1
        record = Record(
            kind=Kind.RUN,
            operation=self._last,
            deadline_s=deadline_s,
            number=limits.processes,
            cpu_percent=limits.cpu_percent,
            memory_bytes=limits.memory_bytes,
            niceness=limits.niceness,
        )
        send_record(self._control, record, (connection.fileno(), stderr))
        self._pending[self._last] = asyncio.get_running_loop().create_future()
        return self._last

    def ended(self, operation: int) -> asyncio.Future[Record]:
        """Done with what ended the operation, when nothing of it is left; EOFError if the fork server went first."""
        return self._pending[operation]

    def forget(self, operation: int) -> None:
        """The operation's end was seen, or is of no interest any more."""
        future = self._pending.pop(operation, None)
        if future is not None and future.done() and not future.cancelled():
            future.exception()  # seen, so that asyncio does not report it

    def end(self, operation: int) -> None:
        """Have the operation killed with all that it started; `ended` says when that is done."""
        with contextlib.suppress(OSError):  # gone, and its workers with it
            send_record(self._control, Record(kind=Kind.KILL, operation=operation))

    async def close(self) -> None:
        """End the fork server and all that it started."""
        if self.alive:
            with contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)
            with contextlib.suppress(TimeoutError):
                await self._exited(GRACE_S)
        await self.kill()

    async def kill(self) -> None:
        """Make sure that the process, and whatever carries its mark, is gone."""
        if self._gone is None:
            self._gone = asyncio.get_running_loop().create_task(self._lose())
        await asyncio.shield(self._gone)

    def _hear(self) -> None:
        """One record from the fork server, or its end."""
        try:
            received = receive_record(self._control)
        except BlockingIOError:
            return
        if received is None:
            if self._gone is None:
                self._gone = asyncio.get_running_loop().create_task(self._lose())
            return
        record = received[0]
        if record.kind is Kind.READY:
            self._ready.set_result(record)
        elif (future := self._pending.get(record.operation)) is not None and not future.done():
            future.set_result(record)

    async def _lose(self) -> None:
        """After its end, or to bring it about: workers die with their parent, the mark finds what they started."""
        self.alive = False
        asyncio.get_running_loop().remove_reader(self._control)
        self._process.kill()
        with contextlib.suppress(TimeoutError):  # the kernel holds it
            await self._exited(GRACE_S)
        await end_marked(self._mark)
        self._control.close()
        error = EOFError("the fork server ended")
        for future in (self._ready, *self._pending.values()):
            if not future.done():
                future.set_exception(error)

    async def _exited(self, patience_s: float) -> None:
        async with asyncio.timeout(patience_s):
            while self._process.poll() is None:  # noqa: ASYNC110 - a process has no event to wait for
                await asyncio.sleep(_PAUSE_S)


async def end_marked(mark: str) -> None:
    """Kill every process whose environment carries the mark, as long as there is one and patience lasts."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            killed: set[processes.Process] = set()
            while found := {*processes.marked(mark), *filter(processes.is_running, killed)}:
                for process in found:
                    processes.end(process)
                killed |= found  # a process gives up its environment a moment before it has ended
                await asyncio.sleep(_PAUSE_S)


def _execute(control: int, mark: str, modules: Mapping[str, str], cgroups: Path | None) -> subprocess.Popen[bytes]:
    """A fresh interpreter that takes nothing from its surroundings: its import path stands on its command line.

    No PYTHON* variable, user folder or `site` decides what is loaded (`-I -S`), so it is the code that this agent runs
    from: a source tree, an installation, an unpacked zipapp. Folders that depend on where the agent was started are
    left out.
    """
    home = str(Path(investigator.__file__).resolve().parent.parent)
    path = [entry for entry in sys.path if Path(entry).is_absolute()]
    if home not in path:
        path.insert(0, home)  # an editable installation may find it by a hook, which `-S` leaves out
    name, _, value = mark.partition("=")
    environment = {key: os.environ[key] for key in ("PATH", "HOME", "TZ", "LANG") if key in os.environ}
    extra = [f"{module}={place}" for module, place in modules.items()]
    return subprocess.Popen(  # noqa: S603 - this very interpreter, with our own code
        [
            sys.executable,
            "-I",
            "-S",
            "-X",
            "utf8",
            "-c",
            _BOOT,
            "investigator-workers",
            str(control),
            str(cgroups or ""),
            investigator.__version__,
            *extra,
            "--",
            *path,
        ],
        pass_fds=(control,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**environment, name: value},
        cwd="/",
        start_new_session=True,
    )
