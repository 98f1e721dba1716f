"""The process module, asked as a worker asks it, about processes that the test starts."""

import hashlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from investigator.errors import BadInput, BadParameters, BadRegex
from investigator.modules.interface import MASK, Context, load_parameters
from investigator.modules.process import MODULE
from investigator.modules.process.checks import make_plans
from investigator.modules.process.elsewhere import PsutilHost
from investigator.modules.process.hunt import search
from investigator.modules.process.looking import shown_files
from victims import python

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
SECRET = "hunter2-of-the-launch"
EXECUTABLE = os.path.realpath(sys.executable)


def run(searches, **context):
    """The result's JSON."""
    result = MODULE.run(load_parameters(MODULE, {"searches": searches}), Context(**context))
    return orjson.loads(orjson.dumps(msgspec.structs.asdict(result)))


def ask(**asked):
    options = {"matchall": True, **asked.pop("options", {})}
    return run({"s1": {**asked, "options": options}})


def found(result, label="s1"):
    return {element["process"]["pid"]: element["process"] for element in result["elements"][label]}


@linux
def test_a_process_is_found_by_each_of_its_facts(tmp_path):
    file = tmp_path / "held open"
    with python(f"f = open({str(file)!r}, 'w')\nprint('x')", name=["--token", SECRET]) as victim:
        sha256 = hashlib.sha256(Path(EXECUTABLE).read_bytes()).hexdigest()
        questions: list[dict[str, Any]] = [
            {"names": ["^python"]},
            {"cmdlines": [f"--token {SECRET[:9]}"]},
            {"exes": [f"^{EXECUTABLE}$"]},
            {"users": [str(os.geteuid())]},
            {"users": ["^"]},
            {"parents": [str(os.getpid())]},
            {"parents": [Path("/proc/self/exe").resolve().name]},
            {"pids": [str(victim.pid)]},
            {"openfiles": ["held open$"]},
            {"started": ["<10m"]},
            {"started": ["<10m"], "names": ["!^nginx$"]},
            {"sha2": [sha256]},
            {"md5": [hashlib.md5(Path(EXECUTABLE).read_bytes()).hexdigest()], "exes": ["python"]},
        ]
        for question in questions:
            result = ask(**question)
            assert result["success"]
            assert result["foundanything"]
            assert victim.pid in found(result), question
            assert SECRET not in orjson.dumps(result).decode()
        wrong: list[dict[str, Any]] = [
            {"names": ["^nginx$"]}, {"cmdlines": ["--token$"]}, {"exes": ["!python"]}, {"parents": ["1"]},
            {"openfiles": ["held$"]}, {"openfiles": ["!held open$"]}, {"started": [">10m"]}, {"sha2": ["0" * 64]}, {"deleted": True},
        ]  # fmt: skip
        for question in wrong:
            assert victim.pid not in found(ask(**question)), question


@linux
def test_a_result_says_what_there_is_to_know_of_a_process_but_not_its_arguments(tmp_path):
    file = tmp_path / "held open"
    with python(f"f = open({str(file)!r}, 'w')\nprint('x')", name=["--token", SECRET]) as victim:
        result = ask(pids=[str(victim.pid)], openfiles=["held"], cmdlines=["token"], options={"returnsha256": True})
        shown = found(result)[victim.pid]
        assert abs(time.time() - Path(f"/proc/{victim.pid}").stat().st_mtime) < 600
    started = shown.pop("started")
    assert started.endswith(" +0000 UTC")
    assert started.startswith("20")
    assert shown.pop("parent")
    assert shown.pop("user")
    assert shown == {
        "name": Path(sys.executable).name,
        "pid": victim.pid,
        "exe": EXECUTABLE,
        "uid": os.geteuid(),
        "ppid": os.getpid(),
        "openfiles": [str(file)],
        "sha256": hashlib.sha256(Path(EXECUTABLE).read_bytes()).hexdigest().upper(),
    }
    assert result["statistics"]["totalhits"] == 1
    assert result["statistics"]["processcount"] > 1


