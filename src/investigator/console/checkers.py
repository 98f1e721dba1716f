"""Stage 7, whoever has much to verify: a process for each processor, since the library that verifies holds Python's lock.

A few things are checked at once, where they came: a process takes a tenth of a second to start. Each is started when there is
work for it, and goes with `close`. Without processes (the machine has none to spare) the work is done here, in portions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Final, Self

import investigator
from investigator.console.checker import LENGTH_BYTES, decode, encode
from investigator.console.checks import Checked, Heartbeats, Work, check, split

AT_ONCE: Final = 300
"""Up to so many are checked here; from then on processes pay."""
EXPECT_FROM: Final = 2000
PORTION: Final = 250
PORTION_HERE: Final = 25
"""Between two of these the event loop has its turn."""
MAX_PROCESSES: Final = 8
_BOOT: Final = "import sys; sys.path[:] = sys.argv[1:]; from investigator.console.checker import main; main()"


class Checkers:
    """The processes; an async context manager."""

    def __init__(self) -> None:
        """None is started yet."""
        self._idle: asyncio.LifoQueue[_Process | None] = asyncio.LifoQueue()
        for _ in range(min(MAX_PROCESSES, _processors())):
            self._idle.put_nowait(None)
        self._started: list[_Process] = []
        self._warming: list[asyncio.Task[list[Checked]]] = []
        self._do_without = False

    async def __aenter__(self) -> Self:
        """Start nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End what was started."""
        await self.close()

    async def check(self, work: Work) -> list[Checked]:
        """What became of each item, in order."""
        if len(work.items) <= AT_ONCE and not self._started:
            return await _here(work)
        portions = await asyncio.gather(*(self._portion(part) for part in split(work, PORTION)))
        return [checked for portion in portions for checked in portion]

    def expect(self, items: int) -> None:
        """So much may come: where processes will pay, they are started now."""
        if items > EXPECT_FROM and not self._started:
            self._warming += [asyncio.create_task(self._portion(Heartbeats([]))) for _ in range(self._idle.qsize())]

    async def close(self) -> None:
        """End the processes."""
        warming, self._warming = self._warming, []
        for task in warming:
            task.cancel()
        await asyncio.gather(*warming, return_exceptions=True)
        started, self._started = self._started, []
        for process in started:
            await process.end()

    async def _portion(self, work: Work) -> list[Checked]:
        process = await self._idle.get()
        try:
            if process is None and not self._do_without:
                process = await _Process.start()
                self._started.append(process)
            if process is not None:
                return await process.check(work)
        except (OSError, asyncio.IncompleteReadError):
            self._do_without, process = True, None  # killed by somebody, or never there
        except BaseException:
            if process is not None:  # what it answers now belongs to nobody
                process.kill()
            process = None
            raise
        finally:
            self._idle.put_nowait(process)
        return await _here(work)


class _Process:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls) -> _Process:
        """Execute a fresh interpreter; raises OSError.

        It loads the code that runs here, whatever stands in the environment (`-I -S`), as an agent's fork server does.
        """
        path = _import_path()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", "-X", "utf8", "-c", _BOOT, *path),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the console, which then ends this
        )
        return cls(process)

    async def check(self, work: Work) -> list[Checked]:
        """Raises OSError or IncompleteReadError if the process is gone."""
        to, back = self._process.stdin, self._process.stdout
        assert to is not None
        assert back is not None
        to.write(encode(work))
        await to.drain()
        length = await back.readexactly(LENGTH_BYTES)
        return decode(await back.readexactly(int.from_bytes(length)))

    def kill(self) -> None:
        """It holds nothing that could be lost."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        """Return when it is gone."""
        self.kill()
        with contextlib.suppress(OSError):
            await self._process.communicate()


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
