"""A Unix socket in the agent's state folder: whoever may open it, its owner, is told the agent's report as JSON.

It takes no word from whoever connects. Nothing runs until somebody does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from typing import TYPE_CHECKING, Final

from investigator.errors import BadInput, DeploymentError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

SOCKET_FILE: Final = "status.sock"
MAX_REPORT_BYTES: Final = 1 << 20
WITHIN_S: Final = 5.0
AT_A_TIME: Final = 4
_LONGEST_PATH: Final = 100
_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def status_served(folder: Path | None, report: Callable[[], bytes]) -> AsyncIterator[None]:
    """Answer while the context lasts; a folder that cannot have a socket is told in the log, and does without."""
    if folder is None:
        yield
        return
    busy = 0

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy
        busy += 1
        try:
            if busy <= AT_A_TIME:
                async with asyncio.timeout(WITHIN_S):
                    writer.write(report())
                    await writer.drain()
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            busy -= 1
            writer.close()

    server = None
    try:
        server = await asyncio.start_unix_server(serve, sock=_bound(folder))
    except OSError as error:
        _log.warning("%s: nobody can ask here how the agent fares: %s", folder / SOCKET_FILE, error)
    try:
        yield
    finally:
        if server is not None:
            server.close()
            with contextlib.suppress(OSError):
                (folder / SOCKET_FILE).unlink()


def ask_agent(folder: Path) -> bytes:
    """The report of the agent that runs on this state folder, as JSON.

    Raises:
        DeploymentError: none does, or it is another user's.
        BadInput: what answered told too much.
    """
    told = bytearray()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ours, _short(folder) as path:
            ours.settimeout(WITHIN_S)
            ours.connect(path)
            while len(told) <= MAX_REPORT_BYTES and (piece := ours.recv(1 << 16)):
                told += piece
    except OSError as error:
        raise DeploymentError(
            f"{folder / SOCKET_FILE}: {error.strerror or error}",
            hint="No agent runs there, or it is another user's; --state says where one's folder is.",
        ) from None
    if len(told) > MAX_REPORT_BYTES:
        raise BadInput(f"{folder / SOCKET_FILE}: more than {MAX_REPORT_BYTES:,} bytes")
    return bytes(told)


def _bound(folder: Path) -> socket.socket:
    """The lock of the folder is held: what stands there is an earlier agent's."""
    (folder / SOCKET_FILE).unlink(missing_ok=True)
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(folder) as path:
            ours.bind(path)
            (folder / SOCKET_FILE).chmod(0o600)
    except OSError:
        ours.close()
        raise
    return ours


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """The socket's path, by the folder's descriptor where it is longer than a socket's address may be (Linux)."""
    path = str((folder / SOCKET_FILE).absolute())
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield path
        return
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}/{SOCKET_FILE}"
    finally:
        os.close(opened)
