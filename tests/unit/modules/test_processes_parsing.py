"""The texts of /proc, hostile ones included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.modules.processes.parsing import (
    MAX_LINE_BYTES,
    forms,
    lines_of,
    parse_identity,
    parse_region,
    parse_stat,
)

STAT = b"77 (%b) S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4242 9 10 18446744073709551615 1 1\n"


@pytest.mark.parametrize("name", [b"sshd", b"", b"a b", b"x) R 2 2 (y", b") (", b"\xff\n)"])
def test_a_name_cannot_pretend_to_be_what_follows_it(name):
    stat = parse_stat(STAT % name)
    assert stat is not None
    assert (stat.pid, stat.name, stat.state, stat.parent, stat.session) == (77, name, "S", 1, 77)
    assert (stat.started_ticks, stat.is_kernel_thread) == (4242, False)


def test_a_kernel_thread_is_known_by_its_flag():
    stat = parse_stat((STAT % b"kworker").replace(b"4194560", b"2129984"))
    assert stat is not None
    assert stat.is_kernel_thread


def test_users_are_the_real_and_the_effective_one():
    text = b"Name:\tx\\nUid:\t0\nUmask:\t0022\nUid:\t1000\t0\t0\t0\nGid:\t7\t7\t7\t7\n"
    assert parse_identity(text) == (1000, 0)
    assert parse_identity(b"Name:\tx\nUid:\tx\ty\n") is None
    assert parse_identity(b"") is None


def known(line):
    region = parse_region(line)
    assert region is not None
    return region


def test_a_mapped_file_is_told_from_what_only_looks_like_one():
    region = known(b"7f0a00000000-7f0a00001000 r-xp 00002000 fe:00 26723                      /usr/lib/a b.so")
    assert region[:6] == (0x7F0A00000000, 0x7F0A00001000, b"r-xp", 0x2000, b"fe:00", 26723)
    assert (region.path, region.is_file) == (b"/usr/lib/a b.so", True)
    assert parse_region(b"1000-2000 rw-p 00000000 00:00 0 ") is not None
    named = known(b"1000-2000 rw-p 00000000 00:00 0                          [anon:/usr/lib/x]")
    assert not named.is_file
    assert known(rb"1000-2000 r--p 0 fe:00 7 /a\012b (deleted)").path == b"/a\nb (deleted)"
    assert forms(b"/x (deleted)") == (b"/x (deleted)", b"/x")


@pytest.mark.parametrize(
    "line", [b"", b"2000-1000 r--p 0 0:0 0", b"1-2 r--p", b"1-2 rwxz 0 0:0 0", b"g-h r--p 0 0:0 0"]
)
def test_what_is_no_region_is_none(line):
    assert parse_region(line) is None


@given(st.lists(st.binary(max_size=300), max_size=8))
def test_lines_do_not_depend_on_how_they_are_cut(pieces):
    whole = b"".join(pieces)
    lines = whole.split(b"\n")
    assert list(lines_of(pieces)) == (lines if lines[-1] else lines[:-1])


def test_a_line_without_an_end_takes_no_memory():
    pieces = [b"x" * 40_000] * 10 + [b"\nshort\n"]
    assert list(lines_of(pieces)) == [b"short"]
    assert list(lines_of([b"x" * (MAX_LINE_BYTES + 1)])) == []


@given(st.binary(max_size=400))
def test_nothing_a_process_writes_breaks_a_parser(text):
    parse_stat(text)
    parse_stat(STAT % text)
    parse_identity(text)
    parse_region(text)
    region = parse_region(b"1000-2000 r--p 00000000 fe:00 7 " + text)
    assert region is None or region.end == 0x2000


@given(st.lists(st.binary(max_size=30), min_size=20, max_size=24))
def test_broken_numbers_are_no_stat(fields):
    parse_stat(b"1 (x) " + b" ".join(fields))
