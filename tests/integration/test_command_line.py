"""What people type, run as they run it: real processes, no deployment."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PYTHON = [sys.executable, "-m", "investigator"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with something to find, as current folder; the deployment that it names is not there."""
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "dropper.bin").write_text("payload\n")
    return tmp_path


def typed(place: Path, *words: str, stdin: str = "", program: list[str] = PYTHON) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "INVESTIGATOR_HOME": str(place / "nowhere")}
    return subprocess.run(
        [*program, *words], cwd=place, env=environment, input=stdin, capture_output=True, text=True, check=False
    )


def renamed(name: str) -> list[str]:
    """The program, started by one of MIG's names."""
    return [
        sys.executable,
        "-c",
        f"import sys; sys.argv[0] = {name!r}; from investigator.__main__ import main; sys.exit(main())",
    ]


def test_this_machine_is_asked_without_broker_or_key_from_the_current_folder(place: Path) -> None:
    done = typed(place, "run", "-t", "local", "file", "-path", "evidence", "-name", "drop")
    assert done.returncode == 0
    assert f" {place}/evidence/dropper.bin [lastmodified:" in done.stdout
    assert done.stderr.splitlines()[0] == "1 agent has found results"
    assert done.stderr.splitlines()[1].startswith("1 targeted: 1 found in ")


def test_mig_takes_the_same_words_after_its_own_name(place: Path) -> None:
    done = typed(place, "file", "-t", "local", "-path=evidence", "-name", "drop", program=renamed("mig"))
    assert done.returncode == 0
    assert "dropper.bin" in done.stdout


def test_an_action_file_runs_here_too_and_ndjson_is_machine_readable(place: Path) -> None:
    operation = {"module": "file", "parameters": {"Searches": {"s1": {"paths": ["evidence"], "names": ["drop"]}}}}
    (place / "a.json").write_text(json.dumps({"name": "n", "target": "all", "operations": [operation, operation]}))
    done = typed(place, "run", "-i", "a.json", "-t", "local", "--output", "ndjson")
    outcome, summary = (json.loads(line) for line in done.stdout.splitlines())
    assert (done.returncode, done.stderr) == (0, "")
    assert [result["foundanything"] for result in outcome["results"]] == [True, True]
    assert summary["states"] == {"found": 1}


def test_a_deadline_is_an_outcome_with_its_reason_and_exit_code_6(place: Path) -> None:
    done = typed(place, "run", "-t", "local", "-e", "1ms", "file", "-path", "/", "-content", "x")
    assert done.returncode == 6
    assert "timeout: " in done.stderr
    assert "(deadline: " in done.stderr


