"""Many hits are handed over while the walk goes on; with the rest they are what one result would have been."""

from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from investigator.modules.file import MODULE
from investigator.protocol.piece import joined
from investigator.protocol.result import MAX_PIECE_BYTES, PIECE_BYTES


@pytest.fixture
def many(tmp_path: Path, searches: Any) -> Any:
    for number in range(1500):
        (tmp_path / f"{number:0200}").touch()
    return searches


class Taker:
    """Takes what is handed over, as JSON, at once: the module goes on with its lists."""

    def __init__(self, *, takes: bool = True) -> None:
        self.pieces: list[bytes] = []
        self.takes = takes
        self.asked = 0

    def __call__(self, elements: Any) -> bool:
        self.asked += 1
        if self.takes:
            self.pieces.append(orjson.dumps(elements, default=msgspec.structs.asdict))
        return self.takes


def files(elements: Any) -> list[str]:
    return [element["file"] for element in elements]


@pytest.mark.parametrize("matchall", [True, False])
def test_pieces_and_the_rest_are_the_whole(many: Any, matchall: bool) -> None:
    asked = {
        "many": {"names": [r"\d", "^0"], "options": {"matchall": matchall}},
        "none": {"names": ["x"], "options": {"matchall": matchall}},
    }
    taker = Taker()
    rest, whole = many.run(asked, hand_over=taker), many.run(asked)
    elements = None
    for part in [*map(orjson.loads, taker.pieces), rest["elements"]]:
        elements = joined(elements, part)
    assert elements is not None
    assert sorted(files(elements["many"])) == sorted(files(whole["elements"]["many"]))
    assert elements["none"] == whole["elements"]["none"]
    assert {**rest["statistics"], "exectime": ""} == {**whole["statistics"], "exectime": ""}
    assert rest["foundanything"]
    assert len(taker.pieces) > 1
    assert all(PIECE_BYTES * 0.95 < len(piece) <= MAX_PIECE_BYTES for piece in taker.pieces)
    assert len(list(MODULE.lines({**rest, "elements": elements}, everything=False))) == len(elements["many"])


def test_who_takes_none_is_not_asked_again(many: Any) -> None:
    asked = {"s1": {"names": [r"\d"], "options": {"matchall": True}}}
    taker = Taker(takes=False)
    result = many.run(asked, hand_over=taker)
    assert taker.asked == 2  # the second time for half of them
    assert len(result["elements"]["s1"]) == 1500


def test_what_was_handed_over_counts_for_the_limit_on_the_result(many: Any) -> None:
    asked = {"s1": {"names": [r"\d"], "options": {"matchall": True}}}
    taker = Taker()
    result = many.run(asked, hand_over=taker, result_bytes=(1 << 20) + 300_000)
    returned = len(result["elements"]["s1"]) + sum(len(orjson.loads(piece)["s1"]) for piece in taker.pieces)
    assert len(taker.pieces) == 1
    assert 0 < returned < 1500
    assert f"found {1500 - returned} more than a result can hold" in result["errors"][0]
