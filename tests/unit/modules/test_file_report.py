"""MIG's JSON and printed lines, exactly; limits and what is said when they cut something."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.modules.file import MODULE
from investigator.modules.file.opening import on_one_line, path_bytes, path_text
from investigator.modules.interface import load_parameters

MTIME_S = 1_577_934_245
NO_FILE = {"size": 0, "mode": "", "lastmodified": ""}
PLAIN = {"maxdepth": 0, "maxerrors": 0, "matchall": False, "macroal": False, "mismatch": None, "matchlimit": 0}


@pytest.fixture
def folder(tmp_path: Any) -> Any:
    for name in ("a.sql", "b.txt"):
        (tmp_path / name).write_text("INSERT\n")
        (tmp_path / name).chmod(0o644)
        os.utime(tmp_path / name, (MTIME_S, MTIME_S))
    return tmp_path


def lines(result: Any, *, everything: Any) -> Any:
    return list(MODULE.lines(result, everything=everything))


def test_a_matchall_element_has_the_whole_search_with_the_limits_0(folder: Any, searches: Any) -> None:
    asked = {
        "description": "dumps",
        "paths": [f"{folder}/./"],
        "names": [r"\.sql$"],
        "sizes": [],
        "options": {"matchall": True, "maxdepth": 3, "matchlimit": 9, "maxerrors": 7, "mismatch": ["md5"]},
    }
    result = searches.run({"s1": asked})
    expected = (
        '{"file":"PATH/a.sql","search":{"description":"dumps","paths":["PATH"],"names":["\\\\.sql$"],"options":{"maxdepth":0,"maxerrors":0,"matchall":true,'
        '"macroal":false,"mismatch":["md5"],"matchlimit":0}},"fileinfo":{"size":7,"mode":"-rw-r--r--","lastmodified":"2020-01-02 03:04:05 +0000 UTC"}}'
    )
    assert orjson.dumps(result["elements"]["s1"]).decode() == f"[{expected}]".replace("PATH", str(folder))
    assert list(result) == ["foundanything", "success", "elements", "statistics", "errors"]
    assert list(result["statistics"]) == ["filescount", "openfailed", "totalhits", "exectime"]
    assert (result["foundanything"], result["success"], result["errors"]) == (True, True, None)


def test_options_that_are_set_are_reported(folder: Any, searches: Any) -> None:
    options = {"returnsha256": True, "decompress": True, "debug": "print"}
    (element, _) = searches.ask(names=["."], options=options)["elements"]["s1"]
    assert options.items() <= element["search"]["options"].items()
    assert element["fileinfo"]["sha256"] == hashlib.sha256(b"INSERT\n").hexdigest().upper()


def test_nothing_found_is_one_empty_element(folder: Any, searches: Any) -> None:
    result = searches.ask(names=["^none$"])
    (element,) = result["elements"]["s1"]
    assert (element["file"], element["fileinfo"], result["foundanything"]) == ("", NO_FILE, False)
    assert element["search"]["names"] == ["^none$"]


def test_a_matchany_element_has_one_check_and_the_files_folder(folder: Any, searches: Any) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/c").write_text("x")
    result = searches.run({"s1": {"names": ["!^[ab]"], "sha1": ["ab" * 20], "options": {"maxdepth": 9}}})
    named, hashed = result["elements"]["s1"]
    assert named["file"] == f"{folder}/sub/c"
    assert named["search"] == {"paths": [f"{folder}/sub"], "names": ["!^[ab]"], "options": PLAIN}
    assert hashed == {
        "file": "",
        "search": {"paths": [str(folder)], "sha1": ["AB" * 20], "options": PLAIN},
        "fileinfo": NO_FILE,
    }


def test_returnsha256_works_under_matchany_too(folder: Any, searches: Any) -> None:
    result = searches.run({"s1": {"names": ["^a"], "sizes": [">1g"], "options": {"returnsha256": True}}})
    assert result["elements"]["s1"][0]["fileinfo"]["sha256"] == hashlib.sha256(b"INSERT\n").hexdigest().upper()


@pytest.mark.parametrize(("matchall", "elements"), [(False, None), (True, "")])
def test_no_check_at_all_matches_nothing_and_is_said(folder: Any, searches: Any, matchall: Any, elements: Any) -> None:
    result = searches.run({"s1": {"options": {"matchall": matchall}}})
    shown = result["elements"]["s1"]
    assert (shown and shown[0]["file"]) == elements
    assert result["errors"] == ["warning: search 's1' has no checks and matches nothing"]
    assert result["foundanything"] is False


def test_no_searches_find_nothing(searches: Any) -> None:
    result = searches.run({})
    assert (result["elements"], result["success"], result["foundanything"], result["errors"]) == ({}, True, False, None)


def test_found_only_lines_are_migs(folder: Any, searches: Any) -> None:
    shown = f"{folder}/a.sql [lastmodified:2020-01-02 03:04:05 +0000 UTC, mode:-rw-r--r--, size:7"
    result = searches.ask(names=[r"\.sql$"])
    assert lines(result, everything=False) == [f"{shown}] in search 's1'"]
    sha256 = hashlib.sha256(b"INSERT\n").hexdigest()
    result = searches.ask(names=[r"\.sql$"], options={"returnsha256": True})
    assert lines(result, everything=False) == [f"{shown}, sha256:{sha256}] in search 's1'"]
    result = searches.run({"s1": {"names": [r"\.sql$", "none"], "sizes": ["8"]}})
    assert lines(result, everything=False) == [rf"{shown}] in search 's1' on checks name='\.sql$'"]


def test_all_lines_add_what_was_not_found_errors_and_statistics(folder: Any, searches: Any) -> None:
    result = searches.run({"s1": {"paths": [str(folder), "/nowhere"], "names": ["none"], "mtimes": [">999d"]}})
    result["statistics"]["exectime"] = "384.212µs"
    found = f"{folder}/{{}} [lastmodified:2020-01-02 03:04:05 +0000 UTC, mode:-rw-r--r--, size:7] in search 's1' on checks mtime='>999d'"
    shown = lines(result, everything=True)
    assert shown[0] == "0 match found in search 's1' on checks name='none'"
    assert sorted(shown[1:3]) == [found.format("a.sql"), found.format("b.txt")]
    assert shown[3:] == [
        "ERROR: open /nowhere: no such file or directory",
        "Statistics: 2 files checked, 1 failed to open, 2 matched, ran in 384.212µs.",
    ]
    result = searches.ask(names=["none"])
    assert lines(result, everything=True)[0] == "0 match found in search 's1'"


def test_warnings_are_shown_in_found_only_text_too(folder: Any, searches: Any) -> None:
    (folder / "lnk").symlink_to(".")
    result = searches.ask(paths=[f"{folder}/lnk"], names=["lnk"])
    assert lines(result, everything=False)[-1] == f"warning: {folder}/lnk is a link to {folder} and was not followed"


def test_a_failed_result_is_printed_too() -> None:
    failed = {"foundanything": False, "success": False, "elements": None, "statistics": None, "errors": ["boom"]}
    assert lines(failed, everything=True) == ["boom"]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a b", "/a b"),
        ("/é", "/é"),
        ("/a\nb", r"$'/a\nb'"),
        ("/\x1b[2J'\\", r"$'/\x1b[2J\'\\'"),
        (r"$'/\xe9'", r"$'/\xe9'"),
        (r"/\xe9", r"/\xe9"),
    ],
)
def test_a_line_stays_a_line_whatever_the_files_name(path: Any, shown: Any) -> None:
    assert on_one_line(path) == shown


@given(st.binary(max_size=60).map(lambda name: b"/" + name.replace(b"\0", b"")))
def test_a_results_path_leads_back_to_the_file(path: Any) -> None:
    assert path_bytes(path_text(path)) == path
    assert path_text(path).startswith(("/", "$'/"))


def test_a_folder_whose_name_is_no_utf8_can_be_searched_by_its_results_path(tmp_path: Any, searches: Any) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    folder.mkdir()
    (folder / "x").touch()
    (found,) = searches.find(names=["x"])
    (element,) = searches.ask(paths=[found.removesuffix("/x'") + "'"], names=["x"])["elements"]["s1"]
    assert element["file"] == found == f"$'{tmp_path}/caf\\xe9/x'"
    assert element["search"]["paths"] == [f"$'{tmp_path}/caf\\xe9'"]


@pytest.mark.parametrize("limit", [1, 7, 50])
@pytest.mark.parametrize("search", [{"names": ["."]}, {"contents": ["x"]}, {"names": ["."], "contents": ["x"]}])
@pytest.mark.parametrize("matchall", [True, False])
def test_the_matchlimit_is_the_number_of_hits_and_said(
    tmp_path: Any, searches: Any, limit: Any, search: Any, matchall: Any
) -> None:
    for number in range(120):
        (tmp_path / str(number)).write_text("x\n")
    result = searches.run({"s1": {**search, "options": {"matchlimit": limit, "matchall": matchall}}})
    assert len(searches.files(result)) == result["statistics"]["totalhits"] == limit
    assert result["errors"] == [f"warning: search 's1' reached its limit of {limit} matches; there may be more"]


def test_errors_are_limited_by_the_largest_maxerrors_and_the_rest_counted(tmp_path: Any, searches: Any) -> None:
    for number in range(20):
        (tmp_path / str(number)).symlink_to(f"gone{number}")
    few, more = ({"names": ["."], "options": {"maxerrors": number}} for number in (3, 5))
    result = searches.run({"s1": few, "s2": more})
    assert len(result["errors"]) == 6
    assert result["errors"][-1] == "15 errors were not returned (max errors = 5)"
    assert result["statistics"]["openfailed"] == 20
    assert len(searches.run({"s1": few, "s2": {"names": ["."]}})["errors"]) == 20


def test_a_result_that_would_be_too_large_is_cut_counted_and_said(tmp_path: Any, searches: Any) -> None:
    for number in range(300):
        (tmp_path / f"{number:03}").write_text("")
    result = searches.run({"s1": {"names": ["."], "options": {"matchall": True}}}, result_bytes=(1 << 20) + 20_000)
    returned = len(searches.files(result))
    assert 0 < returned < 300
    assert len(orjson.dumps(result["elements"])) < 20_000
    assert result["statistics"]["totalhits"] == 300
    assert result["errors"] == [
        f"warning: search 's1' found {300 - returned} more than a result can hold; they are counted, not returned"
    ]


MANY_HITS = """
import pathlib, sys
import msgspec, orjson
from investigator.modules.file import MODULE
from investigator.modules.interface import Context, load_parameters
parameters = load_parameters(MODULE, {"searches": {f"s{n}": {"paths": [sys.argv[1]], "names": ["."], "options": {"matchall": True}} for n in range(250)}})
result = MODULE.run(parameters, Context())
size = len(orjson.dumps(result, default=msgspec.structs.asdict))
status = pathlib.Path("/proc/self/status").read_text()  # a child's ru_maxrss is at least its parent's
print(result.statistics["totalhits"], size, status.partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_half_a_million_hits_stay_below_100_mb(tmp_path: Any) -> None:
    for number in range(2000):
        (tmp_path / f"{number:0100}").touch()
    command = [sys.executable, "-c", MANY_HITS, str(tmp_path)]
    out = subprocess.run(command, check=True, capture_output=True, timeout=100).stdout
    hits, size, peak_kib = map(int, out.split())
    assert hits == 500_000
    assert size < 24 << 20
    assert peak_kib < 100_000


def test_privacy_masks_files_errors_and_the_folder_that_matchany_leaks(folder: Any, searches: Any) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/a").write_text("x")
    asked = {"names": ["^a"], "sizes": ["99"], "paths": [f"{folder}/", "/nowhere"]}
    parameters = load_parameters(MODULE, {"searches": {"s1": asked}})
    masked = MODULE.masked(searches.run({"s1": asked}), parameters)
    assert "sub" not in str(masked)
    assert [element["file"] for element in masked["elements"]["s1"]] == ["masked", "masked", ""]
    assert [element["search"]["paths"] for element in masked["elements"]["s1"]] == [[str(folder), "/nowhere"]] * 3
    assert masked["errors"] == ["masked"]
    assert lines(masked, everything=False)[0].startswith("masked [lastmodified:")
    assert MODULE.masked(searches.run({}), load_parameters(MODULE, {"searches": {}}))["errors"] is None


def test_debug_tells_the_workers_stderr_what_is_done(folder: Any, searches: Any, capsys: Any) -> None:
    searches.ask(names=["^a"], options={"debug": "print"})
    told = capsys.readouterr().err
    assert f"file: {folder}: 2 files, searches ['s1']" in told
    assert f"file: {folder}/a.sql: matches search s1" in told
