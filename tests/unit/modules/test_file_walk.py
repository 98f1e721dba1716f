"""What is looked at: depth, roots, links, what must not be opened, and several searches that share a walk."""

import json
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.modules.file.opening import path_text

ANY = {"names": ["."]}
linux = pytest.mark.skipif(sys.platform != "linux", reason="what it needs is Linux's")


@pytest.fixture
def tree(tmp_path: Any) -> Any:
    """1, a/2, a/b/3, a/b/c/4"""
    folder = tmp_path
    for name, below in (("1", "a"), ("2", "b"), ("3", "c"), ("4", None)):
        (folder / name).write_text(name)
        if below:
            folder = folder / below
            folder.mkdir()
    return tmp_path


def texts(result: Any) -> Any:
    return result["errors"] or []


def counted(result: Any) -> Any:
    return {name: value for name, value in result["statistics"].items() if name != "exectime"}


@pytest.mark.parametrize(
    ("depth", "found"), [(0, "1234"), (1, "1"), (2, "12"), (3, "123"), (4, "1234"), (1000, "1234")]
)
def test_a_root_has_depth_1_and_folders_are_entered_to_maxdepth(
    tree: Any, searches: Any, depth: Any, found: Any
) -> None:
    assert "".join(file[-1] for file in searches.find(**ANY, options={"maxdepth": depth})) == "".join(sorted(found))


def test_a_root_that_is_a_file_is_evaluated(tree: Any, searches: Any) -> None:
    assert searches.find(paths=[str(tree / "a/2")], **ANY) == ["a/2"]


def test_paths_are_cleaned_lexically_and_globs_are_none(tree: Any, searches: Any) -> None:
    result = searches.ask(paths=[f"{tree}//a/./b/../b/"], **ANY)
    assert searches.files(result) == ["a/b/3", "a/b/c/4"]
    assert result["elements"]["s1"][0]["search"]["paths"] == [f"{tree}/a/b"]
    assert texts(searches.ask(paths=[f"{tree}/*"], **ANY)) == [f"ERROR: open {tree}/*: no such file or directory"]


def test_a_relative_path_starts_in_the_askers_folder(tree: Any, searches: Any) -> None:
    from investigator.modules.file import MODULE
    from investigator.modules.interface import Context, load_parameters

    parameters = load_parameters(MODULE, {"searches": {"s1": {"paths": ["a"], **ANY}}}, local=True)
    found = MODULE.run(parameters, Context(folder=str(tree))).elements["s1"]
    assert {element.file for element in found} == {str(tree / name) for name in ("a/2", "a/b/3", "a/b/c/4")}


@pytest.mark.parametrize("order", [1, -1])
def test_overlapping_roots_repeat_no_result_but_count_again(tree: Any, searches: Any, order: Any) -> None:
    roots = [str(tree), str(tree / "a/b"), str(tree / "a/b/3")][::order]
    result = searches.ask(paths=roots, **ANY)
    assert searches.files(result) == ["1", "a/2", "a/b/3", "a/b/c/4"]
    assert counted(result) == {"filescount": 4 + 2 + 1, "openfailed": 0, "totalhits": 4}


def test_a_root_within_anothers_tree_has_its_own_depth(tree: Any, searches: Any) -> None:
    result = searches.ask(paths=[str(tree), str(tree / "a/b")], **ANY, options={"maxdepth": 1})
    assert searches.files(result) == ["1", "a/b/3"]


def test_the_same_root_twice_is_one(tree: Any, searches: Any) -> None:
    result = searches.ask(paths=[str(tree), f"{tree}/"], **ANY)
    assert counted(result)["filescount"] == 4


def test_a_root_covers_no_neighbour_whose_name_begins_alike(tree: Any, searches: Any) -> None:
    (tree / "ab").mkdir()
    (tree / "ab/5").write_text("")
    result = searches.run({"s1": {"paths": [f"{tree}/a"], **ANY}, "s2": {"paths": [f"{tree}/ab"], **ANY}})
    assert searches.files(result, "s1") == ["a/2", "a/b/3", "a/b/c/4"]
    assert searches.files(result, "s2") == ["ab/5"]


def test_searches_that_share_a_walk_find_what_each_finds_alone(tree: Any, searches: Any) -> None:
    asked = {
        "shallow": {**ANY, "options": {"maxdepth": 1, "matchall": True}},
        "deep": {**ANY, "options": {"matchall": True}},
        "nested": {"paths": [f"{tree}/a/b"], **ANY, "options": {"maxdepth": 1, "matchall": True}},
        "file": {"paths": [f"{tree}/a/2"], "contents": ["2"]},
        "inverted": {"paths": [f"{tree}/a"], "contents": ["!2"], "options": {"matchall": True}},
        "one": {**ANY, "options": {"matchlimit": 1, "matchall": True}},
        "two": {**ANY, "options": {"matchlimit": 2}},
    }
    together = searches.run(asked)
    for label, search in asked.items():
        alone = searches.run({label: search})
        if "limit" not in str(search):
            assert searches.files(together, label) == searches.files(alone, label), label
        assert len(searches.files(together, label)) == len(searches.files(alone, label)), label
    assert together["statistics"]["totalhits"] == sum(
        searches.run({k: v})["statistics"]["totalhits"] for k, v in asked.items()
    )