def test_ctrl_c_leaves_with_130_and_whole_output(place: Path) -> None:
    process = subprocess.Popen(
        [*PYTHON, "run", "-t", "local", "--output", "json", "file", "-path", "/", "-content", "x"],
        cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    begun = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    document = json.loads(begun + process.stdout.read())
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 130
    assert document["summary"]["interrupted"] is True
    assert document["outcomes"][0]["state"] == "cancelled"


def test_a_reader_that_leaves_early_is_no_error(place: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    for words in (["--help"], ["run", "-t", "local", "file", "-path", "evidence", "-name", "drop"]):
        with os.fdopen(os.dup(write_end), "w") as nobody:
            done = subprocess.run(
                [*PYTHON, *words], cwd=place, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False
            )
        assert (done.returncode, done.stderr) == (141, "")
    os.close(write_end)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line_and_exit_code_5(place: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*PYTHON, "run", "-t", "local", "file", "-path", "evidence", "-name", "drop"],
            cwd=place, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 5
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


SIGNED = json.dumps(
    {
        "type": "action",
        "id": "ab" * 16,
        "name": "n",
        "target": "all",
        "condition": [],
        "validfrom": "2026-11-24T03:00:00Z",
        "expireafter": "2026-11-24T04:00:00Z",
        "operations": [{"module": "file", "parameters": {}}],
    }
)
BAD: list[tuple[list[str], int, str]] = [
    (["frobnicate"], 2, "there is no command 'frobnicate'"),
    (["run"], 2, "no module, and no action file (-i)"),
    (["run", "nomodule"], 2, "module 'nomodule' is not available"),
    (["run", "file", "-pathh", "/etc"], 2, "unknown flag -pathh of module file; did you mean -path?"),
    (["run", "file", "-path", "/etc", "-maxdepth", "deep"], 2, "flag -maxdepth: 'deep' is no whole number"),
    (["run", "file", "-path", "/etc", "-maxdepth", "-1"], 2, "options.maxdepth: Expected 'int' >= 0"),
    (["run", "file", "-path", "/etc", "-name", "a**("], 2, "at character "),
    (["run", "file", "-path", "etc", "-name", "x"], 2, "'etc' is relative; other hosts have no current folder"),
    (["run", "-i", "none.json"], 2, "action file none.json: No such file or directory"),
    (["run", "-i", "cut.json"], 2, "cut.json: no JSON: "),
    (["run", "-i", "types.json"], 2, "types.json: operation 1: module file: searches[...].paths"),
    (["run", "file", "-path", "/etc", "-name", "x"], 5, "nowhere/console.toml: No such file or directory"),
    (["run", "-t", "local", "--wait", "file", "-path", "/", "-name", "x"], 2, "-wait has no meaning there"),
    (["run", "-t", "local", "-s", "file", "-path", "/", "-name", "x"], 2, "-s has no meaning there"),
    (["run", "-t", "all", "-i", "signed.json"], 2, "-t: signed.json is signed, and is sent as it is"),
    (["module", "nomodule"], 2, "module 'nomodule' is not available"),
]


@pytest.mark.parametrize(("words", "code", "message"), BAD, ids=[" ".join(words) for words, *_ in BAD])
def test_bad_input_is_one_clear_line_on_stderr_and_its_exit_code(
    place: Path, words: Any, code: Any, message: Any
) -> None:
    (place / "cut.json").write_text('{"name":"n","target":"all","operations":[{"module"')
    operation = {"module": "file", "parameters": {"searches": {"s": {"paths": "/etc"}}}}
    (place / "types.json").write_text(json.dumps({"name": "n", "target": "all", "operations": [operation]}))
    (place / "signed.json").write_text(json.dumps({"v": 1, "action": SIGNED, "pgpsignatures": ["s"]}))
    done = typed(place, *words)
    assert done.returncode == code
    first, *others = done.stderr.splitlines()
    assert first.startswith("investigator: ")
    assert message in first
    assert all(line.startswith("  ") for line in others)


def searched(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    (line,) = done.stdout.splitlines()
    result: dict[str, Any] = json.loads(line)
    assert list(result) == ["foundanything", "success", "elements", "statistics", "errors"]
    return result


def test_module_mode_takes_bare_parameters_and_prints_one_result(place: Path) -> None:
    done = typed(
        place,
        "module",
        "file",
        stdin=json.dumps({"searches": {"s": {"paths": ["evidence"], "names": ["d"]}}}, indent=1),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert searched(done)["elements"]["s"][0]["file"] == f"{place}/evidence/dropper.bin"


def test_module_mode_takes_migs_line_while_the_pipe_stays_open(place: Path) -> None:
    process = subprocess.Popen(
        [*renamed("mig-agent"), "-m", "file", "-d"],
        cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    asked = {"class": "parameters", "parameters": {"searches": {"s": {"paths": ["evidence"], "names": ["d"]}}}}
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["foundanything"] is True
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


def test_mig_agent_prints_text_with_p(place: Path) -> None:
    asked = json.dumps({"searches": {"s": {"paths": ["evidence"], "names": ["drop"]}}})
    done = typed(place, "-p", "-m", "file", stdin=asked, program=renamed("mig-agent"))
    assert "dropper.bin [lastmodified:" in done.stdout
    assert "Statistics: 1 files checked" in done.stdout


@pytest.mark.parametrize(
    ("name", "stdin", "message"),
    [
        ("nomodule", "{}", "module 'nomodule' is not available"),
        ("file", "", "standard input is empty"),
        ("file", '{"searches":{"s":{"pa', "no JSON: "),
        ("file", '{"searches":{"s":{"paths":["/"],"names":[1]}}}', "names[0]: Expected 'str', got 'int'"),
        ("file", '{"searches":{"s":{"paths":["/"],"names":["(a"]}}}', "does not compile: missing ) at character 1"),
        ("file", '{"class":"stop"}', "unexpected input is not module parameters"),
        ("file", "[" * 5000 + "]" * 5000, "no JSON"),
        ("file", '{"searches":{},"searches":{}}', "the key 'searches' stands twice"),
    ],
)
def test_module_mode_says_bad_parameters_in_the_result_and_on_stderr(
    place: Path, name: Any, stdin: Any, message: Any
) -> None:
    done = typed(place, "module", name, stdin=stdin)
    result = searched(done)
    assert done.returncode == 2
    assert (result["success"], result["foundanything"], result["elements"]) == (False, False, None)
    assert message in result["errors"][0]
    assert message in done.stderr.splitlines()[0]


def test_module_mode_stops_reading_at_its_limit(place: Path) -> None:
    code = (
        "import sys; from investigator.cli import module; module.MAX_PARAMETER_BYTES = 100;"
        "from investigator import cli; sys.exit(cli.main(['module', 'file']))"
    )
    done = typed(place, stdin='{"searches":{"' + "x" * 1000 + '":{}}}', program=[sys.executable, "-c", code])
    assert done.returncode == 2
    assert "101 bytes; 100 at most" in done.stderr


def test_the_schema_is_json_schema(place: Path) -> None:
    document = json.loads(typed(place, "module", "file", "--schema").stdout)
    assert document["$ref"] == "#/$defs/Parameters"
    assert "searches" in document["$defs"]["Parameters"]["properties"]


def test_versions_and_help_by_every_name(place: Path) -> None:
    assert typed(place, "--version").stdout.startswith("investigator ")
    assert typed(place, "version", program=renamed("mig")).stdout.startswith("investigator ")
    assert typed(place, "help", program=renamed("mig")).stdout.startswith("usage: mig ")
    assert typed(place, "file", program=renamed("mig")).stdout.startswith("file: ")
    searching = typed(place, program=renamed("mig-agent-search"))
    assert searching.returncode == 2
    assert searching.stderr.startswith("mig-agent-search: mig-agent-search needs a target")
