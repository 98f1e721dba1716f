"""What answers Prometheus: `GET /metrics` on one address, HTTP/1.0, and nothing else.

It is off unless a configuration file says `[metrics] listen`, and takes loopback addresses only unless it says more. Nothing
runs until somebody connects. A browser on the host that was led here by another name (DNS rebinding) is refused by that name.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Final

from investigator.errors import BadInput, DeploymentError
from investigator.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from investigator.config import Metrics

MAX_REQUEST_BYTES: Final = 8 << 10
WITHIN_S: Final = 5.0
AT_A_TIME: Final = 4
_LISTEN: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})")
_REASONS: Final = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed"}


@contextlib.asynccontextmanager
async def exporting(settings: Metrics, text: Callable[[], Awaitable[str]]) -> AsyncIterator[None]:
    """Answer while the context lasts, if the settings say so; `text` makes the page when it is asked for.

    Raises:
        BadInput: `listen` is no address, or not one that it may be.
        DeploymentError: it is taken.
    """
    if not settings.listen:
        yield
        return
    host, port = listen_address(settings)
    exporter = _Exporter(text, any_host=settings.beyond_loopback)
    try:
        server = await asyncio.start_server(exporter.serve, host, port, limit=MAX_REQUEST_BYTES)
    except OSError as error:
        raise DeploymentError(f"[metrics] listen {settings.listen}: {error.strerror or error}") from None
    try:
        yield
    finally:
        server.close()


def listen_address(settings: Metrics) -> tuple[str, int]:
    """`listen` as address and port.

    Raises:
        BadInput: it is none, or one beyond loopback that was not said to be meant.
    """
    said = _LISTEN.fullmatch(settings.listen)
    address, port = (_address(said[1] or said[2]), int(said[3])) if said is not None else (None, 0)
    if address is None or not 0 < port < 1 << 16:
        raise BadInput(
            f"[metrics] listen: {settings.listen[:60]!r} is no address and port", hint='For example "127.0.0.1:9464".'
        )
    if not address.is_loopback and not settings.beyond_loopback:
        raise BadInput(
            f"[metrics] listen: {settings.listen}: other hosts would reach it",
            hint="`beyond_loopback = true` says that they may; nothing there asks who they are.",
        )
    return str(address), port


class _Exporter:
    def __init__(self, text: Callable[[], Awaitable[str]], *, any_host: bool) -> None:
        self._text = text
        self._any_host = any_host
        self._open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        self._open += 1
        try:
            if self._open <= AT_A_TIME:
                async with asyncio.timeout(WITHIN_S):
                    await self._answer(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            code = 400
        else:
            code = judged(request, any_host=self._any_host)
        body = await self._text() if code == 200 else f"{_REASONS[code]}\n"
        data = body.encode("utf-8", "backslashreplace")
        kind = CONTENT_TYPE if code == 200 else "text/plain; charset=utf-8"
        head = f"HTTP/1.0 {code} {_REASONS[code]}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n"
        writer.write(head.encode() + b"\r\n" + data)
        await writer.drain()


def judged(request: bytes, *, any_host: bool) -> int:
    """The status for a request, its head from the first to the empty line."""
    first, *lines = request.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1"):
        return 400
    hosts = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("host:")]
    if len(hosts) > 1 or (hosts and not any_host and not _is_here(hosts[0])):
        return 403
    if words[1] != "/metrics":
        return 404
    return 200 if words[0] == "GET" else 405


def _is_here(host: str) -> bool:
    """Whether somebody meant this machine, by its loopback address or name."""
    name = re.sub(r":[0-9]{1,5}$", "", host).strip("[]").lower()
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
