"""Each check's test, `!`, mismatch, and how checks combine."""

import hashlib
import os
import stat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.modules.file.checks import make_plan, mode_text
from investigator.modules.file.parameters import Search

DAY_S = 86_400


@pytest.fixture
def folder(tmp_path: Any) -> Any:
    for name, text in {"a.txt": "root:x\nuser:y\n", "b.txt": "user:y\n", "c.sql": "INSERT\n", "empty": ""}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ({"names": [r"\.txt$"]}, ["a.txt", "b.txt"]),
        ({"names": ["^a", "txt$"]}, ["a.txt"]),
        ({"names": [r"!\.txt$"]}, ["c.sql", "empty"]),
        ({"names": ["!^a", "txt$"]}, ["b.txt"]),
        ({"names": [r"\.txt$"], "options": {"mismatch": ["name"]}}, ["c.sql", "empty"]),
        ({"names": [r"!\.txt$"], "options": {"mismatch": ["name"]}}, ["a.txt", "b.txt"]),
        ({"names": ["(?i)A.TXT"]}, ["a.txt"]),
        ({"names": ["!"]}, []),
        ({"sizes": ["7"]}, ["b.txt", "c.sql"]),
        ({"sizes": [">7"]}, ["a.txt", "b.txt", "c.sql"]),
        ({"sizes": ["<7"]}, ["b.txt", "c.sql", "empty"]),
        ({"sizes": [">1", "<10"]}, ["b.txt", "c.sql"]),
        ({"sizes": ["7"], "options": {"mismatch": ["size"]}}, ["a.txt", "empty"]),
        ({"sizes": ["<1k"]}, ["a.txt", "b.txt", "c.sql", "empty"]),
        ({"contents": ["^root:"]}, ["a.txt"]),
        ({"contents": ["^user:", "^root:"]}, ["a.txt"]),
        ({"contents": ["!^root:"]}, ["b.txt", "c.sql", "empty"]),
        ({"contents": ["^root:"], "options": {"mismatch": ["content"]}}, ["b.txt", "c.sql", "empty"]),
        ({"contents": ["!^root:"], "options": {"mismatch": ["content"]}}, ["a.txt"]),
        ({"contents": ["!^root:", "^user:"]}, ["b.txt"]),
        ({"regexes": ["^root:"]}, ["a.txt"]),
        ({"contents": [":"], "options": {"macroal": True}}, ["a.txt", "b.txt"]),
        ({"contents": ["^user:"], "options": {"macroal": True}}, ["b.txt"]),
        ({"contents": ["!^user:"], "options": {"macroal": True}}, ["c.sql", "empty"]),
        ({"contents": ["^user:"], "options": {"macroal": True, "mismatch": ["content"]}}, ["a.txt", "c.sql", "empty"]),
        ({"contents": ["!^user:"], "options": {"macroal": True, "mismatch": ["content"]}}, ["a.txt", "b.txt"]),
        ({"contents": [":", "!^root:"], "options": {"macroal": True}}, ["b.txt"]),
        ({"names": ["txt$"], "contents": ["^root:"], "sizes": [">8"]}, ["a.txt"]),
        ({}, []),
    ],
)
def test_under_matchall_a_file_matches_when_all_checks_hold(
    folder: Any, searches: Any, search: Any, found: Any
) -> None:
    assert searches.find(**search) == found


HASHES = ["md5", "sha1", ("sha2", "sha256"), ("sha2", "sha384"), ("sha2", "sha512"),
          ("sha3", "sha3_224"), ("sha3", "sha3_256"), ("sha3", "sha3_384"), ("sha3", "sha3_512")]  # fmt: skip


@pytest.mark.parametrize("kind", HASHES)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_hashes_of_every_kind_are_found_in_any_case(folder: Any, searches: Any, kind: Any, case: Any) -> None:
    field, algorithm = kind if isinstance(kind, tuple) else (kind, kind)
    digest = hashlib.new(algorithm, b"INSERT\n").hexdigest()
    assert searches.find(**{field: [case(digest)]}) == ["c.sql"]
    assert searches.find(**{field: [case(digest)], "options": {"mismatch": [field]}}) == ["a.txt", "b.txt", "empty"]


def test_two_hashes_of_one_kind_never_hold_together(folder: Any, searches: Any) -> None:
    digests = [hashlib.md5(text).hexdigest() for text in (b"INSERT\n", b"user:y\n")]
    assert searches.find(md5=digests) == []
    assert searches.find(md5=digests, options={"mismatch": ["md5"]}) == ["a.txt", "empty"]


