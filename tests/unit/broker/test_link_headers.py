"""Headers are read as nats-py reads them, in a fraction of the time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from investigator.broker.link import Link

PIECES = st.sampled_from([
    b"Nats-Subject", b":", b" ", b"\r\n", b"\t", b"mig.facts.a", b"\xff", b"\x1c", b"\xc3\xa9", b"a b", b"", b"12"
])  # fmt: skip


@given(st.lists(PIECES, max_size=24).map(b"".join))
def test_any_header_block_is_read_as_nats_py_reads_it(raw: bytes) -> None:
    assert Link._parse_header_lines(raw) == Client._parse_header_lines(raw)