PLACES = ["", "a", "a/b", "a/b/c", "a/x", "ab", "a/b/f1", "f0", "none", "a/to-b"]
SEARCHES = st.fixed_dictionaries(
    {
        "paths": st.lists(st.sampled_from(PLACES), min_size=1, max_size=4),
        "names": st.sampled_from([[], ["."], ["1$"], ["!0"]]),
        "contents": st.sampled_from([[], ["even"], ["!even"]]),
        "options": st.fixed_dictionaries(
            {
                "matchall": st.sampled_from([True]),
                "maxdepth": st.integers(0, 4),
                "matchlimit": st.sampled_from([0, 0, 1, 3]),
            }
        ),
    }
)


@pytest.fixture(scope="module")
def grove(tmp_path_factory: Any) -> Any:
    """Folders within folders, each with three files, and a link to a folder."""
    root = tmp_path_factory.mktemp("grove")
    for place in ("", "a", "a/b", "a/b/c", "a/x", "ab"):
        (root / place).mkdir(exist_ok=True)
        for number in range(3):
            (root / place / f"f{number}").write_text("odd" if number % 2 else "even")
    (root / "a/to-b").symlink_to("b")
    return root


def alone(root: Path, search: dict[str, Any]) -> set[str]:
    """What one search finds, by the definition: every file below every path, to the depth."""
    found = set()
    for place in search["paths"]:
        start = root / place
        below = [start] if start.is_file() else start.rglob("*") if not start.is_symlink() else []
        for path in below:
            depth = len(path.relative_to(start).parts) or 1
            if path.is_file() and (not search["options"]["maxdepth"] or depth <= search["options"]["maxdepth"]):
                named = all(bool(re.search(n.lstrip("!"), path.name)) != n.startswith("!") for n in search["names"])
                text = path.read_text()
                held = all(("even" in text) != c.startswith("!") for c in search["contents"])
                if (search["names"] or search["contents"]) and named and held:
                    found.add(str(path.relative_to(root)))
        if start.is_symlink() and search["names"] == ["."] and not search["contents"]:
            found.add(place)  # the link itself, with the folder's metadata
        if start.is_symlink() and search["names"] == ["!0"] and not search["contents"]:
            found.add(place)
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(SEARCHES, min_size=1, max_size=4))
def test_any_searches_together_find_what_the_definition_says_for_each(
    grove: Any, searches_in: Any, asked: list[Any]
) -> None:
    runner = searches_in(str(grove))
    labelled = {f"s{n}": {**one, "paths": [f"{grove}/{p}" for p in one["paths"]]} for n, one in enumerate(asked)}
    result = runner.run(labelled)
    for label, one in zip(labelled, asked, strict=True):
        expected, found = alone(grove, one), runner.files(result, label)
        limit = one["options"]["matchlimit"]
        assert len(found) == len(set(found)) == (min(len(expected), limit) if limit else len(expected)), label
        assert set(found) <= expected


def test_a_link_to_a_file_keeps_its_path_and_name_all_else_is_the_targets(tree: Any, searches: Any) -> None:
    (tree / "lnk").symlink_to("a/2")
    (tree / "a/2").chmod(0o640)
    (element,) = searches.ask(names=["^lnk$"], contents=["^2$"])["elements"]["s1"]
    assert (element["file"], element["fileinfo"]["size"], element["fileinfo"]["mode"]) == (
        f"{tree}/lnk",
        1,
        "-rw-r-----",
    )


def test_links_to_folders_are_skipped_within_and_uncounted(tree: Any, searches: Any) -> None:
    (tree / "lnk").symlink_to("a")
    result = searches.ask(**ANY)
    assert "lnk" not in searches.files(result)
    assert counted(result) == {"filescount": 4, "openfailed": 0, "totalhits": 4}
    assert texts(result) == []


def test_a_root_that_is_a_link_to_a_file_is_reported_as_its_target(tree: Any, searches: Any) -> None:
    (tree / "lnk").symlink_to("a/2")
    assert searches.find(paths=[f"{tree}/lnk"], names=["^2$"]) == ["a/2"]
    result = searches.ask(paths=[f"{tree}/lnk", f"{tree}"], names=["^2$"])
    assert searches.files(result) == ["a/2"]


