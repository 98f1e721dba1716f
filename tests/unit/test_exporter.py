"""GET /metrics on a loopback address, and nothing for anybody else."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator import exporter
from investigator.config import Metrics
from investigator.errors import BadInput, DeploymentError
from investigator.exporter import AT_A_TIME, MAX_REQUEST_BYTES, exporting, judged, listen_address


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def page() -> str:
    return "up 1\n"


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    async with asyncio.timeout(30):
        try:
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def test_a_scraper_is_answered() -> None:
    port = free_port()
    async with exporting(Metrics(listen=f"127.0.0.1:{port}"), page):
        answer = await ask(port, f"GET /metrics HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n")
    assert b"Content-Length: 5" in head
    assert body == b"up 1\n"


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../x HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /metrics HTTP/1.1\r\nHost: 192.0.2.1:9464\r\n\r\n", 403),
        (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 10_000 + b"\r\n", 400),
    ],
)
async def test_everything_else_is_refused(request_head: bytes, status: int) -> None:
    port = free_port()
    async with exporting(Metrics(listen=f"127.0.0.1:{port}"), page):
        answer = await ask(port, request_head)
    assert answer.startswith(f"HTTP/1.0 {status} ".encode()) or (len(request_head) > MAX_REQUEST_BYTES and not answer)
    assert b"up 1" not in answer


@given(st.binary(max_size=300))
def test_no_bytes_are_a_defect(request: bytes) -> None:
    assert judged(request + b"\r\n\r\n", any_host=False) in {200, 400, 403, 404, 405}


async def test_who_says_nothing_is_hung_up_on_and_holds_up_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "WITHIN_S", 0.2)
    port = free_port()
    async with exporting(Metrics(listen=f"127.0.0.1:{port}"), page):
        silent = [asyncio.create_task(ask(port, b"GET")) for _ in range(2 * AT_A_TIME)]
        assert await asyncio.gather(*silent) == [b""] * len(silent)
        assert b"up 1" in await ask(port, b"GET /metrics HTTP/1.0\r\n\r\n")


async def test_nothing_listens_unless_it_is_said() -> None:
    async with exporting(Metrics(), page):
        pass


@pytest.mark.parametrize(
    "listen", ["9464", "localhost:9464", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:9", "1.2.3.4.5:9"]
)
def test_what_is_no_address_is_said(listen: str) -> None:
    with pytest.raises(BadInput, match="is no address and port"):
        listen_address(Metrics(listen=listen))


@pytest.mark.parametrize("listen", ["0.0.0.0:9464", "[::]:9464", "192.0.2.1:9464"])
def test_beyond_loopback_only_where_that_is_said(listen: str) -> None:
    with pytest.raises(BadInput, match="other hosts would reach it"):
        listen_address(Metrics(listen=listen))
    assert listen_address(Metrics(listen=listen, beyond_loopback=True))[1] == 9464
    assert judged(b"GET /metrics HTTP/1.1\r\nHost: host.example\r\n\r\n", any_host=True) == 200


def test_loopback_of_both_kinds_will_do() -> None:
    assert listen_address(Metrics(listen="[::1]:9464")) == ("::1", 9464)
    assert listen_address(Metrics(listen="127.0.0.9:1")) == ("127.0.0.9", 1)


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DeploymentError, match=r"\[metrics\] listen 127.0.0.1:"):
            async with exporting(Metrics(listen=f"127.0.0.1:{taken.getsockname()[1]}"), page):
                pass
