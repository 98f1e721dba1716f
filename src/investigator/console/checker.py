"""The process that makes checks for a console: work comes on standard input, what became of it goes to standard output.

It ends when its input does, so with its console, however that ended. The key that opens results comes with the work and is
written nowhere.
"""

from __future__ import annotations

import gc
import sys
from typing import BinaryIO, Final

import msgspec

from investigator.console.checks import Checked, Work, check

LENGTH_BYTES: Final = 4
_reader: Final = msgspec.msgpack.Decoder(Work)
_writer: Final = msgspec.msgpack.Encoder()


def main() -> None:
    """Serve until nobody asks any more."""
    gc.freeze()
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    while (body := _receive(asked)) is not None:
        answers.write(framed(_writer.encode(check(_reader.decode(body)))))
        answers.flush()


def framed(body: bytes) -> bytes:
    """As it goes through the pipe."""
    return len(body).to_bytes(LENGTH_BYTES) + body


def encode(work: Work) -> bytes:
    """Work for the pipe."""
    return framed(_writer.encode(work))


def decode(body: bytes) -> list[Checked]:
    """What came back."""
    return _results.decode(body)


_results: Final = msgspec.msgpack.Decoder(list[Checked])


def _receive(stream: BinaryIO) -> bytes | None:
    length = stream.read(LENGTH_BYTES)
    if len(length) < LENGTH_BYTES:
        return None
    body = stream.read(size := int.from_bytes(length))
    return body if len(body) == size else None
