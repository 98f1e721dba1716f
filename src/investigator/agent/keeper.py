"""One persistent module, looked after: started, listened to, asked, ended when it hangs, started again when it ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from investigator.agent.channel import FRAME_HEAD
from investigator.agent.persistent_channel import (
    MAX_RAISED_BYTES,
    Alive,
    Answered,
    Asked,
    Ended,
    FromAgent,
    FromModule,
    Kept,
    Ping,
    Raised,
    frame,
)
from investigator.agent.verdict import Heard, failed, judge, largest_answer, timed_out
from investigator.errors import BadInput, DeploymentError
from investigator.protocol.alert import Alert

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from investigator.agent.alerts import AlertBox
    from investigator.agent.runner import Held, Runner
    from investigator.agent.verdict import Ran

PING_S: Final = 10.0
"""MIG's."""
SILENT_S: Final = 30.0
"""A module that says nothing for so long is ended, as in MIG."""
STUCK_S: Final = 600.0
"""So is one that answers, but whose own loop did not go on for so long."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
STABLE_S: Final = 60.0
"""One that ran so long starts again with the first pause."""
SETTLED_S: Final = 5.0
"""What ended sooner as unavailable had not begun to run."""
UNAVAILABLE_PAUSE_S: Final = 300.0
"""How often a host that does not let it run is tried again."""
LAST_WORDS_S: Final = 2.0
PROCESSES: Final = 8
FILE_BYTES: Final = 256 << 20
"""Of its own files."""
_log = logging.getLogger(__name__)


class _Ended(Exception):
    """The module's process ended, or is to end; the text says why."""

    def __init__(self, text: str, *, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Keeper:
    """See the file's docstring; `run` is its life, `ask` may come at any time."""

    def __init__(
        self,
        module: str,
        settings: Mapping[str, Any],
        runner: Runner,
        box: AlertBox,
        *,
        folder: Path,
        name: str,
    ) -> None:
        self.module = module
        self.unavailable = ""
        """Why this host does not let it run, as it said last."""
        self._settings = settings
        self._runner = runner
        self._box = box
        self._folder = folder
        self._name = name
        self._held: Held | None = None
        self._sending = asyncio.Lock()
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._numbers = itertools.count(1)
        self._why = "it is being started"
        self._deaths = 0
        self._started_s = 0.0

    async def run(self) -> None:
        """Until cancelled: it runs, or is about to."""
        pause_s = FIRST_PAUSE_S
        while True:
            self._started_s = time.monotonic()
            try:
                await self._live()
            except _Ended as ended:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise asyncio.CancelledError from None  # it came while a process was being ended, which outlasts it
                self._why = str(ended)
                was_unavailable, self.unavailable = self.unavailable, self._why if ended.code == "unavailable" else ""
            lived_s = time.monotonic() - self._started_s
            if lived_s > STABLE_S:
                pause_s = FIRST_PAUSE_S
            if self.unavailable:
                if not was_unavailable:
                    _log.warning("module %s: %s", self.module, self.unavailable)
                if lived_s > SETTLED_S:  # it ran: somebody took away what it needs
                    self._deaths += 1
                    self._tell_deaths()
                await asyncio.sleep(UNAVAILABLE_PAUSE_S)
                continue
            self._deaths += 1
            _log.warning("module %s ended: %s; it is started again", self.module, self._why)
            self._tell_deaths()
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def ask(self, parameters: Any, *, deadline_s: float) -> Ran:
        """Its answer to an operation."""
        if self._held is None:
            code = "unavailable" if self.unavailable else "not-running"
            return failed(code, f"module {self.module} does not run now: {self._why}")
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        limits = self._held.limits
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                await self._say(Asked(number=number, parameters=parameters))
                body = await answer
        except TimeoutError:
            return timed_out(f"module {self.module} runs, and did not answer in time")
        except (_Ended, OSError) as error:
            return failed("crashed", f"module {self.module} ended while it was asked: {error}")
        finally:
            del self._asked[number]
        return judge(None, Heard(size=len(body), body=body), limits=limits, took_s=0.0)

    async def _live(self) -> None:
        """One process of the module, from its start to its end.

        Raises:
            _Ended: always.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            limits = replace(self._runner.limits, processes=PROCESSES, file_bytes=FILE_BYTES)
            async with self._runner.hold(
                self.module, dict(self._settings), folder=str(self._folder), limits=limits
            ) as held:
                self._held = held
                await self._converse(held)
        except (OSError, DeploymentError) as error:
            raise _Ended(str(error)) from None
        finally:
            self._held = None
            for future in self._asked.values():
                if not future.done():
                    future.set_exception(_Ended(self._why))

    async def _converse(self, held: Held) -> None:
        """Listen and ping until it ends, hangs, or says what is no message.

        Raises:
            _Ended: always.
        """
        listening = asyncio.create_task(self._listen(held))
        pinging = asyncio.create_task(self._ping())
        tasks: set[asyncio.Future[Any]] = {listening, pinging}
        try:
            await asyncio.wait({*tasks, held.ended}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({listening}, timeout=LAST_WORDS_S)
            said = listening.exception() if listening.done() else None
            if said is not None and (not isinstance(said, _Ended) or said.code):
                raise said
            await asyncio.wait({held.ended}, timeout=LAST_WORDS_S)
            raise _Ended(_how(held) if held.ended.done() else "it closed its socket and stayed")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, held: Held) -> None:
        """Hear it until it ends, says nothing, or says what is no message; what it was told to keep may take its time."""
        decoder: msgspec.json.Decoder[FromModule] = msgspec.json.Decoder(FromModule)
        keeping: set[asyncio.Task[None]] = set()
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    message = decoder.decode(await self._frame(held))
                if not isinstance(message, Raised):
                    self._hear(message)
                    continue
                if keeping:
                    raise _Ended("it told more before it knew what was kept", code="garbage")
                task = asyncio.create_task(self._keep(message))
                keeping.add(task)
                task.add_done_callback(keeping.discard)
        except TimeoutError:
            raise _Ended(f"it said nothing for {SILENT_S:.0f} s", code="silent") from None
        except msgspec.DecodeError as error:
            raise _Ended(f"it said what is no message: {error}", code="garbage") from None
        finally:
            for task in keeping:
                task.cancel()

    def _hear(self, message: Alive | Answered | Ended) -> None:
        match message:
            case Alive():
                if message.idle_s > STUCK_S:
                    raise _Ended(f"it did not go on for {message.idle_s:.0f} s", code="stuck")
                if time.monotonic() - self._started_s > SETTLED_S:
                    self.unavailable = ""
                self._tell_deaths()
            case Answered():
                future = self._asked.get(message.number)
                if future is not None and not future.done():
                    future.set_result(bytes(message.answer))
            case Ended():
                raise _Ended(message.text, code=message.code)

    async def _frame(self, held: Held) -> bytes:
        size = FRAME_HEAD.unpack(await _receive(held, FRAME_HEAD.size))[0]
        if size > max(MAX_RAISED_BYTES, largest_answer(held.limits) + 1024):
            raise _Ended(f"it announced a message of {size:,} bytes", code="garbage")
        return await _receive(held, size)

    async def _keep(self, raised: Raised) -> None:
        try:
            await self._box.keep(self.module, raised.alerts, name=self._name)
        except BadInput as error:
            _log.error("module %s: %s", self.module, error)
        with contextlib.suppress(OSError):  # it ended: then it will tell them again
            await self._say(Kept(number=raised.number))

    async def _ping(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                await self._say(Ping())
            await asyncio.sleep(PING_S)

    async def _say(self, message: FromAgent) -> None:
        held = self._held
        if held is None:
            raise OSError("it does not run")
        async with self._sending:
            await asyncio.get_running_loop().sock_sendall(held.connection, frame(message))

    def _tell_deaths(self) -> None:
        """That a watcher was ended is worth an alert: whoever does not want to be watched ends it first."""
        if not self._deaths:
            return
        again = "; it is started again" if self._deaths == 1 else f"; {self._deaths} times since the last such alert"
        alert = Alert(
            severity="high",
            alert=f"module {self.module} ended: {self._why}{again}"[:2000],
            time_s=time.time(),
            details={"ended": self._deaths},
        )
        if self._box.keep_now(self.module, alert, name=self._name):
            self._deaths = 0


async def _receive(held: Held, size: int) -> bytes:
    """So many bytes.

    Raises:
        _Ended: fewer come.
    """
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < size:
        try:
            piece = await loop.sock_recv(held.connection, min(size - len(data), 1 << 18))
        except OSError:  # it ended, and had not read all that it was told
            piece = b""
        if not piece:
            raise _Ended("it closed its socket")
        data += piece
    return bytes(data)


def _how(held: Held) -> str:
    return "; ".join(held.how().result.errors or ["it ended"])
