"""What objects find on a host: files and lines as scribe walks them, packages, variables, chains."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.modules.notes import Notes
from investigator.modules.packages import Inventory, Package
from investigator.modules.scribe import locating, matching, objects
from investigator.modules.scribe.locating import Undecided
from investigator.modules.scribe.matching import Expression
from investigator.modules.scribe.objects import Objects
from investigator.modules.scribe.policy import Policy
from investigator.protocol.regex import compile_regex, tolerant

INSTALLED = [
    Package("kernel", "2.6.32-504.el6", "rpm", "x86_64"),
    Package("kernel", "2.6.32-573.el6", "rpm", "x86_64"),
    Package("libc6:amd64", "2.36-9+deb12u4", "dpkg", "amd64"),
    Package("libc6:i386", "2.36-9+deb12u3", "dpkg", "i386"),
    Package("linux-image-6.1.0-10", "6.1.37-1", "dpkg", "amd64"),
    Package("linux-image-6.1.0-9", "6.1.27-1", "dpkg", "amd64"),
]
FOREVER = float("inf")


class Host:
    """Objects over a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notes = Notes()
        self.inventory = Inventory(INSTALLED, [], complete=True)

    def write(self, path: str, text: str | bytes) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(text if isinstance(text, bytes) else text.encode())
        return target

    def objects(self, *sources: dict[str, Any], deadline_s: float = FOREVER, **variables: str) -> Objects:
        """The sources as objects 0, 1, ...; `variables` beside `${root}`, the folder."""
        known = {"root": str(self.folder), **variables}
        document = {
            "variables": [{"key": key, "value": value} for key, value in known.items()],
            "objects": [{"object": str(number), **source} for number, source in enumerate(sources)],
        }
        return Objects(msgspec.convert(document, Policy), deadline_s, self.notes, lambda: self.inventory)

    def values(self, *sources: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
        """What the first of the sources yields; paths from the folder on."""
        found = self.objects(*sources, **options).values("0")
        return [(one.identifier.removeprefix(f"{self.folder}/"), one.value) for one in found]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def content(expression: str, file: str = ".", *, chain: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    source = {"path": "${root}", "file": file, "expression": expression, "import-chain": list(chain)}
    return {"filecontent": {**source, **more}}


def hasline(expression: str, file: str = ".") -> dict[str, Any]:
    return {"hasline": {"path": "${root}", "file": file, "expression": expression}}


def package(name: str = "x", **more: Any) -> dict[str, Any]:
    return {"package": {"name": name, **more}}


def test_each_group_of_each_matching_line_is_a_value(host: Host) -> None:
    host.write("a.conf", "x=1 y=2\nnothing\nx=3 y=4\r\nx=5 y=")
    assert host.values(content(r"^x=(\d) y=(\d)?$")) == [
        ("a.conf", "1"), ("a.conf", "2"), ("a.conf", "3"), ("a.conf", "4"), ("a.conf", "5"), ("a.conf", ""),
    ]  # fmt: skip
    assert host.values(content(r"^x=")) == []


def test_files_are_found_by_base_name_sorted_by_path(host: Host) -> None:
    for name in ("b/x.conf", "a/x.conf", "a.conf/other", "x.conf.bak"):
        host.write(name, "v=1\n")
    assert [path for path, _ in host.values(content("(v)", r"\.conf$"))] == ["a/x.conf", "b/x.conf"]


def test_walks_are_ten_levels_deep_the_root_counted(host: Host) -> None:
    host.write("/".join("123456789") + "/in", "x")
    host.write("/".join("123456789a") + "/out", "x")
    assert [path[-2:] for path, _ in host.values(content("(x)"))] == ["in"]


def test_links_lead_to_regular_files_only_and_a_dangling_one_hides_nothing(host: Host, tmp_path: Path) -> None:
    host.write("real/file", "x")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("real/file")
    (tmp_path / "folder").symlink_to("real")
    os.mkfifo(tmp_path / "fifo")
    assert host.values(content("(x)")) == [("link", "x"), ("real/file", "x")]
    assert host.notes.texts() is None


def test_a_root_that_is_a_link_is_followed_and_one_that_is_missing_has_no_files(host: Host, tmp_path: Path) -> None:
    host.write("etc/a", "x")
    (tmp_path / "link").symlink_to("etc")
    assert host.values({"filecontent": {"path": "${root}/link", "file": ".", "expression": "(x)"}}) == [("link/a", "x")]
    assert host.values({"hasline": {"path": "${root}/nowhere", "file": ".", "expression": "x"}}) == []
    assert host.notes.texts() is None


def test_lines_of_any_length_are_whole(host: Host) -> None:
    host.write("long", "a" * 5000 + "b(" + "c" * 100_000 + ")d\n")
    assert host.values(content(r"^a{3}.*b\((c)")) == [("long", "c")]
    assert host.values(content(r"^c")) == []


PATTERNS = st.sampled_from(
    ["^a(.)", "(b+)$", "(?i)(K)", "(.).(.)?", "^()$", "é(.)", r"(\s)", "[^a](b)", r"a(\r?)$", r"\b(a)", "a|(b)|c"]
)
BYTES = st.lists(
    st.sampled_from([b"a", b"b", b"K", b"k", b"\n", b"\r", b"\xe9", "é".encode(), b" ", b"\0", b"aab"])
).map(b"".join)


@settings(max_examples=400, deadline=None)
@given(PATTERNS, BYTES)
def test_captures_are_those_of_each_line_alone(pattern: str, text: bytes) -> None:
    """Whatever the blocks and the prefilter do: a line without its newline and CR, bytes that are no UTF-8 as U+FFFD."""
    judge = compile_regex(pattern)
    lines = text.split(b"\n")[: None if not text.endswith(b"\n") and text else -1]
    found = [judge.search(tolerant(line.removesuffix(b"\r"))) for line in lines]
    expected = [tuple((group or b"").decode() for group in one.groups()) for one in found if one]
    with tempfile.NamedTemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "_PIECE_BYTES", 3)
        file.write(text)
        file.flush()
        assert list(Expression(pattern).captures(os.fsencode(file.name), FOREVER, Notes())) == expected
        assert Expression(pattern).occurs(os.fsencode(file.name), FOREVER, Notes()) is bool(expected)


def test_a_line_beyond_all_measure_is_judged_by_its_start_and_the_next_is_whole(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matching, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(matching, "_PIECE_BYTES", 64)
    host.write("long", "start" + "a" * 3000 + "end\nnext=1\nlast=2")
    assert host.values(content(r"^(start)|(end)|next=(\d)|last=(\d)")) == [
        ("long", one) for one in ("start", "", "", "", "", "", "1", "", "", "", "", "2")
    ]
    assert host.notes.texts() == [f"{host.folder}/long: a line of more than 1,000 bytes is judged by its start"]


def test_bytes_that_are_no_utf8_count_as_one_character_each(host: Host) -> None:
    host.write("raw", b"caf\xe9 (x)\n")
    assert host.values(content(r"caf. \((.)")) == [("raw", "x")]


def test_what_cannot_be_read_is_an_error_and_no_value(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("a", "x")

    def denied(path: bytes, *, follow: bool) -> int:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(matching, "open_file", denied)
    assert host.values(content("(x)")) == host.values(hasline("x")) == []
    assert host.notes.texts() == [f"could not read {host.folder}/a: permission denied"]


def test_hasline_says_true_or_false_for_every_file(host: Host) -> None:
    host.write("a", "x\ny\n")
    host.write("b", "")
    assert host.values(hasline("^y$")) == [("a", "true"), ("b", "false")]


def test_filename_yields_the_base_names_first_group(host: Host) -> None:
    host.write("lib/openssl-1.0.2.jar", "")
    host.write("lib/openssl-x.jar", "")
    source = {"filename": {"path": "${root}", "file": r"^openssl-([0-9.]+)\.jar$"}}
    assert host.values(source) == [("lib/openssl-1.0.2.jar", "1.0.2")]


def test_names_that_are_no_utf8_come_back_losslessly(host: Host, tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))).write_text("x=1\n")
    chained = {"hasline": {"path": "${chain_root}", "file": ".", "expression": "x"}}
    found = host.objects(content(r"x=(\d)", chain=("1",)), chained).values("0")
    assert [(one.identifier, one.value) for one in found] == [
        (f"$'{tmp_path}/caf\\xe9'", "1"), (f"$'{tmp_path}/caf\\xe9'", "true"),
    ]  # fmt: skip


def test_concat_joins_the_values_of_each_file_in_order(host: Host) -> None:
    host.write("a", "major=1\nminor=2\n")
    host.write("b", "minor=\nmajor=3\nminor=\n")
    assert host.values(content(r"^(?:major|minor)=(.*)", concat=".")) == [("a", "1.2"), ("b", "3.")]


def test_a_chain_adds_values_from_each_files_folder(host: Host) -> None:
    host.write("one/version.rb", "MAJOR = 4\n")
    host.write("one/minor.rb", "MINOR = 2\n")
    host.write("two/version.rb", "MAJOR = 5\n")
    minor = {"filecontent": {"path": "${chain_root}", "file": "^${minor}$", "expression": r"MINOR = (\d+)"}}
    raw = {"raw": {"identifiers": [{"identifier": "ignored", "value": "rc1"}]}}
    root = content(r"MAJOR = (\d+)", "^version", concat=".", chain=("1", "2"))
    assert host.values(root, minor, raw, minor="minor.rb") == [
        ("one/version.rb", "4.2.rc1"),
        ("two/version.rb", "5.rc1"),
    ]


def test_a_chain_is_fired_for_files_that_match_without_groups(host: Host) -> None:
    host.write("a", "marker\n")
    raw = {"raw": {"identifiers": [{"identifier": "i", "value": "v"}]}}
    assert host.values(content("^marker", chain=("1",)), raw) == [("a", "v")]


def test_a_folders_name_cannot_inject_a_variable(host: Host) -> None:
    host.write("${secret}/a", "x=1\n")
    host.write("hidden/a", "y")
    chained = {"hasline": {"path": "${chain_root}", "file": ".", "expression": "x"}}
    source = content(r"x=(\d)", chain=("1",))
    found = host.values(source, chained, secret="hidden")
    assert found == [("${secret}/a", "1"), ("${secret}/a", "true")]


def test_a_variables_key_is_literal_text(host: Host) -> None:
    host.write("b/a", "x")
    host.write("aab/a", "x")
    source = {"filecontent": {"path": "${root}/${a+b}", "file": ".", "expression": "(x)"}}
    assert host.values(source, **{"a+b": "b"}) == [("b/a", "x")]


def test_objects_that_are_only_for_chains_are_not_asked_for_alone(host: Host) -> None:
    with pytest.raises(Undecided, match="only for the import-chain"):
        host.values({"hasline": {"path": "${chain_root}", "file": ".", "expression": "x"}})


def test_a_relative_path_starts_from_the_folder_that_is_asked_in(host: Host) -> None:
    host.write("here/a", "x")
    known = host.objects({"hasline": {"path": "here", "file": ".", "expression": "x"}})
    known.folder = str(host.folder)
    assert [one.identifier for one in known.values("0")] == [f"{host.folder}/here/a"]


def test_packages_by_name_by_either_form_and_by_expression(host: Host) -> None:
    assert host.values(package("kernel")) == [("kernel", "2.6.32-504.el6"), ("kernel", "2.6.32-573.el6")]
    assert host.values(package("libc6")) == [("libc6:amd64", "2.36-9+deb12u4"), ("libc6:i386", "2.36-9+deb12u3")]
    assert host.values(package("libc6:i386")) == [("libc6:i386", "2.36-9+deb12u3")]
    assert host.values(package("${what}"), what="kernel") == host.values(package("kernel"))
    images = host.values(package(collectmatch="^linux-image-"))
    assert [name for name, _ in images] == ["linux-image-6.1.0-10", "linux-image-6.1.0-9"]
    assert host.values(package(collectmatch="^libc6$")) == host.values(package("libc6"))
    assert host.values(package("nosuch")) == []


def test_only_the_newest_by_the_managers_own_order(host: Host) -> None:
    assert host.values(package("kernel", onlynewest=True)) == [("kernel", "2.6.32-573.el6")]
    assert host.values(package(collectmatch="^linux-image", onlynewest=True)) == [("linux-image-6.1.0-10", "6.1.37-1")]
    assert host.values(package("nosuch", onlynewest=True)) == []


def test_without_a_whole_inventory_what_is_not_found_is_undecided(host: Host) -> None:
    """A leftover database that cannot be read must not hide what another has, nor make anything pass for absent."""
    host.inventory = Inventory(INSTALLED, ["could not read it"], complete=False)
    assert len(host.values(package("kernel"))) == 2
    for absent in (package("nosuch"), package(collectmatch="nosuch", onlynewest=True)):
        with pytest.raises(Undecided, match="could not read it"):
            host.values(absent)
    assert host.notes.texts() == ["could not read it"]


def test_out_of_time_is_undecided_not_false(host: Host) -> None:
    host.write("a", "x")
    with pytest.raises(Undecided, match="out of time while looking for files in "):
        host.values(content("(x)"), deadline_s=time.monotonic() - 1)
    with pytest.raises(Undecided, match="out of time while reading "):
        list(Expression("x").captures(os.fsencode(host.folder / "a"), 0.0, Notes()))


def test_too_many_files_or_values_are_undecided(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        host.write(f"f{number}", "x\n" * 10)
    monkeypatch.setattr(objects, "MAX_VALUES", 40)
    with pytest.raises(Undecided, match="more than 40 values"):
        host.values(content("(x)"))
    monkeypatch.setattr(locating, "MAX_FILES", 4)
    with pytest.raises(Undecided, match="files match in"):
        host.values(content("(x)"))
    monkeypatch.setattr(objects, "MAX_CHAINED", 1)
    raw = {"raw": {"identifiers": [{"identifier": "i", "value": "v"}]}}
    with pytest.raises(Undecided, match="import-chain: more than 1 evaluations"):
        host.values(content("(x)", "f[01]", chain=("1",)), raw)


def test_objects_that_look_below_the_same_folder_share_a_walk(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("a", "x=1\n")
    walks: list[bytes] = []

    def counted(root: bytes, *rest: Any) -> Any:
        walks.append(root)
        return locating.locate(root, *rest)

    monkeypatch.setattr(objects, "locate", counted)
    known = host.objects(content("x=(1)"), hasline("x", "a"), content("(x)", "b"), hasline("x", "["))
    assert [one.value for name in "012" for one in known.values(name)] == ["1", "true"]
    assert len(walks) == 1
    with pytest.raises(Undecided, match="does not compile"):
        known.values("3")


def test_a_folder_of_any_size_is_looked_at_in_parts_within_the_time(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        host.write(f"many/f{number:02}", "1\n")
        host.write(f"d{number:02}/f", "1\n")
    monkeypatch.setattr(locating, "_BATCH", 3)
    assert len(host.values(hasline("1"))) == 40
    asked: list[int] = []

    def clock() -> float:
        asked.append(0)
        return 0.0

    monkeypatch.setattr(locating, "time", SimpleNamespace(monotonic=clock))
    host.values(hasline("1"), deadline_s=time.monotonic() + 60)
    assert len(asked) > 40 // 3  # not once a folder
    monkeypatch.setattr(locating, "MAX_FOLDERS", 10)
    with pytest.raises(Undecided, match="more than 10 folders"):
        host.values(hasline("1"))


def test_what_all_objects_have_together_is_limited_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.write("f", "x=1\nx=2\n")
    monkeypatch.setattr(objects, "MAX_VALUES_IN_ALL", 5)
    known = host.objects(*[content(f"x=(.){'' if number else '$'}") for number in range(4)])
    assert [len(known.values(name)) for name in "01"] == [2, 2]
    for name in "23":
        with pytest.raises(Undecided, match="objects have more than 5 values"):
            known.values(name)
    assert len(known.values("0")) == 2
