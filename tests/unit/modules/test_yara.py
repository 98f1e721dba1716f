"""Rules over files and over processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.errors import BadParameters, BadRegex
from investigator.modules.file.opening import open_regular
from investigator.modules.interface import MASK, Context, load_parameters
from investigator.modules.processes.family import all_stats
from investigator.modules.yara import MODULE, files, processes, rules
from investigator.modules.yara import scanning as scan
from investigator.modules.yara.parameters import parameters_of_flags
from investigator.modules.yara.rules import MAX_RULES_CHARACTERS, CannotScan, TimeIsUp, compile_rules
from secret_scenarios import CONTENT, NAME, Scenario, running

pytest.importorskip("yara_x")

RULES = """
rule marked { strings: $a = "marked" condition: $a }
rule both : tagged { strings: $a = "left" $b = "right" condition: all of them }
private rule unseen { condition: true }
rule seen { strings: $a = "seen" condition: unseen and $a }
"""
MARKED = 'rule marked { strings: $a = "it is marked" condition: $a }'
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def ask(text: str = RULES, *, deadline_s: float = float("inf"), result_bytes: int = 23 << 20, **more: Any) -> Any:
    """The result's JSON."""
    parameters = load_parameters(MODULE, {"yara": text, **more})
    result = MODULE.run(parameters, Context(deadline_s=deadline_s, result_bytes=result_bytes))
    return orjson.loads(orjson.dumps(msgspec.structs.asdict(result)))


def on(folder: Path, *flags: str) -> str:
    return f"-path {folder} -name . {' '.join(flags)}"


@contextlib.contextmanager
def planted(folder: Path) -> Iterator[Scenario]:
    """See tests/secret_scenarios.py."""
    inner = folder / NAME
    inner.mkdir()
    (inner / f"{NAME}.txt").write_text(CONTENT)
    (inner / "dangling").symlink_to(NAME + "-nowhere")
    program = folder / f"{NAME}-program"
    shutil.copy("/bin/sh", program)
    rule = 'rule launch { strings: $a = "Kh7-the-launch" condition: $a }'
    with running(CONTENT, program=str(program)):
        yield Scenario(
            asked=(
                {"yara": rule, "filesearch": on(folder)},
                {"yara": rule, "processes": "numbers-of"},
            ),
            named=(NAME,),
        )