@linux
def test_a_deleted_executable_is_named_and_hashed(tmp_path):
    program = shutil.copy(EXECUTABLE, tmp_path / "a bad thing")
    sha256 = hashlib.sha256(Path(program).read_bytes()).hexdigest().upper()
    with python("print('x')", program=str(program)) as victim:
        assert victim.pid not in found(ask(deleted=True))
        Path(program).unlink()
        result = ask(deleted=True, sha2=[sha256], exes=["a bad thing$"], options={"returnsha256": True})
        shown = found(result)[victim.pid]
        assert (shown["exe"], shown["deleted"], shown["sha256"]) == (str(program), True, sha256)
        assert shown["name"] == "a bad thing"


@linux
def test_an_executable_that_is_only_called_deleted_is_not(tmp_path):
    program = shutil.copy(EXECUTABLE, tmp_path / "x (deleted)")
    with python("print('x')", program=str(program)) as victim:
        assert victim.pid not in found(ask(deleted=True))
        shown = found(ask(pids=[str(victim.pid)]))[victim.pid]
        assert shown["exe"] == str(program)
        assert "deleted" not in shown


@linux
def test_names_in_any_bytes_come_back_losslessly_and_a_pretended_name_does_not_hide_the_executable(tmp_path):
    program = f"{tmp_path}/caf\udce9\n"
    shutil.copy(EXECUTABLE, program)
    code = "import ctypes\nctypes.CDLL(None).prctl(15, b'kworker/0:0', 0, 0, 0)\nprint('x')"
    with python(code, program=program) as victim:
        shown = found(ask(pids=[str(victim.pid)], exes=["caf.\n$"], names=["^kworker"]))[victim.pid]
        assert shown["exe"] == f"$'{tmp_path}/caf\\xe9\\n'"
        assert shown["name"] == "kworker/0:0"
        result = ask(pids=[str(victim.pid)])
        assert len(next(iter(MODULE.lines(result, everything=False))).splitlines()) == 1


@linux
def test_each_check_reports_its_own_under_matchany():
    with python("print('x')") as victim:
        pid = str(victim.pid)
        result = run({"s1": {"pids": [pid, "4194304"], "parents": [str(os.getpid())], "exes": ["^nowhere$"]}})
        elements = [(one["search"], one["process"]["pid"]) for one in result["elements"]["s1"]]
    mine = [one for one in elements if one[1] in (0, victim.pid)]  # not what tests before this one left to be reaped
    assert mine == [
        ({"exes": ["^nowhere$"], "options": {}}, 0),
        ({"parents": [str(os.getpid())], "options": {}}, victim.pid),
        ({"pids": [pid], "options": {}}, victim.pid),
        ({"pids": ["4194304"], "options": {}}, 0),
    ]


@linux
def test_who_was_given_the_pattern_itself_does_not_match_it():
    mine = b" ".join(Path("/proc/self/cmdline").read_bytes().split(b"\0")).decode()
    word = max(mine.split(), key=len)
    assert os.getpid() not in found(ask(cmdlines=[word]))
    other = word[:-1] + "[" + word[-1] + "]"
    if word[-1].isalnum():
        assert os.getpid() in found(ask(cmdlines=[other]))


@linux
def test_a_limit_and_the_room_for_a_result_are_kept_and_said():
    result = ask(names=["."], options={"matchlimit": 1})
    assert len(result["elements"]["s1"]) == 1
    assert "warning: search 's1' reached its limit of 1 matches; there may be more" in result["errors"]
    result = run({"s1": {"names": ["."], "options": {"matchall": True}}}, result_bytes=(1 << 20) + 700)
    assert len(result["elements"]["s1"]) < result["statistics"]["totalhits"]
    assert any("than a result can hold" in text for text in result["errors"])


@linux
def test_at_its_deadline_a_run_answers_with_what_it_has():
    result = run({"s1": {"names": ["."], "options": {"matchall": True}}}, deadline_s=time.monotonic())
    assert result["success"]
    assert any("the time was up before" in text for text in result["errors"])