def test_a_root_that_is_a_link_to_a_folder_is_not_entered_but_evaluated_itself(tree: Any, searches: Any) -> None:
    (tree / "lnk").symlink_to("a")
    result = searches.ask(paths=[f"{tree}/lnk"], modes=["^d"])
    assert searches.files(result) == ["lnk"]
    assert texts(result) == [f"warning: {tree}/lnk is a link to {tree}/a and was not followed"]
    assert result["success"] is True


def test_dangling_and_looping_links_are_errors_that_name_what_is_missing(tree: Any, searches: Any) -> None:
    (tree / "gone").symlink_to("nowhere")
    (tree / "loop").symlink_to("loop")
    for paths in ([str(tree)], [f"{tree}/gone", f"{tree}/loop"]):
        result = searches.ask(paths=paths, **ANY)
        assert sorted(texts(result)) == [
            f"ERROR: followSymLink() -> lstat {tree}/loop: too many levels of symbolic links",
            f"ERROR: followSymLink() -> lstat {tree}/nowhere: no such file or directory",
        ]
        assert counted(result)["openfailed"] == 2
        assert result["success"] is True


def test_a_missing_root_is_an_error_and_the_others_are_searched(tree: Any, searches: Any) -> None:
    result = searches.run(
        {"s1": {"paths": ["/nowhere/at/all", str(tree)], **ANY}, "s2": {"paths": ["/nowhere/at/all"], **ANY}}
    )
    assert texts(result) == ["ERROR: open /nowhere/at/all: no such file or directory"]
    assert counted(result) == {"filescount": 4, "openfailed": 1, "totalhits": 4}


@pytest.fixture
def traps(tmp_path: Any) -> Any:
    """What would hang or never end: a FIFO, a socket, links to a FIFO and to a device."""
    (tmp_path / "plain").write_text("x\n")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        (link := Path(f"/tmp/investigator-test-{os.getpid()}")).symlink_to(
            tmp_path
        )  # a socket's path is at most 108 bytes
        try:
            server.bind(f"{link}/socket")
        finally:
            link.unlink()
    (tmp_path / "to-fifo").symlink_to("fifo")
    (tmp_path / "to-zero").symlink_to("/dev/zero")
    return tmp_path


def test_fifos_sockets_and_devices_within_a_folder_are_skipped_uncounted(traps: Any, searches: Any) -> None:
    result = searches.ask(contents=["x"])
    assert searches.files(result) == ["plain"]
    assert counted(result) == {"filescount": 1, "openfailed": 0, "totalhits": 1}
    assert texts(result) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [("fifo", "a FIFO"), ("socket", "a socket"), ("to-fifo", "a FIFO"), ("to-zero", "a character device")],
)
def test_a_root_that_would_hang_is_an_error_and_not_opened(traps: Any, searches: Any, name: Any, kind: Any) -> None:
    result = searches.ask(paths=[f"{traps}/{name}"], contents=["x"])
    shown = "/dev/zero" if name == "to-zero" else f"{traps}/{name.removeprefix('to-')}"
    assert texts(result) == [f"ERROR: open {shown}: is {kind}, not a regular file or folder"]
    assert counted(result) == {"filescount": 0, "openfailed": 1, "totalhits": 0}


@linux
def test_a_device_node_is_skipped_and_as_a_root_an_error(tmp_path: Any, searches: Any) -> None:
    try:
        os.mknod(tmp_path / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("mknod is not permitted here")
    assert searches.find(contents=["x"]) == []
    result = searches.ask(paths=[f"{tmp_path}/zero"], contents=["x"])
    assert texts(result) == [f"ERROR: open {tmp_path}/zero: is a character device, not a regular file or folder"]


@linux
@pytest.mark.parametrize(
    "name", [b"a\nb", b"caf\xe9", b"\xff\xfe", b"'\\\xff", "\U0001f600é".encode(), b"\x1b[2J", b" ", b"-path"]
)
def test_any_name_is_found_and_comes_back_so_that_it_can_be_read_back(tmp_path: Any, searches: Any, name: Any) -> None:
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "w") as file:
        file.write("needle")
    for search in ({"names": ["."]}, {"contents": ["needle"]}):
        (element,) = searches.ask(**search)["elements"]["s1"]
        assert unquoted(element["file"]) == path
        assert element["file"] == path_text(path)


def unquoted(text: Any) -> Any:
    """What a shell makes of `$'…'`; other texts are themselves."""
    if not text.startswith("$'"):
        return text.encode()
    body = text[2:-1].encode().replace(b"\\'", b"'")
    return body.decode("unicode_escape").encode("latin-1")