def test_files_that_rules_match_are_told_with_the_rules(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("it is marked")
    (tmp_path / "b").write_text("left, right, marked, seen")
    (tmp_path / "c").write_text("left alone")
    result = ask(filesearch=on(tmp_path))
    assert (result["foundanything"], result["success"], result["statistics"], result["errors"]) == (
        True,
        True,
        None,
        None,
    )
    assert result["elements"] == {
        "Matches": [
            {"Object": f"{tmp_path}/a", "MatchedRules": ["marked"]},
            {"Object": f"{tmp_path}/b", "MatchedRules": ["both", "marked", "seen"]},
        ]
    }
    assert list(MODULE.lines(result, everything=False)) == [
        f"{tmp_path}/a [marked]",
        f"{tmp_path}/b [both,marked,seen]",
    ]


def test_where_nothing_matches_elements_are_null(tmp_path: Path) -> None:
    (tmp_path / "c").write_text("left alone")
    result = ask(filesearch=on(tmp_path))
    assert (result["foundanything"], result["elements"]) == (False, None)
    assert list(MODULE.lines(result, everything=True)) == []


def test_files_are_chosen_as_the_file_module_chooses_them(tmp_path: Path) -> None:
    (tmp_path / "with a blank").mkdir()
    (tmp_path / "with a blank" / "x.bin").write_text("marked")
    (tmp_path / "x.txt").write_text("marked")
    found = ask(filesearch=f"-path '{tmp_path}/with a blank' -path {tmp_path} -name '\\.bin$' -size '<1k'")
    assert [match["Object"] for match in found["elements"]["Matches"]] == [f"{tmp_path}/with a blank/x.bin"]


def test_a_limit_on_files_is_said(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"f{number}").write_text("marked")
    result = ask(filesearch=on(tmp_path, "-matchlimit 3"))
    assert len(result["elements"]["Matches"]) == 3
    assert result["errors"] == ["warning: -matchlimit: no more than 3 files were scanned; there may be more"]
    assert list(MODULE.lines(result, everything=False))[-1] == result["errors"][0]


def test_a_file_that_several_checks_choose_is_scanned_once(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("marked")
    result = ask(filesearch=on(tmp_path, "-size '<1k' -matchany"))
    assert len(result["elements"]["Matches"]) == 1


def test_all_names_of_a_file_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("marked")
    os.link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").symlink_to("a")
    result = ask(filesearch=on(tmp_path))
    assert [Path(match["Object"]).name for match in result["elements"]["Matches"]] == ["a", "b", "c"]


def test_a_path_that_is_no_utf8_comes_back_losslessly(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(name, "w") as file:
        file.write("marked")
    assert ask(filesearch=on(tmp_path))["elements"]["Matches"][0]["Object"] == f"$'{tmp_path}/caf\\xe9'"


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "dangling").symlink_to("nowhere")
    result = ask(filesearch=on(tmp_path))
    assert "nowhere: no such file or directory" in result["errors"][0]
    assert list(MODULE.lines(result, everything=False)) == []
    assert list(MODULE.lines(result, everything=True)) == result["errors"]


def test_a_large_file_is_scanned_in_parts_and_that_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "PART_BYTES", 4096)
    monkeypatch.setattr(files, "OVERLAP_BYTES", 64)
    (tmp_path / "border").write_bytes(b"x" * 4093 + b"marked" + b"x" * 9000)
    (tmp_path / "end").write_bytes(b"x" * 9999 + b"marked")
    (tmp_path / "exact").write_bytes(b"x" * 4090 + b"marked")
    (tmp_path / "apart").write_bytes(b"left" + b"x" * 9000 + b"right")
    result = ask(filesearch=on(tmp_path))
    assert [Path(match["Object"]).name for match in result["elements"]["Matches"]] == ["border", "end", "exact"]
    assert "and 2 other files: larger than" in result["errors"][0]


def test_the_parts_of_a_large_file_cover_it(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "PART_BYTES", 256)
    monkeypatch.setattr(files, "OVERLAP_BYTES", 16)
    for place in range(250, 800, 3):
        (tmp_path / "x").write_bytes(b"x" * place + b"marked" + b"x" * (800 - place))
        assert ask(filesearch=on(tmp_path))["foundanything"], place


@LINUX
def test_a_file_of_proc_whose_size_says_nothing_is_read_to_its_end() -> None:
    text = 'rule init { strings: $a = "Name:" condition: $a }'
    assert ask(text, filesearch="-path /proc/self/status -name .")["foundanything"]


def test_a_file_that_became_another_is_not_scanned(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("marked")
    scanning = files.FileScan(compile_rules(RULES), _report(), float("inf"))  # type: ignore[arg-type]
    other = Path(__file__).stat()
    scanning.hit(_plan(), None, os.fsencode(tmp_path / "x"), other, None)
    assert scanning._report.notes.texts() == [f"{tmp_path}/x: is another file than it was a moment ago"]


def _report() -> Any:
    from investigator.modules.yara.report import Report

    return Report(Context())


def _plan() -> Any:
    from investigator.modules.file.checks import make_plan
    from investigator.modules.file.parameters import Search

    return make_plan("s1", Search(paths=["/"]))


def test_a_result_that_is_too_large_is_cut_and_says_so(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"f{number:02}").write_text("marked")
    result = ask(filesearch=on(tmp_path), result_bytes=(1 << 20) + 600)
    assert 0 < len(result["elements"]["Matches"]) < 20
    assert "more objects than a result can hold" in result["errors"][0]


def test_when_the_time_is_up_what_was_found_is_the_answer(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("marked")
    result = ask(filesearch=on(tmp_path), deadline_s=time.monotonic() - 1)
    assert result["success"]
    assert result["errors"][0].startswith("warning: the time was up")


def test_a_read_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "a").write_text("marked")
    (tmp_path / "b").write_text("marked")
    released: list[bool] = []

    def hang(path: bytes, **more: Any) -> Any:
        if path.endswith(b"b"):
            while not released:
                time.sleep(0.01)
        return open_regular(path, **more)

    monkeypatch.setattr(files, "open_regular", hang)
    try:
        result = ask(filesearch=f"-path {tmp_path}/a -path {tmp_path}/b -name .", deadline_s=time.monotonic() + 2)
    finally:
        released.append(True)
    assert f"the time was up while {tmp_path}/b was read" in result["errors"][-1]
    assert [Path(match["Object"]).name for match in result["elements"]["Matches"]] == ["a"]


def test_a_rule_that_takes_too_long_ends_in_time() -> None:
    slow = "rule slow { condition: for all i in (1..2000000000) : (for all j in (1..2000000000) : (i + j > 1)) }"
    compiled = compile_rules(slow)
    assert compiled is not None
    with pytest.raises(TimeIsUp):
        compiled.scanner().matching(b"x", deadline_s=time.monotonic() + 1.5)
    with pytest.raises(TimeIsUp):
        compiled.scanner().matching(b"x", deadline_s=time.monotonic() - 1)


def test_a_bug_in_the_engine_costs_one_file(monkeypatch: Any) -> None:
    compiled = compile_rules(RULES)
    assert compiled is not None
    scanner = compiled.scanner()
    panic = type("PanicException", (BaseException,), {})

    class Broken:
        def set_timeout(self, seconds: int) -> None:
            pass

        def scan(self, data: bytes) -> Any:
            raise panic("index out of bounds")

    monkeypatch.setattr(scanner, "_scanner", Broken())
    with pytest.raises(CannotScan, match="index out of bounds"):
        scanner.matching(b"x", deadline_s=float("inf"))
    assert scanner.matching(b"marked", deadline_s=float("inf")) == ["marked"]


@settings(max_examples=150, deadline=None)
@given(
    st.binary(max_size=600),
    st.sampled_from([b"MZ", b"\x7fELF", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe", b"L\0\0\0", b""]),
)
def test_hostile_files_break_nothing(data: Any, magic: Any) -> None:
    scanner = _parsing_rules().scanner()
    scanner.matching(magic + data, deadline_s=float("inf"))


def _parsing_rules() -> Any:
    return compile_rules(
        'import "pe" import "elf" import "macho" import "lnk" import "dotnet" import "math"\n'
        "rule a { condition: pe.number_of_sections > 0 or pe.number_of_signatures > 0 }\n"
        "rule b { condition: elf.number_of_sections > 3 } rule c { condition: macho.ncmds > 0 }\n"
        "rule d { condition: lnk.is_lnk } rule e { condition: dotnet.is_dotnet }\n"
        "rule noise { condition: math.entropy(0, filesize) > 7 }"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "yara: no rules"),
        ("// nothing", "yara: no rules"),
        ("rule x {", "yara: line 1, column 9: syntax error"),
        ("rule x {\n condition: y }", "yara: line 2, column 13: unknown identifier `y`"),
        ('include "/etc/passwd"', "yara: line 1, column 1: include statements not allowed"),
        ("rule a { condition: true } rule a { condition: true }", "duplicate rule `a`"),
        ('import "nosuch"', "unknown module `nosuch`"),
        ("rule a { strings: $a = /(/ condition: $a }", "invalid regular expression"),
        ("rule a { condition: true } // \ud800", "lone surrogate"),
        ("//" + "x" * MAX_RULES_CHARACTERS, "rules of more than"),
    ],
)
def test_rules_that_do_not_compile_are_refused_before_anything_runs(text: Any, message: Any) -> None:
    with pytest.raises(BadParameters) as caught:
        load_parameters(MODULE, {"yara": text, "filesearch": "-path / -name ."})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "filesearch: neither files nor processes to scan"),
        ({"filesearch": "  "}, "filesearch: neither files nor processes"),
        ({"filesearch": "-pth /"}, "filesearch: unknown flag -pth of module file; did you mean -path?"),
        ({"filesearch": "-name ."}, "filesearch: searches.s1.paths: a search needs at least one path"),
        ({"filesearch": "-path relative -name ."}, "'relative' is relative"),
        ({"filesearch": "-path / -name '"}, "filesearch: No closing quotation"),
        ({"filesearch": "-path"}, "filesearch: flag -path needs a value"),
        ({"filesearch": "-path / stray"}, "'stray' is no flag"),
        ({"filesearch": "-path / -matchlimit many"}, "is no whole number"),
        ({"filesearch": "-path / -size big"}, "is no size"),
        ({"filesearch": "-path / " + "-name . " * 10_000}, "filesearch: more than"),
        ({"filesearch": 7}, "filesearch: "),
        ({"processes": ["x"]}, "processes: "),
        ({"files": "-path /"}, "there is no parameter 'files'; did you mean 'filesearch'?"),
    ],
)
def test_bad_input_is_refused_by_the_parameters_name(more: Any, message: Any) -> None:
    with pytest.raises(BadParameters) as caught:
        load_parameters(MODULE, {"yara": RULES, **more})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "start"),
    [
        ({"filesearch": "-path / -name ("}, "filesearch: searches.s1.names: regular expression"),
        ({"processes": "("}, "processes: regular expression"),
    ],
)
def test_a_regex_that_does_not_compile_is_refused_by_name(more: Any, start: Any) -> None:
    with pytest.raises(BadRegex) as caught:
        load_parameters(MODULE, {"yara": RULES, **more})
    assert str(caught.value).startswith(start)


