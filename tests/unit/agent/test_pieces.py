"""Findings that leave the worker before the module ends: framed, masked, and within the limits."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from investigator.agent import pieces as worker_pieces
from investigator.agent.channel import FRAME_HEAD, MORE, Request
from investigator.agent.limits import Limits
from investigator.agent.pieces import Pieces
from investigator.agent.verdict import is_piece
from investigator.modules.file import MODULE
from investigator.modules.interface import load_parameters
from investigator.protocol.result import MAX_PIECE_BYTES

SECRET = "/home/ada/divorce-papers.txt"
PARAMETERS = load_parameters(MODULE, {"searches": {"s1": {"paths": ["/home"], "names": ["x"]}}})
FOUND = {"s1": [{"file": SECRET, "search": {"paths": ["/home/ada"]}, "fileinfo": {"size": 1}}]}


def pieces(*, private: bool = False, **limits: int) -> tuple[Pieces, list[bytes]]:
    sent: list[bytes] = []
    request = Request(
        module="file", parameters={}, deadline_s=0, folder="/", local=False, limits=Limits(**limits), private=private
    )
    return Pieces(sent.append, request), sent


def test_a_piece_is_a_frame_that_says_that_more_comes() -> None:
    ours, sent = pieces()
    assert ours.hand_over(MODULE, PARAMETERS, FOUND)
    (frame,) = sent
    (length,) = FRAME_HEAD.unpack(frame[:4])
    assert (length & MORE, length & ~MORE) == (MORE, len(frame) - 4)
    assert orjson.loads(frame[4:]) == FOUND
    assert is_piece(frame[4:])
    assert ours.bytes == len(frame) - 4


def test_in_extra_privacy_mode_a_piece_is_masked_like_a_result() -> None:
    ours, sent = pieces(private=True)
    assert ours.hand_over(MODULE, PARAMETERS, FOUND)
    assert b"ada" not in sent[0]
    assert orjson.loads(sent[0][4:])["s1"][0]["file"] == "masked"


def test_what_cannot_be_masked_is_not_sent() -> None:
    ours, sent = pieces(private=True)
    with pytest.raises(KeyError):
        ours.hand_over(MODULE, PARAMETERS, {"unknown": FOUND["s1"]})
    assert not sent


def test_what_is_too_large_or_too_many_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, sent = pieces()
    assert not ours.hand_over(MODULE, PARAMETERS, ["x" * MAX_PIECE_BYTES])
    small, _ = pieces(output_bytes=10)
    assert not small.hand_over(MODULE, PARAMETERS, FOUND)
    monkeypatch.setattr(worker_pieces, "MAX_PIECES", 2)
    assert [ours.hand_over(MODULE, PARAMETERS, FOUND) for _ in range(3)] == [True, True, False]
    assert len(sent) == 2


@pytest.mark.parametrize(
    "body",
    [b"", b"1", b"null", b"[", b'{"a":}', b"[1] 2", b'["\xff"]', b"[" + b"1," * MAX_PIECE_BYTES + b"1]"],
)
def test_what_is_no_piece_is_not_passed_on(body: Any) -> None:
    assert not is_piece(body)
