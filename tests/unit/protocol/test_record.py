"""Tallies on record are read as strictly as anything that is signed."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from investigator.errors import BadInput
from investigator.protocol.record import TallyRecord, parse_tally
from signed import ACTION_ID, ALICE

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TALLY = TallyRecord(
    id=ACTION_ID, digest="d" * 64, by=ALICE, asked=NOW, counted=NOW, targeted=2, states={"found": 2}, final=True, through=5
)  # fmt: skip


def changed(**changes: Any) -> bytes:
    document = orjson.loads(TALLY.encode()) | changes
    return orjson.dumps({key: value for key, value in document.items() if value is not ...})


def test_a_tally_is_read_as_it_was_written() -> None:
    assert parse_tally(TALLY.encode()) == TALLY


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        changed(type=...),
        changed(type="action"),
        changed(id="x"),
        changed(digest="D" * 64),
        changed(digest="d" * 64 + "\n"),
        changed(by="somebody"),
        changed(states={"happy": 1}),
        changed(states={"found": -1}),
        changed(states={"found": 2**41}),
        changed(final=1),
        changed(through=-1),
        changed(through=2**60),
        changed(asked="yesterday"),
        changed(asked="0001-01-01T00:00:00Z"),
        changed(more=1),
        changed(by="A" * 9000),
    ],
)
def test_what_is_no_tally_is_refused(text: bytes) -> None:
    with pytest.raises(BadInput, match=r"^tally"):
        parse_tally(text)