def test_on_this_machine_paths_may_be_relative() -> None:
    load_parameters(MODULE, {"yara": RULES, "filesearch": "-path . -name ."}, local=True)


def test_the_console_takes_rules_that_it_cannot_compile_when_yara_x_is_missing(monkeypatch: Any) -> None:
    def missing(text: str) -> None:
        raise ImportError("No module named 'yara_x'")

    monkeypatch.setattr(rules, "_compiled", missing)
    parameters = load_parameters(MODULE, {"yara": "rule x {", "processes": "x"})
    with pytest.raises(BadParameters, match="not installed"):
        MODULE.run(parameters, Context())


def test_flags_read_rules_here(tmp_path: Path) -> None:
    (tmp_path / "one.yar").write_text("rule one { condition: true }")
    values = {"rules": [str(tmp_path / "one.yar")], "rule": ["rule two { condition: true }"], "filesearch": "-path /"}
    assert parameters_of_flags(values) == {
        "yara": "rule one { condition: true }\nrule two { condition: true }",
        "filesearch": "-path /",
    }


@pytest.mark.parametrize(
    ("write", "message"),
    [(None, "no such file or directory"), (b"\xff\xfe", "is not UTF-8")],
)
def test_rules_that_cannot_be_read_are_refused(tmp_path: Path, write: Any, message: Any) -> None:
    path = tmp_path / "x.yar"
    if write is not None:
        path.write_bytes(write)
    with pytest.raises(BadParameters, match=message):
        parameters_of_flags({"rules": [str(path)], "filesearch": "-path /"})


