"""What stands in place of nats-py's own reading of headers gives the same."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from nats.aio.client import Client

from investigator.broker.link import Link

NAMES = st.text("abcXYZ0189-_", min_size=1)
VALUES = st.binary().filter(lambda value: b"\r" not in value and b"\n" not in value)


@given(st.lists(st.tuples(NAMES, VALUES)))
@example([("Nats-Time-Stamp", b" 2026-11-24T20:00:00Z "), ("Nats-Time-Stamp", b"the last counts"), ("x", b"\xff:\x00")])
def test_headers_are_read_as_nats_py_reads_them(headers: list[tuple[str, bytes]]) -> None:
    raw = b"".join(name.encode() + b":" + value + b"\r\n" for name, value in headers) + b"no header\r\n\r\n"
    assert Link._parse_header_lines(raw) == Client._parse_header_lines(raw)