@linux
def test_names_with_newlines_are_matched_one_by_one(tmp_path: Any, searches: Any) -> None:
    for name in ("aa", "ab", "x\na", "xa", "by", "b\n"):
        (tmp_path / name).write_text("")
    assert searches.find(names=["^a"]) == ["aa", "ab"]
    assert searches.find(names=["a$"]) == ["aa", "x\na", "xa"]
    assert searches.find(names=["!^[ax]"]) == ["b\n", "by"]


@linux
def test_files_below_paths_longer_than_the_system_takes_are_found(tmp_path: Any, searches: Any) -> None:
    folder, name = os.open(tmp_path, os.O_RDONLY), "d" * 200
    for _ in range(30):
        os.mkdir(name, dir_fd=folder)
        folder, above = os.open(name, os.O_RDONLY, dir_fd=folder), folder
        os.close(above)
    with os.fdopen(os.open("deep.txt", os.O_CREAT | os.O_WRONLY, dir_fd=folder), "w") as file:
        file.write("needle\n")
    os.symlink("deep.txt", "link.txt", dir_fd=folder)
    os.close(folder)
    result = searches.ask(contents=["needle"], options={"returnsha256": True})
    assert [file.rpartition("/")[2] for file in searches.files(result)] == ["deep.txt", "link.txt"]
    assert all(len(element["file"]) > 4096 for element in result["elements"]["s1"])
    assert texts(result) == []
    shutil.rmtree(tmp_path / name)


AS_NOBODY = """
import json, os, sys
import msgspec, orjson
from investigator.modules.file import MODULE
from investigator.modules.interface import Context, load_parameters
parameters = load_parameters(MODULE, {"searches": {"s1": json.loads(sys.argv[1])}})
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.stdout.buffer.write(orjson.dumps(msgspec.structs.asdict(MODULE.run(parameters, Context()))))
"""


def as_nobody(search: Any) -> Any:
    """The search, run by a user whom permissions bind; root is bound by none."""
    command = [sys.executable, "-c", AS_NOBODY, json.dumps(search)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


@pytest.fixture
def locked() -> Any:
    """A folder with a file and a folder that nobody may read, where a user other than root can get to."""
    folder = Path(tempfile.mkdtemp(prefix="investigator-test-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "open").write_text("x\n")
    (folder / "open").chmod(0o644)
    (folder / "secret").write_text("x\n")
    (folder / "secret").chmod(0)
    (folder / "closed").mkdir()
    (folder / "closed").chmod(0)
    yield folder
    (folder / "closed").chmod(0o700)
    shutil.rmtree(folder)


@linux
@pytest.mark.parametrize("search", [{"contents": ["x"]}, {"contents": ["x"], "options": {"matchall": True}}])
def test_what_may_not_be_read_is_an_error_and_the_rest_is_searched(locked: Any, search: Any) -> None:
    result = as_nobody({"paths": [str(locked)], **search})
    assert sorted(result["errors"]) == [
        f"ERROR: open {locked}/closed: permission denied",
        f"ERROR: open {locked}/secret: permission denied",
    ]
    assert [element["file"] for element in result["elements"]["s1"]] == [f"{locked}/open"]
    assert (result["statistics"]["openfailed"], result["success"]) == (2, True)


@linux
@pytest.mark.parametrize(
    "search",
    [
        {"contents": ["!y"]},
        {"md5": ["0" * 32], "options": {"mismatch": ["md5"]}},
        {"contents": ["y"], "options": {"mismatch": ["content"]}},
    ],
)
def test_an_unreadable_file_matches_no_content_or_hash_check_not_even_an_inverted_one(locked: Any, search: Any) -> None:
    search = {"paths": [str(locked)], **search, "options": {"matchall": True, **search.get("options", {})}}
    assert [element["file"] for element in as_nobody(search)["elements"]["s1"]] == [f"{locked}/open"]


@linux
def test_an_unreadable_file_loses_its_sha256_and_nothing_else(locked: Any) -> None:
    result = as_nobody({"paths": [str(locked)], "names": ["."], "options": {"matchall": True, "returnsha256": True}})
    shown = {
        element["file"].rpartition("/")[2]: "sha256" in element["fileinfo"] for element in result["elements"]["s1"]
    }
    assert shown == {"open": True, "secret": False}


@linux
def test_an_unreadable_root_is_an_error_once(locked: Any) -> None:
    result = as_nobody({"paths": [f"{locked}/closed"], "names": ["."]})
    assert result["errors"] == [f"ERROR: open {locked}/closed: permission denied"]


@linux
def test_reading_leaves_access_times_alone(tmp_path: Any, searches: Any) -> None:
    (tmp_path / "a").write_text("x\n")
    os.utime(tmp_path / "a", (1, 2_000_000_000))
    assert searches.find(contents=["x"]) == ["a"]
    assert (tmp_path / "a").stat().st_atime == 1
