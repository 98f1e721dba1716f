"""Stage 5, in the agent: have each operation run by a worker process, and have an answer whatever becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import socket
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from investigator.agent.channel import CATALOGUE, FRAME_HEAD, MARK, MORE, REQUEST_BYTES, Record, Request
from investigator.agent.limits import STDERR_BYTES, Limits, stderr_file
from investigator.agent.server import GRACE_S, Server, end_marked
from investigator.agent.survey import Survey
from investigator.agent.verdict import Heard, Ran, failed, is_piece, judge, largest_answer, timed_out
from investigator.errors import DeploymentError
from investigator.logs import about
from investigator.modules import MODULES
from investigator.protocol.result import MAX_PIECES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from types import TracebackType

    from investigator.agent.cgroups import Cgroups
    from investigator.protocol.action import AskedLimits

__all__ = ["Ran", "Runner"]

_log = logging.getLogger(__name__)
_ATTEMPTS: Final = 3
_LONGEST_WAIT_S: Final = 30 * 86_400.0
_CONFIRM_S: Final = GRACE_S
"""How long after its deadline an operation's end may take to be confirmed, before the fork server counts as hung."""
_SURVEY_S: Final = 30.0
_FAREWELL_S: Final = 1.0
"""How long a worker that has answered may take to end, and what is left in a dead one's socket to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A worker that stays: its socket, and what ends it."""

    connection: socket.socket
    ended: asyncio.Future[Record]
    limits: Limits
    last_words: Callable[[], str]

    def how(self) -> Ran:
        """How it ended, once `ended` is done."""
        end = None if self.ended.exception() is not None else self.ended.result()
        return judge(end, Heard(), limits=self.limits, took_s=0.0, last_words=self.last_words)


