"""Files read for their content: lines, gzip, what changes or never ends, and how often each is read."""

import contextlib
import functools
import gzip
import hashlib
import os
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.modules.file import hunt, reading
from investigator.modules.file.reading import Blocks
from investigator.modules.file.sources import GzipSource, OutOfTime, PlainSource, ReadProblem

gz = functools.partial(gzip.compress, mtime=0)
linux = pytest.mark.skipif(sys.platform != "linux", reason="what it needs is Linux's")


@pytest.mark.parametrize(
    ("data", "content", "options", "holds"),
    [
        (b"a\r\nb", "a$", {}, True),
        (b"a\r\nb\r", "^b$", {}, True),
        (b"a\r\r\n", "a$", {}, False),
        (b"a\nb\n", "a.b", {}, False),
        (b"a\nb\n", "(?s)a.b", {}, False),
        (b"\n", "^$", {}, True),
        (b"", "^$", {}, False),
        (b"", "!x", {}, True),
        (b"a\n", "^$", {}, False),
        (b"x" * 70_000 + b"\nroot:\n", "^root:", {}, True),
        (b"x" * 70_000 + b"\nroot:\n", "!^root:", {}, False),
        (b"\0\1\xffbin\0ary", "bin.ary", {}, True),
        (b"caf\xe9", "caf.$", {}, True),
        (b"caf\xe9", "\u00e9", {}, False),
        ("café".encode(), r"\xe9", {}, True),
        (b"caf\xe9", "�", {}, True),
        (b"a\nb\n", "[ab]", {"macroal": True}, True),
        (b"a\nb\nc", "[ab]", {"macroal": True}, False),
        (b"", "a", {"macroal": True}, False),
        (b"", "a", {"macroal": True, "mismatch": ["content"]}, True),
        (b"a\nb", "!c", {"macroal": True}, True),
        (b"a\nb", "!b", {"macroal": True}, False),
    ],
)
def test_lines_are_migs(tmp_path: Any, searches: Any, data: Any, content: Any, options: Any, holds: Any) -> None:
    (tmp_path / "f").write_bytes(data)
    assert bool(searches.find(contents=[content], options=options)) is holds


def test_under_macroal_each_check_is_decided_on_the_whole_file(tmp_path: Any, searches: Any) -> None:
    (tmp_path / "f").write_text("a\nb\nbad\n")
    result = searches.run({"s1": {"contents": ["^a", "!bad"], "options": {"macroal": True}}})
    assert searches.files(result) == []


def test_the_cheat_sheets_authorized_keys_are_found_when_a_line_is_not_expected(tmp_path: Any, searches: Any) -> None:
    expected = r"^((#.+)|(\s+)?|(ssh-rsa AAAAB3Nz 1061157))$"
    (tmp_path / "good").write_text("# comment\n\nssh-rsa AAAAB3Nz 1061157\n")
    (tmp_path / "evil").write_text("# comment\n\nssh-rsa AAAAB3Nz 1061157\nssh-rsa EVIL x\n")
    assert searches.find(contents=[expected], options={"macroal": True, "mismatch": ["content"]}) == ["evil"]


def test_files_larger_than_the_buffer_are_searched_and_hashed_to_the_end(tmp_path: Any, searches: Any) -> None:
    data = b"0123456789abcde\n" * 200_000 + b"needle\n"
    (tmp_path / "f").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    assert searches.find(contents=["^needle$"], sha2=[sha256]) == ["f"]
    result = searches.run({"s1": {"contents": ["^needle$"], "sha2": [sha256]}})
    assert result["statistics"]["totalhits"] == 2


def test_a_line_of_several_mebibytes_is_searched_and_what_may_be_missed_is_said(tmp_path: Any, searches: Any) -> None:
    (tmp_path / "f").write_bytes(b"start" + b"x" * (5 << 20) + b"needle" + b"y" * (2 << 20) + b"end")
    for content in ("needle", "^start", "end$", "xneedley"):
        result = searches.ask(contents=[content])
        assert (searches.files(result), result["errors"]) == (["f"], None), content
    result = searches.ask(contents=["start.*end"])
    assert result["errors"] == [
        f"warning: {tmp_path}/f: in lines of over 1 MiB, matches longer than 64 KiB may be missed".replace(
            " hold ", " holds "
        )
    ]


