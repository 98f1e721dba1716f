"""Running a program of the system: from a fixed path, with an empty environment, for a limited time, for limited output."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}
_STDERR_BYTES: Final = 4096
_PIECE_BYTES: Final = 64 << 10


class ProgramFailed(ValueError):  # what reads databases raises ValueError
    """It could not be started, took too long, wrote too much, or failed; one line."""


def find_program(paths: Sequence[str]) -> str | None:
    """The first of the paths that is a program."""
    for path in paths:
        with contextlib.suppress(OSError):
            found = os.stat(path)  # noqa: PTH116 - called where each import is counted
            if stat.S_ISREG(found.st_mode) and os.access(path, os.X_OK):
                return path
    return None


def output_of(command: Sequence[str], *, timeout_s: float, max_bytes: int) -> bytes:
    """What it writes to standard output.

    Raises:
        ProgramFailed: with the program's name and the reason; the program has ended.
    """
    import subprocess  # half a megabyte, for hosts that have such a program

    name = command[0]
    try:
        process = subprocess.Popen(  # noqa: S603 - a fixed path and our own arguments
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_ENVIRONMENT, cwd="/"
        )
    except OSError as error:
        raise ProgramFailed(f"{name} could not be started: {error.strerror}") from None
    try:
        with process:
            try:
                written, said = _read(name, process, time.monotonic() + timeout_s, max_bytes)
                status = process.wait(max(timeout_s, 1.0))
            except BaseException:
                process.kill()
                raise
    except (TimeoutError, subprocess.TimeoutExpired):
        raise ProgramFailed(f"{name} did not end in time") from None
    if status:
        why = " ".join(said.decode("utf-8", "backslashreplace").split())[:300]
        raise ProgramFailed(f"{name} failed with status {status}" + (f": {why}" if why else ""))
    return written


def _read(name: str, process: subprocess.Popen[bytes], until_s: float, max_bytes: int) -> tuple[bytes, bytes]:
    """All of standard output, and the start of standard error.

    Raises:
        TimeoutError: it takes longer; ProgramFailed: it writes more.
    """
    import selectors

    streams: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as ready:
        for stream in streams:
            ready.register(stream, selectors.EVENT_READ)
        while ready.get_map():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            for key, _ in ready.select(min(left_s, 1.0)):
                piece = os.read(key.fd, _PIECE_BYTES)
                taken = streams[key.fileobj]
                if not piece:
                    ready.unregister(key.fileobj)
                elif key.fileobj is process.stdout or len(taken) < _STDERR_BYTES:
                    taken += piece
            if len(streams[process.stdout]) > max_bytes:
                raise ProgramFailed(f"{name} wrote more than {max_bytes:,} bytes")
    return bytes(streams[process.stdout]), bytes(streams[process.stderr][:_STDERR_BYTES])