@pytest.mark.parametrize(
    "content", [{"contents": ["!^root:"]}, {"contents": ["^root:"], "options": {"mismatch": ["content"]}}]
)
def test_an_inverted_content_and_a_hash_hold_together(folder: Any, searches: Any, content: Any) -> None:
    assert searches.find(sha1=[hashlib.sha1(b"INSERT\n").hexdigest()], **content) == ["c.sql"]


@pytest.mark.parametrize(
    ("age_s", "value", "holds"),
    [(60, "<1d", True), (2 * DAY_S, "<1d", False), (2 * DAY_S, ">1d", True), (60, ">1d", False), (-DAY_S, "<1m", True), (-DAY_S, ">1m", False),
     (7200, ">1h", True), (7200, "<1h", False), (90, ">1m", True), (90, "<2m", True), (DAY_S, "<1d", False), (DAY_S, ">1d", False)],
)  # fmt: skip
def test_times_are_before_or_after_the_moment_so_long_before_the_run(
    folder: Any, searches: Any, age_s: Any, value: Any, holds: Any
) -> None:
    now = 1_700_000_000
    os.utime(folder / "a.txt", (now, now - age_s))
    result = searches.run({"s1": {"names": ["^a"], "mtimes": [value], "options": {"matchall": True}}}, now=float(now))
    assert result["foundanything"] is holds


def test_modes_are_matched_as_text_and_can_be_inverted(folder: Any, searches: Any) -> None:
    (folder / "a.txt").chmod(0o4755)
    for name in ("b.txt", "c.sql", "empty"):
        (folder / name).chmod(0o640)
    assert searches.find(modes=["^urwxr-xr-x$"]) == ["a.txt"]
    assert searches.find(modes=["^-"]) == ["b.txt", "c.sql", "empty"]
    assert searches.find(modes=["!^-"]) == ["a.txt"]
    assert searches.find(modes=["x"], options={"mismatch": ["mode"]}) == ["b.txt", "c.sql", "empty"]


@pytest.mark.parametrize(
    ("mode", "text"),
    [(0o100644, "-rw-r--r--"), (0o104755, "urwxr-xr-x"), (0o107711, "ugtrwx--x--x"), (0o041777, "dtrwxrwxrwx"), (0o020666, "Dcrw-rw-rw-"),
     (0o060660, "Drw-rw----"), (0o010644, "prw-r--r--"), (0o140755, "Srwxr-xr-x"), (0o100000, "----------")],
)  # fmt: skip
def test_mode_strings_are_gos(mode: Any, text: Any) -> None:
    assert mode_text(mode) == text


@given(st.integers(0, 0o7777))
def test_mode_strings_agree_with_the_systems_on_the_nine_places(bits: Any) -> None:
    plain = stat.filemode(stat.S_IFREG | (bits & 0o777))
    assert mode_text(stat.S_IFREG | bits)[-9:] == plain[1:]


@given(
    st.sampled_from("<>") | st.just(""),
    st.integers(0, 2**20),
    st.sampled_from(["", "k", "m", "g", "t"]),
    st.integers(0, 2**62),
)
def test_sizes_are_inclusive_in_powers_of_1024(sign: Any, number: Any, unit: Any, size: Any) -> None:
    bound = number * 1024 ** ["", "k", "m", "g", "t"].index(unit)
    (check,) = make_plan("s1", Search(paths=["/"], sizes=[f"{sign}{number}{unit}"])).cheap
    status = os.stat_result((0o100644, 0, 0, 0, 0, 0, size, 0, 0, 0))
    assert check.at(0)(status) == {"<": size <= bound, ">": size >= bound, "": size == bound}[sign]


def test_under_matchany_each_check_reports_its_own_files_in_migs_order(folder: Any, searches: Any) -> None:
    digest = hashlib.md5(b"INSERT\n").hexdigest()
    result = searches.run(
        {
            "s1": {
                "names": ["^b", "^none"],
                "contents": ["^root:"],
                "sizes": ["0"],
                "md5": [digest],
                "options": {"matchall": False},
            }
        }
    )
    shown = [
        (element["file"].rpartition("/")[2], sorted(set(element["search"]) - {"paths", "options"}))
        for element in result["elements"]["s1"]
    ]
    assert shown == [
        ("a.txt", ["contents"]),
        ("b.txt", ["names"]),
        ("", ["names"]),
        ("empty", ["sizes"]),
        ("c.sql", ["md5"]),
    ]
    assert result["statistics"]["totalhits"] == 4


def test_mismatch_content_works_under_matchany(folder: Any, searches: Any) -> None:
    result = searches.run({"s1": {"contents": ["^root:"], "options": {"mismatch": ["content"]}}})
    assert searches.files(result) == ["b.txt", "c.sql", "empty"]
