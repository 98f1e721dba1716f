"""A chain of lines: whatever is done to it shows, by itself or beside a head that was heard."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol.audit import (
    HEAD_DIGITS,
    MAX_LINE_BYTES,
    NOTHING,
    ChainBroken,
    Entry,
    Head,
    line_digest,
    read_line,
    verify,
    write_line,
)

FIRST = Entry(kind="chain", code="first", reason="this is the agent's first start")
TIME = "2026-11-24T03:00:00.000Z"


def chain(*entries: Entry, agent: str = "a", after: Head | None = None) -> list[bytes]:
    head, lines = after or Head(0, NOTHING), []
    for entry in entries:
        raw = write_line(entry, head, time=TIME, agent=agent)
        head = Head(head.count + 1, line_digest(raw))
        lines.append(raw)
    return lines


def decisions(count: int, name: str = "n") -> list[Entry]:
    return [Entry(kind="decision", type="action", verdict="admitted", name=f"{name}{at}") for at in range(count)]


def placed(lines: list[bytes]) -> list[tuple[str, bytes]]:
    return [(f"row {number}", raw) for number, raw in enumerate(lines, start=1)]


def heads(lines: list[bytes]) -> list[Head]:
    """What somebody elsewhere heard after each line."""
    return [Head(number, line_digest(raw)[:HEAD_DIGITS], "the console") for number, raw in enumerate(lines, start=1)]


def test_a_chain_as_it_was_written_holds_with_every_head_of_it() -> None:
    lines = chain(FIRST, *decisions(9))
    verified = verify(placed(lines), heads=heads(lines))
    assert (verified.first, verified.last, verified.compared, verified.older) == (
        1,
        Head(10, line_digest(lines[-1])),
        10,
        0,
    )


def test_a_line_says_number_hash_of_the_line_before_time_and_agent_in_this_order() -> None:
    first, second = chain(FIRST, *decisions(1))
    assert second.startswith(
        b'{"n":2,"prev":"' + line_digest(first).encode() + b'","time":"' + TIME.encode() + b'","agent":"a",'
    )
    assert read_line(second) is not None


@given(st.data())
def test_any_change_of_any_line_but_the_last_is_found_by_the_chain_alone(data: st.DataObject) -> None:
    lines = chain(FIRST, *decisions(6))
    at = data.draw(st.integers(0, len(lines) - 2))
    changed = bytearray(lines[at])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ChainBroken):
        verify(placed([*lines[:at], bytes(changed), *lines[at + 1 :]]))


@given(st.data())
def test_any_change_of_the_last_line_is_found_by_its_head(data: st.DataObject) -> None:
    lines = chain(FIRST, *decisions(3))
    changed = bytearray(lines[-1])
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ChainBroken):
        verify(placed([*lines[:-1], bytes(changed)]), heads=heads(lines))


@given(st.data())
def test_any_deletion_insertion_or_other_order_is_found(data: st.DataObject) -> None:
    lines = chain(FIRST, *decisions(8))
    shape = data.draw(st.sampled_from(["delete", "insert", "swap", "repeat"]))
    at = data.draw(st.integers(1, len(lines) - 2))
    other = data.draw(st.integers(1, len(lines) - 1).filter(lambda index: index != at))
    bad = list(lines)
    if shape == "delete":
        del bad[at : data.draw(st.integers(at + 1, len(lines) - 1))]
    elif shape == "insert":
        foreign = chain(FIRST, *decisions(8, name="forged"))
        bad.insert(at, foreign[data.draw(st.integers(0, 8))])
    elif shape == "swap":
        bad[at], bad[other] = bad[other], bad[at]
    else:
        bad.insert(other, bad[at])
    with pytest.raises(ChainBroken):
        verify(placed(bad))


@given(st.integers(0, 8))
def test_an_end_that_was_cut_off_is_found_by_a_head_that_was_heard(kept: int) -> None:
    lines = chain(FIRST, *decisions(8))
    verify(placed(lines[:kept]))
    with pytest.raises(ChainBroken, match="cut off"):
        verify(placed(lines[:kept]), heads=heads(lines)[-1:])


@given(kept=st.integers(1, 8), added=st.integers(0, 12))
def test_a_chain_that_root_wrote_anew_is_perfect_by_itself_and_found_by_any_head_from_after_the_change(
    kept: int, added: int
) -> None:
    lines = chain(FIRST, *decisions(8))
    anew = [*lines[:kept], *chain(*decisions(added, name="innocent"), after=Head(kept, line_digest(lines[kept - 1])))]
    assert verify(placed(anew)).last.count == kept + added
    for heard in heads(lines)[kept:]:
        with pytest.raises(ChainBroken):
            verify(placed(anew), heads=[heard])
    verify(placed(anew), heads=heads(lines)[:kept])


def test_the_first_broken_line_is_named() -> None:
    lines = chain(FIRST, *decisions(5))
    with pytest.raises(ChainBroken, match=r"^row 4: line 4 does not follow from line 3: one of them was altered$"):
        verify(placed([*lines[:2], lines[2].replace(b'"n1"', b'"n9"'), *lines[3:]]))
    with pytest.raises(ChainBroken, match=r"^row 3: line 5 stands after line 2: lines 3 to 4 are missing$"):
        verify(placed([*lines[:2], *lines[4:]]))
    with pytest.raises(ChainBroken, match=r"^row 2: this is no line of an audit$"):
        verify(placed([lines[0], b"rubbish"]))
    with pytest.raises(ChainBroken, match=r"^row 6: line 6 is not the one that the console has"):
        verify(placed(lines), heads=[Head(6, "0" * HEAD_DIGITS, "the console")])


def test_a_chain_whose_old_files_were_removed_begins_later_and_fits_what_was_heard_of_its_last_missing_line() -> None:
    lines = chain(FIRST, *decisions(8))
    verified = verify(placed(lines[4:]), heads=heads(lines))
    assert (verified.first, verified.compared, verified.older) == (5, 6, 3)
    wrong = Head(4, "f" * HEAD_DIGITS, "the console")
    with pytest.raises(ChainBroken, match="rewritten"):
        verify(placed(lines[4:]), heads=[wrong])


@pytest.mark.parametrize("code", ["lost", "cut", "altered", "added", "of a later version"])
def test_what_the_agent_itself_found_wrong_breaks_the_chain_until_it_is_accepted_by_number(code: str) -> None:
    entries = [FIRST, *decisions(2), Entry(kind="chain", code=code, reason="lines are gone"), *decisions(2)]
    lines = chain(*entries)
    with pytest.raises(ChainBroken, match=r"line 4, .*: the agent itself says that lines are gone"):
        verify(placed(lines))
    with pytest.raises(ChainBroken, match="line 4"):
        verify(placed(lines), start=3)
    assert verify(placed(lines), start=4).last.count == 6


def test_a_start_without_the_lines_that_must_have_been_is_never_silent() -> None:
    with pytest.raises(ChainBroken, match=r"line 1, .* decided before is lost"):
        verify(placed(chain(Entry(kind="chain", code="lost", reason="what was decided before is lost"))))
    with pytest.raises(ChainBroken, match="line 1 is no beginning"):
        verify(placed(chain(*decisions(3))))
    with pytest.raises(ChainBroken, match="line 1 is no beginning"):
        verify(placed(chain(FIRST, after=Head(0, "1" * 64))))


def test_what_a_crash_leaves_is_noted_and_breaks_nothing() -> None:
    verified = verify(placed(chain(FIRST, Entry(kind="chain", code="torn", reason="cut by a crash"), *decisions(1))))
    assert verified.notes == [f"line 2, {TIME}: cut by a crash"]


def test_lines_of_another_agent_do_not_continue_a_chain() -> None:
    ours = chain(FIRST, *decisions(1))
    theirs = chain(*decisions(1), agent="b", after=Head(2, line_digest(ours[1])))
    with pytest.raises(ChainBroken, match="agent 'b'"):
        verify(placed([*ours, *theirs]))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_broken_chain_and_nothing_worse(raw: bytes) -> None:
    with pytest.raises(ChainBroken):
        verify([("row 1", raw)])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[" * 5000,
        b'{"n":' + b"9" * 5000 + b"}",
        orjson.dumps({"n": 0, "prev": NOTHING, "time": "", "agent": "", "kind": ""}),
        orjson.dumps({"n": 2.5, "prev": NOTHING, "time": "", "agent": "", "kind": ""}),
        orjson.dumps({"n": 1, "prev": NOTHING + "0", "time": "", "agent": "", "kind": ""}),
        orjson.dumps({"n": 1, "prev": NOTHING, "time": "", "agent": "", "kind": "", "name": "x" * MAX_LINE_BYTES}),
    ],
)
def test_what_is_no_line_is_none(raw: bytes) -> None:
    assert read_line(raw) is None


def test_keys_of_a_later_version_are_no_obstacle() -> None:
    raw = orjson.dumps(
        {"n": 1, "prev": NOTHING, "time": TIME, "agent": "a", "kind": "chain", "code": "first", "new": 1}
    )
    assert verify([("row 1", raw)]).last.count == 1