GZIPPED = {"contents": ["^needle$"], "options": {"decompress": True}}


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (gz(b"a\nneedle\n"), True),
        (gz(b"a\n") + gz(b"needle\n"), True),
        (gz(b"a\nnee") + gz(b"dle") + b"\0" * 512, True),
        (b"needle\n", True),
        (b"", False),
        (b"\x1f", False),
    ],
)
def test_decompress_goes_by_magic_and_other_files_are_read_as_they_are(
    tmp_path: Any, searches: Any, data: Any, found: Any
) -> None:
    (tmp_path / "f.dat").write_bytes(data)
    result = searches.ask(**GZIPPED)
    assert (bool(searches.files(result)), result["errors"]) == (found, None)


def test_without_decompress_a_gzip_file_is_read_as_it_is(tmp_path: Any, searches: Any) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(b"needle\n"))
    result = searches.run({"raw": {"contents": [r"^\x1f"]}, "inflated": GZIPPED, "one": {"contents": ["needle"]}})
    assert [searches.files(result, label) for label in ("raw", "inflated", "one")] == [["f.gz"], ["f.gz"], []]


def test_hashes_and_returnsha256_are_of_the_decompressed_data_and_size_is_on_disk(tmp_path: Any, searches: Any) -> None:
    data = gzip.compress(b"needle\n" * 100)
    (tmp_path / "f.gz").write_bytes(data)
    md5 = hashlib.md5(b"needle\n" * 100).hexdigest()
    options = {"decompress": True, "returnsha256": True}
    (element,) = searches.ask(md5=[md5], sizes=[str(len(data))], options=options)["elements"]["s1"]
    assert element["fileinfo"]["sha256"] == hashlib.sha256(b"needle\n" * 100).hexdigest().upper()
    assert element["fileinfo"]["size"] == len(data)


def test_of_a_truncated_gzip_file_what_complete_lines_matched_stays(tmp_path: Any, searches: Any) -> None:
    whole = gzip.compress(b"needle\n" + os.urandom(5000).hex().encode())
    (tmp_path / "f.gz").write_bytes(whole[:2000])
    for content, found in (("^needle$", ["f.gz"]), ("absent", []), ("!absent", [])):
        result = searches.ask(contents=[content], options={"decompress": True})
        assert searches.files(result) == found
        assert result["errors"] in ([f"ERROR: read {tmp_path}/f.gz: unexpected EOF"], None if found else [])
    result = searches.ask(sha2=["0" * 64], options={"decompress": True, "mismatch": ["sha2"]})
    assert (searches.files(result), result["errors"]) == ([], [f"ERROR: read {tmp_path}/f.gz: unexpected EOF"])


@pytest.mark.parametrize("data", [b"\x1f\x8bneedle", b"\x1f\x8b", b"\x1f\x8b\x08\x00needle"[:9]])
def test_a_bad_gzip_header_is_an_error_and_the_file_read_as_it_is(tmp_path: Any, searches: Any, data: Any) -> None:
    (tmp_path / "f.gz").write_bytes(data)
    result = searches.ask(contents=["^\\x1f"], options={"decompress": True, "returnsha256": True})
    assert searches.files(result) == ["f.gz"]
    assert result["errors"] == [f"ERROR: read {tmp_path}/f.gz: gzip: invalid header; read as it is"]


def test_a_gzip_file_whose_checksum_is_wrong_has_no_digest(tmp_path: Any, searches: Any) -> None:
    data = bytearray(gzip.compress(b"needle\n"))
    data[-6] ^= 1
    (tmp_path / "f.gz").write_bytes(data)
    result = searches.ask(sha2=[hashlib.sha256(b"needle\n").hexdigest()], options={"decompress": True})
    assert searches.files(result) == []
    assert "gzip: " in result["errors"][0]


