"""What `investigator run` and `mig` were asked."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.cli.request import RunRequest, life_s, parse_run
from investigator.errors import BadInput, BadParameters, BadRegex
from investigator.modules import MODULES
from investigator.modules.interface import Context, Spec, flag
from investigator.protocol.result import Result


class PingParameters(msgspec.Struct, forbid_unknown_fields=True):
    """Flags that are called like ours, as MIG's ping has them."""

    destination: Annotated[str, flag("d", "where to", value="HOST")] = ""
    timeout: Annotated[int, flag("t", "seconds", value="N")] = 5
    protocol: Annotated[str, flag("p", "tcp, udp or icmp")] = "icmp"


class Ping:
    spec = Spec(
        name="ping",
        summary="say hello",
        parameters=PingParameters,
        flags=PingParameters,
        help_when_bare=False,
        platforms=frozenset(("linux",)),
        examples=(("is it there", "-d example.net"),),
    )

    def check(self, parameters: PingParameters, *, local: bool) -> None:
        if parameters.destination == "nowhere":
            raise BadParameters("destination: nowhere is no place")

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return dict(values)

    def run(self, parameters: PingParameters, context: Context) -> Result:
        return Result(success=True)

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        yield from ()


class Destroy(Ping):
    spec = Spec(name="destroy", summary="no flags", parameters=PingParameters, flags=None)


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    for one in (Ping(), Destroy()):
        place = ModuleType(f"modules_of_test_request_{one.spec.name}")
        place.MODULE = one  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, place.__name__, place)
        monkeypatch.setitem(MODULES, one.spec.name, place.__name__)


def search(request: RunRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.parameters["searches"]["s1"]
    return found


def test_our_flags_stand_before_and_after_the_module_and_behind_its_flags() -> None:
    request = parse_run(
        ["--target", "os='linux'", "file", "-e", "90s", "-path", "/etc", "--name", "^passwd$", "--output", "ndjson"]
    )
    assert (request.target, request.expire_s, request.output) == ("os='linux'", 90.0, "ndjson")
    assert request.module == "file"
    assert search(request)["names"] == ["^passwd$"]


def test_name_is_the_modules_and_n_is_the_actions() -> None:
    request = parse_run(["file", "-n", "find it", "-path", "/", "-name", "x"])
    assert (request.name, request.named) == ("find it", True)
    assert search(request)["names"] == ["x"]


def test_an_action_without_a_name_is_called_like_its_command_line() -> None:
    request = parse_run(["file", "-t", "all", "-path", "/my dir", "-name", "x"], prog="mig")
    assert request.name == "mig file -t all -path '/my dir' -name x"
    assert not request.named


def test_from_the_first_module_flag_on_a_common_name_is_the_modules() -> None:
    request = parse_run(["ping", "-t", "all", "-d", "10.0.0.1", "-t", "3", "-p", "tcp"])
    assert request.target == "all"
    assert request.parameters == {"destination": "10.0.0.1", "timeout": 3, "protocol": "tcp"}
    assert not request.print_action


def test_before_it_a_common_name_is_ours_as_in_mig() -> None:
    assert parse_run(["ping", "-p", "-d", "x"]).print_action


def test_a_flag_of_ours_behind_the_modules_is_taken_where_the_module_has_none_of_that_name() -> None:
    request = parse_run(["file", "-path", "/etc", "-name", "x", "-show", "all", "-t", "all", "-z"])
    assert (request.show, request.target, request.compress) == ("all", "all", True)


def test_a_first_module_flag_with_an_equals_sign_keeps_its_value() -> None:
    assert search(parse_run(["file", "-path=/etc", "-name=x"]))["paths"] == ["/etc"]


def test_the_defaults_are_migs() -> None:
    request = parse_run(["file", "-path", "/etc", "-name", "x"])
    assert (request.show, request.output, request.expire_s, request.target) == ("found", "text", None, None)
    assert search(request)["options"] == {"matchall": True, "maxdepth": 1000, "matchlimit": 1000, "maxerrors": 30}
    assert (request.wait, request.dry_run, request.local, request.sign_only) == (False, False, False, False)


CHEAT_SHEET = [
    (["file", "-t", "environment->>'os'='linux'", "-path", "/etc/passwd", "-mtime", "<2d"], "file"),
    (["file", "-t", "all", "-path", "/proc/", "-name", "cmdline", "-content", "^/sbin/auditd"], "file"),
    (
        ["file", "-t", "tags->>'operator'='IT'", "-path", "/proc", "-name", "^cmdline$", "-maxdepth", "2", "-content", "x"],
        "file",
    ),
    (["file", "-t", "all", "-matchany", "-path", "/sys/devices/", "-name", "^uevent$", "-content", "PRODUCT"], "file"),
    (
        ["file", "-t", "all", "-path", "/home", "-path", "/root", "-name", "^k", "-content", "^((#.+)|(\\s+)?)$",
         "-macroal", "-mismatch", "content"],
        "file",
    ),
    (["ping", "-t", "name LIKE '%scl3%'", "-show", "notfound", "-d", "10.22.75.57", "-p", "icmp"], "ping"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "module"), CHEAT_SHEET)
def test_lines_of_migs_cheat_sheet_work_as_written(words: Any, module: Any) -> None:
    request = parse_run(words, prog="mig")
    assert request.module == module
    assert request.target == words[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no module, and no action file (-i)"),
        (["fil", "-path", "/"], "module 'fil' is not available"),
        (["file", "-pth", "/etc"], "unknown flag -pth of module file; did you mean -path?"),
        (["-path", "/etc", "file"], "unknown flag -path of investigator run"),
        (["file", "-path"], "flag -path needs a value"),
        (["file", "-path", "/etc", "/var"], "'/var' is no flag, and belongs to none"),
        (["file", "-path", "/etc", "-matchall", "false"], "'false' is no flag, and belongs to none"),
        (["file", "-path", "/etc", "--", "x"], "nothing can follow '--', but 'x' does"),
        (["file", "-show", "some", "-path", "/"], "flag -show: 'some' is none of found, notfound, all"),
        (["--output", "xml", "file", "-path", "/"], "flag -output: 'xml' is none of text, json, ndjson, csv"),
        (["-e", "5", "file", "-path", "/", "-name", "x"], "-e: '5' is no duration"),
        (["-e", "0s", "file", "-path", "/", "-name", "x"], "-e 0s: an action that is never valid"),
        (["-e", "-5s", "file", "-path", "/", "-name", "x"], "-e -5s: an action that is never valid"),
        (["-t", "", "file", "-path", "/", "-name", "x"], "-t: an empty target"),
        (["-p", "-s", "file", "-path", "/", "-name", "x"], "-p and -s exclude each other"),
        (["-i", "a.json", "file", "-path", "/"], "with -i the action file says what is asked; 'file' has no place"),
        (["file", "-path", "/", "-i", "a.json"], "a module and an action file (-i): one of the two"),
        (["-i", ""], "-i: an empty path"),
        (["destroy"], "module 'destroy' does not support command line invocation"),
        (["destroy", "-pid", "4"], "module 'destroy' does not support command line invocation"),
        (["ping", "-d", "nowhere"], "destination: nowhere is no place"),
        (
            ["-target-found", "a", "-target-notfound", "b", "file", "-path", "/", "-name", "x"],
            "-target-found and -target-notfound exclude each other",
        ),
    ],
)
def test_what_is_wrong_is_one_clear_line(words: Any, message: Any) -> None:
    with pytest.raises(BadInput) as caught:
        parse_run(words)
    assert str(caught.value) == message