class Runner:
    """Runs operations, at most `concurrency` at a time (by default twice the processors, four at least).

    `mark` is a name that this agent has again when it is started again, and no other agent has: what an earlier life
    left behind carries it, and is ended by `start`. `modules` adds to the catalogue (name to import path), for tests,
    which need modules that misbehave. With `private`, extra privacy mode, results leave their workers masked. `cgroups` is
    where each operation gets a cgroup; without it signals hold it to its share of a processor. The fork server goes when it
    had nothing to run for `warm_s`: it is a third of an idle agent's memory, and ready again in 0.15 s (docs/adr/0005).
    """

    def __init__(
        self,
        limits: Limits,
        *,
        concurrency: int | None = None,
        mark: str | None = None,
        modules: Mapping[str, str] | None = None,
        private: bool = False,
        cgroups: Cgroups | None = None,
        warm_s: float = 300.0,
    ) -> None:
        self.limits = limits
        self._warm_s = warm_s
        self._cgroups = cgroups
        self._private = private
        self.slots = concurrency or max(4, 2 * (os.cpu_count() or 1))
        """How many operations run at a time."""
        self.busy = 0
        """How many of them do now."""
        self.waiting = 0
        """How many more wait for their turn."""
        self._slots = asyncio.Semaphore(self.slots)
        self._mark = mark
        self._modules = dict(modules or {})
        self._server: Server | None = None
        self._starting = asyncio.Lock()
        """Held while a fork server starts or ends: the end of one would take another's processes for what it left behind."""
        self._uses = 0
        self._used_s = 0.0
        self._resting: asyncio.TimerHandle | None = None
        self._retiring: asyncio.Task[None] | None = None
        self._open = False

    @property
    def server_pid(self) -> int | None:
        """The fork server's process id, while there is one."""
        return self._server.pid if self._server is not None and self._server.alive else None

    @property
    def held_by(self) -> str:
        """What holds operations to their limits here: for the facts, and for who reads the log."""
        controllers = sorted(self._cgroups.controllers) if self._cgroups is not None else []
        by_cgroup = f"cgroup v2 ({', '.join(controllers) or 'no controller'})" if self._cgroups is not None else ""
        return " and ".join(filter(None, (by_cgroup, "" if "cpu" in controllers else "signals")))

    @property
    def mark(self) -> str:
        """The assignment that the environment of the fork server, and of all that comes of it, carries."""
        return f"{MARK}={self._mark}"

    async def start(self) -> None:
        """End what an earlier life left, and start the fork server.

        Raises:
            DeploymentError: it does not start.
        """
        if self._mark is None:
            self._mark = secrets.token_hex(16)
        elif self._server is None:
            await end_marked(self.mark)
        self._open = True
        with self._in_use():
            await self._ready_server()

    async def close(self) -> None:
        """End the fork server, and every operation that still runs."""
        async with self._starting:
            self._open = False
            if self._resting is not None:
                self._resting.cancel()
            server, self._server = self._server, None
            if server is not None:
                await server.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run(
        self,
        module: str,
        parameters: Any,
        *,
        deadline_s: float,
        folder: str = "/",
        local: bool = False,
        take: Callable[[bytes], None] | None = None,
        limits: AskedLimits | None = None,
    ) -> Ran:
        """Run one operation; nothing of it is left when this returns, or when its cancellation is through.

        `deadline_s` is on `time.monotonic()`'s scale, and also runs while the operation waits for a free worker.
        `folder` and `local` are what `modules.interface` says. `start` comes first. With `take` the findings may come in
        pieces while it runs, each as JSON, and are not in the result then; what `take` raises ends it, and is raised.
        What `limits` asks for can only be less than the runner's own.
        """
        if module not in MODULES and module not in self._modules:
            return failed("unknown-module", f"module '{module}' is not available")
        waiting_since_s = time.monotonic()
        self.waiting += 1
        try:
            async with asyncio.timeout(min(deadline_s - waiting_since_s, _LONGEST_WAIT_S)):
                await self._slots.acquire()
        except TimeoutError:
            return timed_out(
                f"not started: its deadline came after {time.monotonic() - waiting_since_s:.3g} s of waiting"
            )
        finally:
            self.waiting -= 1
        self.busy += 1
        try:
            held_to = self.limits.lowered(limits)
            return await self._run_now(module, parameters, deadline_s, folder, local=local, take=take, limits=held_to)
        except DeploymentError as error:
            return failed("crashed", str(error))
        finally:
            self.busy -= 1
            self._slots.release()

    async def survey(self) -> Survey:
        """Which modules can run here: a worker is asked, which has them loaded, and all rights that they would have.

        Raises:
            DeploymentError: no worker answers.
        """
        until_s = time.monotonic() + _SURVEY_S
        ran = await self._run_now(CATALOGUE, {}, until_s, "/", local=False, limits=self.limits)
        if ran.state != "done":
            raise DeploymentError(f"which modules can run here is not known: {ran.code}: {ran.result.errors}")
        return replace(Survey.of(ran.result), held_by=self.held_by)

    @contextlib.asynccontextmanager
    async def hold(self, module: str, settings: Any, *, folder: str, limits: Limits) -> AsyncIterator[Held]:
        """A worker that runs a persistent module, until it ends by itself or this is left; then nothing is left of it.

        Raises:
            DeploymentError: it cannot be started.
        """
        request = Request(
            module=module,
            parameters=settings,
            deadline_s=0.0,
            folder="/",
            local=False,
            limits=limits,
            private=self._private,
            keeps=folder,
        )
        with self._sockets() as (ours, theirs, stderr):
            server, operation = await self._begin(theirs, stderr, float("inf"), limits)
            ended = server.ended(operation)
            try:
                with contextlib.suppress(OSError):  # it ended at once: its end is told
                    await asyncio.get_running_loop().sock_sendall(ours, _frame(request))
                yield Held(
                    connection=ours,
                    ended=ended,
                    limits=limits,
                    last_words=functools.partial(self._last_words, stderr),
                )
            finally:
                if not ended.done():
                    server.end(operation)
                    await _outlast(ended, _CONFIRM_S)
                    if not ended.done():
                        await server.kill()
                server.forget(operation)

    async def _run_now(
        self,
        module: str,
        parameters: Any,
        deadline_s: float,
        folder: str,
        *,
        local: bool,
        limits: Limits,
        take: Callable[[bytes], None] | None = None,
    ) -> Ran:
        started_s = time.monotonic()
        until_s = min(deadline_s, started_s + limits.wall_clock_s)
        request = Request(
            module=module,
            parameters=parameters,
            deadline_s=until_s,
            folder=folder,
            local=local,
            limits=limits,
            private=self._private,
            in_pieces=take is not None,
        )
        try:
            frame = _frame(request)
        except (TypeError, ValueError, RecursionError) as error:
            return failed("bad-parameters", f"module {module}: parameters: {error}")
        with self._sockets(keeps=module != CATALOGUE) as (ours, theirs, stderr):
            server, operation = await self._begin(theirs, stderr, until_s, limits)
            largest = largest_answer(limits)
            end, heard = await self._converse(server, operation, ours, frame, until_s, largest=largest, take=take)
            took_s = time.monotonic() - started_s
            last_words = functools.partial(self._last_words, stderr)
            return judge(end, heard, limits=limits, took_s=took_s, last_words=last_words)

    @contextlib.contextmanager
    def _sockets(self, *, keeps: bool = True) -> Iterator[tuple[socket.socket, socket.socket, int]]:
        """Ours and the worker's, and its standard error; while they are there the fork server is in use."""
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        stderr = stderr_file()
        try:
            with self._in_use(keeps=keeps):
                yield ours, theirs, stderr
        finally:
            ours.close()
            theirs.close()
            os.close(stderr)

    @contextlib.contextmanager
    def _in_use(self, *, keeps: bool = True) -> Iterator[None]:
        """The fork server stays meanwhile, and goes when for `warm_s` nobody has used it that `keeps` it."""
        self._uses += 1
        if self._resting is not None:
            self._resting.cancel()
        try:
            yield
        finally:
            self._uses -= 1
            now_s = time.monotonic()
            if keeps:
                self._used_s = now_s
            if not self._uses and self._open:
                pause_s = max(0.0, self._used_s + self._warm_s - now_s)
                self._resting = asyncio.get_running_loop().call_later(pause_s, self._rest)

    def _rest(self) -> None:
        self._retiring = asyncio.get_running_loop().create_task(self._retire(), name="fork server's end")

    async def _retire(self) -> None:
        async with self._starting:
            if not self._uses and self._server is not None:
                server, self._server = self._server, None
                await server.close()

    def _last_words(self, stderr: int) -> str:
        """What the worker wrote to its standard error, unless it is to be masked."""
        return "" if self._private else _read_back(stderr)

    async def _begin(
        self, connection: socket.socket, stderr: int, until_s: float, limits: Limits
    ) -> tuple[Server, int]:
        """Hand the operation, with the worker's end of the connection, to a fork server: a new one, if there is none."""
        with connection:
            for _ in range(_ATTEMPTS):
                server = await self._ready_server()
                try:
                    number = server.run(connection, stderr, deadline_s=until_s, limits=limits)
                except OSError:
                    await server.kill()
                else:
                    return server, number
        raise DeploymentError(f"the workers' server process ended {_ATTEMPTS} times in a row")

    async def _ready_server(self) -> Server:
        async with self._starting:
            if self._mark is None or not self._open:
                raise DeploymentError("operations cannot run: the runner is closed")
            if self._server is None or not self._server.alive:
                if self._server is not None:
                    _log.warning("the workers' server process ended; it is started again", extra=about("fork-server"))
                    await self._server.kill()
                self._server = Server(
                    mark=self._mark,
                    modules=self._modules,
                    cgroups=self._cgroups.folder if self._cgroups is not None else None,
                )
                await self._server.start()
            return self._server

    async def _converse(
        self,
        server: Server,
        operation: int,
        connection: socket.socket,
        frame: bytes,
        until_s: float,
        *,
        largest: int,
        take: Callable[[bytes], None] | None,
    ) -> tuple[Record | None, Heard]:
        """Ask, listen, and wait until nothing is left of the operation, even if this task is cancelled meanwhile."""
        ended = server.ended(operation)
        talk = asyncio.create_task(_talk(connection, frame, largest, take))
        try:
            both: set[asyncio.Future[Any]] = {talk, ended}
            await asyncio.wait(
                both, timeout=until_s + _CONFIRM_S - time.monotonic(), return_when=asyncio.FIRST_COMPLETED
            )
            if talk.done():
                await _wait(ended, _FAREWELL_S)
                if not ended.done():
                    server.end(operation)  # it has said all that will be heard, and stays
            await _wait(ended, until_s + _CONFIRM_S - time.monotonic())
            if not ended.done():
                await server.kill()
            await _wait(talk, _FAREWELL_S)
            end = None if ended.exception() is not None else ended.result()
            return end, talk.result() if talk.done() else Heard()
        finally:
            talk.cancel()
            if not ended.done():
                server.end(operation)
                await _outlast(ended, _CONFIRM_S)
                if not ended.done():
                    await server.kill()
            await _outlast(talk, _FAREWELL_S)
            server.forget(operation)