def test_a_bomb_is_inflated_within_the_buffer(tmp_path: Any) -> None:
    compressor = zlib.compressobj(9, wbits=31)
    bomb = b"".join(compressor.compress(b"\0" * (1 << 20)) for _ in range(64)) + compressor.flush()
    (tmp_path / "bomb").write_bytes(bomb)
    descriptor = os.open(tmp_path / "bomb", os.O_RDONLY)
    try:
        source = GzipSource(PlainSource(descriptor, deadline_s=float("inf"), limit_bytes=1 << 30))
        room = memoryview(bytearray(1000))
        total = 0
        while count := source.read_into(room):
            assert count <= 1000
            total += count
            if total > 1 << 20:
                break
    finally:
        os.close(descriptor)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 700))
def test_members_of_any_length_come_out_whole_whatever_the_room(
    tmp_path_factory: Any, members: Any, room_bytes: Any
) -> None:
    path = tmp_path_factory.mktemp("gz") / "f"
    path.write_bytes(b"".join(gzip.compress(member) for member in members))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        source = GzipSource(PlainSource(descriptor, deadline_s=float("inf"), limit_bytes=1 << 30))
        room, found = memoryview(bytearray(room_bytes)), b""
        while count := source.read_into(room):
            found += room[:count]
    finally:
        os.close(descriptor)
    assert found == b"".join(members)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_after_the_magic_end_or_are_a_problem(data: Any) -> None:
    descriptor = os.memfd_create("gz") if hasattr(os, "memfd_create") else pytest.skip("needs memfd")
    try:
        os.write(descriptor, b"\x1f\x8b\x08" + data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        source = GzipSource(PlainSource(descriptor, deadline_s=float("inf"), limit_bytes=1 << 30))
        room = memoryview(bytearray(100))
        with contextlib.suppress(ReadProblem):
            while source.read_into(room):
                pass
    finally:
        os.close(descriptor)


@pytest.fixture
def reads(monkeypatch: Any) -> Any:
    """The number of times a file's content was read from its start."""
    counted = []
    original = Blocks.read

    def read(self: Any, *arguments: Any) -> Any:
        counted.append(arguments)
        return original(self, *arguments)

    monkeypatch.setattr(Blocks, "read", read)
    return counted


def test_links_to_the_same_file_are_read_once(tmp_path: Any, searches: Any, reads: Any) -> None:
    (tmp_path / "a").write_text("needle\n")
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("a")
    assert searches.find(contents=["needle"], md5=[hashlib.md5(b"needle\n").hexdigest()]) == ["a", "b", "c"]
    assert len(reads) == 2  # its lines, and its digest once these had matched


def test_each_file_is_hashed_once_for_all_searches(tmp_path: Any, searches: Any, reads: Any) -> None:
    (tmp_path / "a").write_text("needle\n")
    asked = {
        f"s{number}": {"md5": ["0" * 32], "sha2": ["0" * 64, "1" * 64], "contents": [f"x{number}"]}
        for number in range(5)
    }
    searches.run(asked)
    assert len(reads) == 1


def test_nothing_is_read_where_names_and_sizes_decide(tmp_path: Any, searches: Any, reads: Any) -> None:
    (tmp_path / "a").write_text("needle\n")
    assert searches.find(names=["^b"], contents=["needle"]) == []
    assert searches.find(sizes=[">1k"], contents=["needle"]) == []
    assert reads == []


@linux
def test_files_of_size_0_in_proc_are_read(searches: Any) -> None:
    result = searches.run(
        {"s1": {"paths": ["/proc/self/status"], "contents": ["^Uid:\\s+"], "options": {"matchall": True}}}
    )
    assert result["foundanything"]


@linux
def test_a_file_that_yields_far_more_than_its_size_is_not_read_to_its_end(
    tmp_path: Any, searches: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(reading, "GROWTH_BYTES", 1 << 20)
    with open("/proc/self/pagemap", "rb") as pagemap:
        if not pagemap.read(8):
            pytest.skip("no pagemap here")
    result = searches.run(
        {"s1": {"paths": ["/proc/self/pagemap"], "md5": ["0" * 32], "options": {"mismatch": ["md5"], "matchall": True}}}
    )
    assert not result["foundanything"]
    assert "more than its size: not read further" in result["errors"][0]


def test_a_file_that_becomes_a_fifo_between_look_and_open_is_an_error(
    tmp_path: Any, searches: Any, monkeypatch: Any
) -> Any:
    (tmp_path / "f").write_text("x\n")
    original = hunt.Hunt._job

    def swap(self: Any, *arguments: Any) -> Any:
        job = original(self, *arguments)
        Path(os.fsdecode(job.path)).unlink()
        os.mkfifo(job.path)
        return job

    monkeypatch.setattr(hunt.Hunt, "_job", swap)
    result = searches.ask(contents=["x"])
    assert result["errors"] == [f"ERROR: open {tmp_path}/f: is a FIFO, not a regular file"]
    assert result["success"] is True


def test_a_match_that_vanishes_loses_its_sha256_and_nothing_else(tmp_path: Any, searches: Any, monkeypatch: Any) -> Any:
    for name in "ab":
        (tmp_path / name).write_text("x\n")
    original = hunt.Hunt._job

    def vanish(self: Any, *arguments: Any) -> Any:
        job = original(self, *arguments)
        if job.path.endswith(b"a"):
            Path(os.fsdecode(job.path)).unlink()
        return job

    monkeypatch.setattr(hunt.Hunt, "_job", vanish)
    result = searches.ask(names=["."], options={"returnsha256": True})
    assert searches.files(result) == ["a", "b"]
    assert result["errors"] == [f"ERROR: open {tmp_path}/a: no such file or directory"]


def test_at_the_deadline_what_was_found_is_returned_and_what_was_not_seen_is_said(tmp_path: Any, searches: Any) -> None:
    (tmp_path / "a").write_text("x\n")
    result = searches.run({"s1": {"contents": ["x"], "options": {"matchall": True}}}, deadline_s=time.monotonic() - 1)
    assert (result["success"], result["foundanything"]) == (True, False)
    assert result["errors"][0].startswith("warning: out of time after 0 files: the walk stopped in ")


def test_a_read_notices_the_deadline(tmp_path: Any) -> None:
    (tmp_path / "a").write_text("x\n")
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    try:
        with pytest.raises(OutOfTime):
            PlainSource(descriptor, deadline_s=0.0, limit_bytes=1).read_into(memoryview(bytearray(1)))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("threads", [1, 3])
def test_it_does_not_matter_how_many_threads_read(tmp_path: Any, searches: Any, monkeypatch: Any, threads: Any) -> None:
    for number in range(200):
        (tmp_path / f"{number:03}").write_text(f"line\n{number}\n")
    monkeypatch.setattr("investigator.modules.file.readers.available_cpus", lambda: threads)
    assert len(searches.find(contents=["[05]$"])) == 40
    assert len(searches.find(contents=["[05]$"], options={"matchlimit": 7})) == 7


def test_a_file_read_as_it_is_for_one_search_is_inflated_for_another(tmp_path: Any, searches: Any) -> None:
    (tmp_path / "f.gz").write_bytes(gz(b"needle\n"))
    plain = {"contents": [r"^\x1f"], "options": {"matchall": True}}
    inflated = {"names": ["."], "options": {"matchall": True, "returnsha256": True, "decompress": True}}
    result = searches.run({"plain": plain, "inflated": inflated})
    assert searches.files(result, "plain") == ["f.gz"]
    digest = hashlib.sha256(b"needle\n").hexdigest().upper()
    assert result["elements"]["inflated"][0]["fileinfo"]["sha256"] == digest