def test_flags_without_rules_are_refused() -> None:
    with pytest.raises(BadParameters, match="rules: rules are required"):
        parameters_of_flags({"filesearch": "-path /"})


@contextlib.contextmanager
def sleeper(program: Path, argument: str) -> Iterator[int]:
    """A process that waits, with a text in its memory."""
    shutil.copy("/bin/sh", program)
    child = subprocess.Popen([str(program), "-c", "read line; exit", argument], stdin=subprocess.PIPE)
    try:
        with open(f"/proc/{child.pid}/comm") as file:
            until = time.monotonic() + 30
            while file.read().strip() != program.name[:15] and time.monotonic() < until:
                file.seek(0)
        yield child.pid
    finally:
        child.kill()
        child.wait()
        assert child.stdin is not None
        child.stdin.close()


@LINUX
def test_processes_are_scanned_by_the_path_of_their_executable(tmp_path: Path) -> None:
    with sleeper(tmp_path / "prey", "it is mark" + "ed") as pid, sleeper(tmp_path / "other", "it is mark" + "ed"):
        result = ask(MARKED, processes=f"^{tmp_path}/prey$")
    assert result["elements"] == {"Matches": [{"Object": f"{tmp_path}/prey", "Pid": pid, "MatchedRules": ["marked"]}]}
    assert list(MODULE.lines(result, everything=False)) == [f"{tmp_path}/prey [pid:{pid}] [marked]"]


