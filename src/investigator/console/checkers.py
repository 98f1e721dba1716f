"""Stage 7, whoever has much to verify: a process for each processor, since the library that verifies holds Python's lock.

A few things are checked at once, where they came: a process takes a tenth of a second to start. Each is started when there is
work for it, and goes with `close`. Without processes (the machine has none to spare) the work is done here, in portions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Final, Self, TypeVar

import investigator
from investigator.console.checker import LENGTH_BYTES, decode, encode
from investigator.console.checks import Checked, Heartbeats, Work, check, split

AT_ONCE: Final = 300
"""Up to so many at a time are checked here; from then on processes pay."""
EXPECT_FROM: Final = 2000
PORTION: Final = 64
"""About as much as a pipe holds, so that a process that writes what it found does not wait for who reads it."""
PORTIONS_AHEAD: Final = 2
"""Of each process: while this one is busy elsewhere, it has something to do."""
AHEAD: Final = 11
"""Pieces of work that are under way while one is looked at."""
PORTION_HERE: Final = 25
"""Between two of these the event loop has its turn."""
MAX_PROCESSES: Final = 8
T = TypeVar("T")
_BOOT: Final = "import sys; sys.path[:] = sys.argv[1:]; from investigator.console.checker import main; main()"


class Checkers:
    """The processes; an async context manager."""

    def __init__(self) -> None:
        """None is started yet."""
        self._processes = [_Process() for _ in range(min(MAX_PROCESSES, _processors()))]
        self._free: asyncio.Queue[_Process] = asyncio.Queue()
        for process in self._processes * PORTIONS_AHEAD:
            self._free.put_nowait(process)
        self._under_way = 0
        self._warming: list[asyncio.Task[list[Checked]]] = []

    async def __aenter__(self) -> Self:
        """Start nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what was started."""
        await self.close()

    async def check(self, work: Work) -> list[Checked]:
        """What became of each item, in order."""
        self._under_way += len(work.items)
        try:
            if self._under_way <= AT_ONCE and not any(process.is_started for process in self._processes):
                return await _here(work)
            portions = await asyncio.gather(*(self._portion(part) for part in split(work, PORTION)))
            return [checked for portion in portions for checked in portion]
        finally:
            self._under_way -= len(work.items)

    async def ahead(self, works: AsyncIterator[tuple[T, Work]]) -> AsyncGenerator[tuple[T, list[Checked]], None]:
        """What became of each piece of work, in order, while the next ones are read and checked; no more is read than that.

        Whoever leaves early closes it, so that nothing goes on.
        """
        under_way: deque[tuple[T, asyncio.Task[list[Checked]]]] = deque()
        try:
            async for what, work in works:
                under_way.append((what, asyncio.create_task(self.check(work))))
                if len(under_way) > AHEAD:
                    await asyncio.sleep(0)  # the event loop's turn: it feeds the processes
                    yield under_way[0][0], await under_way[0][1]
                    under_way.popleft()
            while under_way:
                await asyncio.sleep(0)
                yield under_way[0][0], await under_way[0][1]
                under_way.popleft()
        finally:
            for _, checking in under_way:
                checking.cancel()

    def expect(self, items: int) -> None:
        """So much may come: where processes will pay, they are started now."""
        if items > EXPECT_FROM and not self._warming:
            self._warming = [asyncio.create_task(process.check(Heartbeats([]))) for process in self._processes]

    async def close(self) -> None:
        """End the processes."""
        warming, self._warming = self._warming, []
        for task in warming:
            task.cancel()
        await asyncio.gather(*warming, return_exceptions=True)
        for process in self._processes:
            await process.end()

    async def _portion(self, work: Work) -> list[Checked]:
        process = await self._free.get()
        try:
            return await process.check(work)
        except (OSError, asyncio.IncompleteReadError):
            pass  # killed by somebody, or never there
        except BaseException:
            process.kill()  # what it answers now belongs to nobody
            raise
        finally:
            self._free.put_nowait(process)
        return await _here(work)


class _Process:
    """One that is started when there is something to do. Work is written and answered in turn, and may be written ahead."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._ended: list[asyncio.subprocess.Process] = []
        self._writing = asyncio.Lock()
        self._reading = asyncio.Lock()

    @property
    def is_started(self) -> bool:
        return self._process is not None

    async def check(self, work: Work) -> list[Checked]:
        """Raises OSError or IncompleteReadError if the process is gone, and whenever it is asked again then."""
        async with self._writing:
            if self._process is None:
                self._process = await _execute()
            if self._process.returncode is not None:  # asyncio logs what is written to it still
                raise ProcessLookupError
            to, back = self._process.stdin, self._process.stdout
            assert to is not None
            assert back is not None
            to.write(encode(work))
            await to.drain()
        async with self._reading:  # asyncio's locks are taken in the order in which they were asked for
            length = await back.readexactly(LENGTH_BYTES)
            return decode(await back.readexactly(int.from_bytes(length)))

    def kill(self) -> None:
        """It holds nothing that could be lost; another one is started when there is something to do."""
        process, self._process = self._process, None
        if process is not None:
            self._ended.append(process)
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def end(self) -> None:
        """Return when it is gone."""
        self.kill()
        ended, self._ended = self._ended, []
        for process in ended:
            with contextlib.suppress(OSError):
                await process.communicate()


async def _execute() -> asyncio.subprocess.Process:
    """A fresh interpreter; raises OSError.

    It loads the code that runs here, whatever stands in the environment (`-I -S`), as an agent's fork server does.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", "-X", "utf8", "-c", _BOOT, *_import_path()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the console, which then ends this
    )


async def _here(work: Work) -> list[Checked]:
    done: list[Checked] = []
    for portion in split(work, PORTION_HERE):
        done += check(portion)
        if len(done) < len(work.items):
            await asyncio.sleep(0)
    return done


def _import_path() -> list[str]:
    home = str(Path(investigator.__file__).resolve().parent.parent)
    return [home, *(entry for entry in sys.path if Path(entry).is_absolute() and entry != home)]


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