def test_a_bad_regular_expression_has_its_position() -> None:
    with pytest.raises(BadRegex) as caught:
        parse_run(["file", "-path", "/etc", "-name", "ab(c"])
    assert caught.value.position == 2
    assert "at character 3" in str(caught.value)


def test_a_relative_path_is_for_this_machine_only() -> None:
    with pytest.raises(BadParameters, match="'etc' is relative; other hosts have no current folder"):
        parse_run(["file", "-path", "etc", "-name", "x"])
    assert parse_run(["file", "-t", "local", "-path", "etc", "-name", "x"]).local


def test_an_action_file_takes_our_flags_on_both_sides_and_no_module() -> None:
    request = parse_run(["-t", "all", "-i", "a.json", "-show", "all"])
    assert (request.file, request.target, request.module) == (Path("a.json"), "all", None)


@pytest.mark.parametrize(
    "words",
    [["file"], ["file", "help"], ["file", "--help"], ["file", "-h"], ["-t", "all", "file", "-t", "all", "help"]],
)
def test_a_modules_manual_comes_from_its_declaration(words: Any) -> None:
    text = parse_run(words).help
    assert text.startswith("file: ")
    assert "-path PATH" in text
    assert "(repeatable)" in text
    assert "(default 1000)" in text
    assert "examples:" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_module_that_says_so_runs_without_flags_and_its_help_names_its_platforms() -> None:
    assert parse_run(["ping"]).parameters == {}
    assert "say hello (on linux)" in parse_run(["ping", "help"]).help


def test_help_of_the_command_lists_modules_and_our_flags() -> None:
    for words in (["help"], ["--help"], ["-t", "all", "-h"]):
        text = parse_run(words, prog="mig").help
        assert text.startswith("usage: mig ")
        assert f"modules: {', '.join(sorted(MODULES))}" in " ".join(text.split())
        assert "-t, -target TARGET" in text


def test_the_version_needs_no_module() -> None:
    assert parse_run(["-V"]).version


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("1h30m", 5400), ("1.5h", 5400), ("3d", 259_200), ("1d12h", 129_600), ("500ms", 0.5)],
)
def test_lives_are_gos_durations_and_days(text: Any, seconds: Any) -> None:
    assert life_s(text, what="-e") == seconds


@pytest.mark.parametrize("text", ["", "d", "3", "1w", "3d3", "d3h", "3d 2h", "1h3d", "-3d", "٣d", "9" * 50 + "d"])
def test_what_is_no_duration_is_refused(text: Any) -> None:
    with pytest.raises(BadInput, match="is no duration"):
        life_s(text, what="-e")


@given(st.lists(st.one_of(st.text(max_size=8), st.sampled_from(["file", "-path", "-t", "--", "-i", "-name", "help"]))))
def test_any_words_are_a_request_or_a_refusal(words: Any) -> None:
    with contextlib.suppress(BadInput):
        assert isinstance(parse_run(words), RunRequest)
