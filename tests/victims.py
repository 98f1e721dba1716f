"""Processes for tests to look at, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass
class Victim:
    """A process that waits until it is told to end; `said` is the line that it wrote when it was ready."""

    process: subprocess.Popen[bytes]
    said: str

    @property
    def pid(self) -> int:
        return self.process.pid


@contextlib.contextmanager
def python(code: str, *arguments: str, program: str = sys.executable, name: Sequence[str] = ()) -> Iterator[Victim]:
    """Runs code, which prints a line when it is ready; the process waits after it."""
    # -c would leave the code, and what it plants, in the arguments
    waiting = f"import sys\nsys.argv[1:] = {list(arguments)!r}\n{code}\nsys.stdout.flush()\nsys.stdin.read()\n"
    descriptor = os.memfd_create("code")
    os.write(descriptor, waiting.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    environment = {**os.environ, "PYTHONHOME": sys.base_prefix} if program != sys.executable else None
    with subprocess.Popen(
        [program, "-S", f"/dev/fd/{descriptor}", *name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[descriptor],
        env=environment,
    ) as process:
        os.close(descriptor)
        try:
            assert process.stdout is not None
            yield Victim(process, process.stdout.readline().decode().strip())
        finally:
            process.kill()