async def _talk(connection: socket.socket, frame: bytes, largest: int, take: Callable[[bytes], None] | None) -> Heard:
    """Send the request and receive the answer, as far as it comes and, with its pieces, is not larger than allowed."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):  # it ended before it had read all: what it may have said is still to be heard
        await loop.sock_sendall(connection, frame)
    sent = 0
    for _ in range(MAX_PIECES + 1):
        head = await _receive(connection, FRAME_HEAD.size)
        if len(head) < FRAME_HEAD.size:
            return Heard(body=head)
        size: int = FRAME_HEAD.unpack(head)[0]
        more, size = size & MORE, size & ~MORE
        sent += size
        if sent > largest:
            return Heard(size=sent)
        body = await _receive(connection, size)
        if not more or len(body) < size:
            return Heard(size=size, body=body)
        if take is None or not is_piece(body):
            break
        take(body)
    return Heard(size=size)  # of which nothing counts: no piece that was asked for


async def _receive(connection: socket.socket, size: int) -> bytes:
    """So many bytes, or as many as come."""
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < size:
        try:
            piece = await loop.sock_recv(connection, min(size - len(data), 1 << 18))
        except OSError:
            break
        if not piece:
            break
        data += piece
    return bytes(data)


async def _wait(future: asyncio.Future[Any], patience_s: float) -> None:
    """Until it is done; if it is already, at once, where asyncio's own goes round its loop twice."""
    if not future.done():
        await asyncio.wait({future}, timeout=patience_s)


async def _outlast(future: asyncio.Future[Any], patience_s: float) -> None:
    """Wait for it though this task is cancelled, again and again if need be: killing must be over when we leave."""
    give_up_s = time.monotonic() + patience_s
    while not future.done() and (left_s := give_up_s - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({future}, timeout=left_s)


def _frame(request: Request) -> bytes:
    body = orjson.dumps(request)
    if len(body) > REQUEST_BYTES:
        raise ValueError(f"{len(body):,} bytes; {REQUEST_BYTES:,} at most")
    return FRAME_HEAD.pack(len(body)) + body


def _read_back(stderr: int) -> str:
    """What the worker wrote there; the file was as long from the start, filled with zeros."""
    return os.pread(stderr, STDERR_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace")