@pytest.mark.parametrize(
    ("asked", "kind", "text"),
    [
        ({}, BadParameters, "module process: parameters: Object missing required field 'searches'"),
        ({"searches": {}}, BadParameters, "searches: at least one search is needed"),
        ({"searches": {"s1": {}}}, BadParameters, "searches.s1: nothing to search for"),
        ({"searches": {"s 1": {"names": ["x"]}}}, BadParameters, "searches: label 's 1'"),
        ({"searches": {"s1": {"name": ["x"]}}}, BadParameters, "did you mean 'names'?"),
        ({"searches": {"s1": {"names": ["("]}}}, BadRegex, "searches.s1.names: regular expression '('"),
        ({"searches": {"s1": {"names": [""]}}}, BadParameters, "searches.s1.names: an empty value"),
        ({"searches": {"s1": {"pids": ["0"]}}}, BadParameters, "searches.s1.pids: '0' is no process id"),
        ({"searches": {"s1": {"pids": ["x"]}}}, BadParameters, "searches.s1.pids: 'x' is no process id"),
        ({"searches": {"s1": {"started": ["2h"]}}}, BadParameters, "searches.s1.started: '2h' is no period"),
        ({"searches": {"s1": {"sha2": ["abc"]}}}, BadParameters, "searches.s1.sha2: 'abc' is no sha2 in hex"),
        ({"searches": {"s1": {"names": ["x"], "options": {"matchlimit": -1}}}}, BadParameters, "matchlimit"),
        ({"searches": {"s1": {"names": ["x"] * 1001}}}, BadParameters, "1,001 values to check; 1,000 at most"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(asked, kind, text):
    with pytest.raises(BadInput) as refusal:
        load_parameters(MODULE, asked)
    assert isinstance(refusal.value, kind)
    assert text in str(refusal.value)
    assert "\n" not in str(refusal.value)


PROCESS = {
    "name": "x", "pid": 77, "exe": "/tmp/x", "deleted": True, "user": "root", "uid": 0, "realuser": "ada", "ppid": 7,
    "parent": "sh", "started": "2026-11-24 03:00:00 +0000 UTC", "sha256": "AB" * 32, "openfiles": ["/tmp/a b", "/tmp/c"],
}  # fmt: skip
RESULT: dict[str, Any] = {
    "foundanything": True,
    "success": True,
    "elements": {
        "s1": [
            {"process": PROCESS, "search": {"names": ["x"], "options": {"matchall": True}}},
        ],
        "s2": [
            {"process": {"name": "", "pid": 0}, "search": {"pids": ["8"], "options": {}}},
            {"process": {"name": "", "pid": 0}, "search": {"deleted": ["true"], "options": {}}},
        ],
    },
    "statistics": {"processcount": 12, "totalhits": 1, "exectime": "1.5ms"},
    "errors": ["could not read the executable of process 9: permission denied", "warning: the time was up"],
}
FOUND = (
    "x [pid:77, exe:/tmp/x (deleted), user:root (really ada), started:2026-11-24 03:00:00 +0000 UTC, parent:sh(7), "
    f"sha256:{'ab' * 32}, open:/tmp/a b /tmp/c] in search 's1'"
)


def test_lines_are_in_the_manner_of_migs_other_modules():
    assert list(MODULE.lines(RESULT, everything=False)) == [FOUND, "warning: the time was up"]
    assert list(MODULE.lines(RESULT, everything=True)) == [
        FOUND,
        "0 match found in search 's2' on checks pid='8'",
        "0 match found in search 's2' on checks deleted='true'",
        "could not read the executable of process 9: permission denied",
        "warning: the time was up",
        "Statistics: 12 processes checked, 1 matched, ran in 1.5ms.",
    ]


def test_in_privacy_mode_a_result_names_nobody():
    parameters = load_parameters(MODULE, {"searches": {"s1": {"names": ["x"]}}})
    masked = MODULE.masked(RESULT, parameters)
    process = masked["elements"]["s1"][0]["process"]
    hidden = {"name", "exe", "user", "realuser", "parent"}
    assert {key for key, value in process.items() if value == MASK} == hidden
    assert process["openfiles"] == [MASK, MASK]
    assert "uid" not in process
    assert (process["pid"], process["sha256"], process["started"]) == (77, "AB" * 32, PROCESS["started"])
    assert masked["errors"] == [MASK, MASK]
    assert masked["elements"]["s2"] == RESULT["elements"]["s2"]
    assert next(iter(MODULE.lines(masked, everything=True))).startswith(
        "masked [pid:77, exe:masked (deleted), user:masked"
    )


def test_many_open_files_are_cut_and_counted():
    shown = shown_files([b"/%03d" % number for number in range(103)])
    assert (shown[0], shown[-1], len(shown)) == ("/000", "... and 3 more", 101)


class Recorded:
    """psutil, as it answered on macOS, for three processes."""

    class Error(Exception):
        pass

    class NoSuchProcess(Error):
        pass

    class AccessDenied(Error):
        pass

    def __init__(self, executable):
        self._processes = {
            1: {"name": "launchd", "ppid": 0, "create_time": 1700000000.25, "username": "root", "exe": "/sbin/launchd"},
            40: {"name": "nc", "ppid": 1, "create_time": 1700000100.5, "username": "ada", "exe": executable},
        }

    def pids(self):
        return [40, 1, 41]

    def Process(self, pid=None):  # noqa: N802
        if pid not in self._processes and pid is not None:
            raise self.NoSuchProcess
        return RecordedProcess(self, pid or 1, self._processes[pid or 1])


class RecordedProcess:
    def __init__(self, psutil, pid, answers):
        self.pid = pid
        self._psutil = psutil
        for name, answer in answers.items():
            setattr(self, name, lambda answer=answer: answer)

    def oneshot(self):
        import contextlib

        return contextlib.nullcontext()

    def cmdline(self):
        if self.pid == 1:
            raise self._psutil.AccessDenied
        return ["nc", "-l", SECRET]

    def open_files(self):
        return []

    def cwd(self):
        return "/Users/ada"

    def parents(self):
        return []

    def children(self, recursive):
        return []


def test_elsewhere_psutil_tells(tmp_path):
    program = tmp_path / "nc"
    program.write_bytes(b"x")
    parameters = load_parameters(
        MODULE,
        {"searches": {"s1": {"users": ["ada"], "parents": ["launchd"], "openfiles": ["ada$"], "options": {"matchall": True}},
                      "s2": {"cmdlines": ["-l hunter"], "md5": [hashlib.md5(b"x").hexdigest()], "options": {"matchall": True}}}},
    )  # fmt: skip
    result = search(make_plans(parameters.searches), Context(), PsutilHost(Recorded(str(program))))
    for label in ("s1", "s2"):
        shown = result.elements[label][0]["process"]
        assert (shown["name"], shown["pid"], shown["exe"], shown["parent"]) == ("nc", 40, str(program), "launchd")
        assert shown["started"] == "2023-11-14 22:15:00.5 +0000 UTC"
    assert SECRET not in str(result)
    assert result.statistics["processcount"] == 2
    assert result.errors == ["could not read the command line of process 1: permission denied"]


@linux
@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to become somebody else")
def test_what_may_not_be_read_is_said_once_for_all_and_holds_neither_way():
    with python("print('x')") as victim:
        os.seteuid(65534)
        try:
            result = run({"s1": {"exes": ["python", "!nothing like it"]}})
        finally:
            os.seteuid(0)
    assert victim.pid not in found(result)
    texts = [text for text in result["errors"] if text.startswith("could not read the executable of ")]
    assert len(texts) == 1
    assert texts[0].endswith(": permission denied")
    assert 2 not in found(result)


@pytest.mark.parametrize("field", ["users", "parents", "pids"])
def test_a_number_of_thousands_of_digits_breaks_nothing(field):
    question = {"searches": {"s1": {field: ["1" * 5000]}}}
    if field == "pids":
        with pytest.raises(BadParameters, match="is no process id"):
            load_parameters(MODULE, question)
    else:
        assert load_parameters(MODULE, question)  # a regular expression like any other
