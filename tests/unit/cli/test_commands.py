"""The table of commands."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from typing import Any

import pytest

from investigator import cli
from investigator.cli.commands import COMMANDS


def test_every_command_of_the_table_is_there_and_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in COMMANDS.items():
        module, _, attribute = command.place.partition(":")
        assert getattr(import_module(module), attribute) is not None
        assert cli.main([name, "--help"]) == 0
        assert "sage: investigator " in capsys.readouterr().out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"\n  {name} " in out and command.summary in out for name, command in COMMANDS.items())


def test_help_loads_no_command_no_event_loop_and_no_slow_library() -> None:
    code = (
        "import sys; from investigator import cli; assert cli.main(['--help']) == 0;"
        "print(*[name for name in sys.modules if name.split('.')[0] in {"
        "'asyncio','rich','pydantic','msgspec','orjson','nats','pgpy','cryptography','sqlglot','re2','psutil'}"
        " or name.startswith('investigator.') and name not in {'investigator.cli','investigator.cli.commands',"
        "'investigator.cli.light','investigator.errors'}], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.split() == []


def test_a_command_with_plain_options_loads_no_pydantic() -> None:
    code = (
        "import sys; from investigator import cli;"
        "code = cli.main(['agent', '--home', '/nowhere', '--tag', 'x', '--name', 'n']);"
        "print(code, 'pydantic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert done.stderr == "investigator: --tag 'x': not of the form key=value\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["agnts"], "investigator: there is no command 'agnts'; did you mean 'agents'?"),
        (["--nonsense"], "investigator: no such option: --nonsense"),
        (["agents", "--nonsense"], "investigator: no such option: --nonsense"),
        (["agents", "--output", "xml"], "investigator: invalid value for '--output': 'xml' is not one of 'text'"),
        (["agent", "--state"], "investigator: option '--state' requires an argument"),
        (["target"], "investigator: missing argument 'CONDITION'"),
        (["init", "--port", "70000"], "investigator: invalid value for '--port': "),
    ],
)  # fmt: skip
def test_usage_errors_are_one_line_in_our_style_and_exit_2(
    capsys: pytest.CaptureFixture[str], words: Any, message: Any
) -> None:
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith(message)
    assert len(err.splitlines()) <= 2


def test_without_a_command_the_help_is_on_stderr_and_it_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Commands:" in err


def test_a_command_that_is_interrupted_exits_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("investigator.cli.run.parse_run", interrupted)
    assert cli.main(["run", "file"]) == 130
    assert capsys.readouterr().err == ""