@LINUX
def test_our_own_processes_are_left_out(monkeypatch: Any) -> None:
    real = all_stats()
    monkeypatch.setattr(processes, "all_stats", lambda: {pid: stat for pid, stat in real.items() if pid == os.getpid()})
    assert os.getpid() in real
    assert not ask("rule all_of_them { condition: true }", processes=".")["foundanything"]


@LINUX
def test_strings_in_several_regions_are_found_in_one_block_and_never_across_a_border(tmp_path: Path) -> None:
    text = """
    rule both { strings: $a = "ELF" $b = "hay-and-nee" condition: $a and $b }
    rule across { strings: $a = "hay-and-needle-and-nothing-of-the-kind" condition: $a }
    """
    with sleeper(tmp_path / "prey", "hay-and-" + "needle"):
        result = ask(text, processes=f"^{tmp_path}/prey$")
    assert [match["MatchedRules"] for match in result["elements"]["Matches"]] == [["both"]]


def test_files_and_processes_can_be_asked_for_at_once(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("marked")
    result = ask(filesearch=on(tmp_path), processes="^/nowhere/at/all$")
    assert len(result["elements"]["Matches"]) == 1


def test_where_memory_cannot_be_read_that_is_the_answer(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(scan, "READS_MEMORY", False)
    with pytest.raises(BadParameters, match="on Linux alone"):
        ask(processes="x")
    (tmp_path / "x").write_text("marked")
    result = ask(filesearch=on(tmp_path), processes="x")
    assert result["foundanything"]
    assert result["errors"] == ["processes: their memory can be read on Linux alone"]


def test_in_privacy_mode_no_object_is_named() -> None:
    result = {
        "elements": {
            "Matches": [
                {"Object": "/home/ada/x", "MatchedRules": ["r"]},
                {"Object": "/opt/p", "Pid": 7, "MatchedRules": ["r"]},
            ]
        },
        "errors": ["/home/ada/y: permission denied"],
    }
    parameters = load_parameters(MODULE, {"yara": RULES, "processes": "x"})
    masked = MODULE.masked(result, parameters)
    assert masked["elements"] == {"Matches": [{"Object": MASK, "MatchedRules": ["r"]}] * 2}
    assert masked["errors"] == [MASK]
    assert list(MODULE.lines(masked, everything=True)) == [f"{MASK} [r]", f"{MASK} [r]", MASK]
    assert MODULE.masked({"elements": None, "errors": None}, parameters) == {"elements": None, "errors": None}


def test_an_error_within_the_scan_is_raised_where_it_was_asked_for(monkeypatch: Any, tmp_path: Path) -> None:
    def broken(self: Any, plans: Any, context: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(files.FileScan, "run", broken)
    with pytest.raises(RuntimeError, match="broken"):
        ask(filesearch=on(tmp_path))


def test_what_matched_before_a_large_file_took_too_long_is_told(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(files, "PART_BYTES", 4096)
    monkeypatch.setattr(files, "OVERLAP_BYTES", 64)
    (tmp_path / "x").write_bytes(b"marked" + bytes(20_000))

    class Slow(rules.Scanner):
        def matching(self, data: bytes, *, deadline_s: float) -> list[str]:
            if not data.startswith(b"marked"):
                raise TimeIsUp
            return super().matching(data, deadline_s=deadline_s)

    monkeypatch.setattr(rules, "Scanner", Slow)
    result = ask(filesearch=on(tmp_path))
    assert [match["MatchedRules"] for match in result["elements"]["Matches"]] == [["marked"]]
    assert any("scanning it takes too long; the rest of it is left out" in text for text in result["errors"])
