"""The words of `investigator agent`, which are read without typer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from investigator import cli
from investigator.cli.agent import AGENT, STATUS, agent
from investigator.errors import BadInput


def test_the_help_names_every_option() -> None:
    for command in (AGENT, STATUS):
        text = command.help()
        assert text.startswith(f"Usage: investigator {command.name} [OPTIONS]")
        assert all(f"--{option.name}" in text and option.summary in text for option in command.options)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tag", "=v"], "--tag '=v': not of the form key=value"),
        (["--verbose", "status"], r"got unexpected extra argument \(status\)"),
        (["status", "--prometheus", "--json"], "--prometheus and --json: one of the two"),
        (["status", "--tag", "a=b"], "no such option: --tag"),
    ],
)
def test_what_it_does_not_take_is_named(words: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        agent(words)


def test_it_is_reached_through_typer_too(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cli.DEBUG, "")  # --debug sets it for good
    assert cli.main(["--debug", "agent", "--help"]) == 0
    assert capsys.readouterr().out == AGENT.help()
    assert cli.main(["help", "agent"]) == 0
    assert capsys.readouterr().out == AGENT.help()
    assert cli.main(["--debug", "agent", "status", "--help"]) == 0
    assert capsys.readouterr().out == STATUS.help()


def test_an_error_of_it_loads_no_typer() -> None:
    code = (
        "import sys; from investigator import cli;"
        "print(cli.main(['agent', '--home', '/nowhere', '--name', 'n']), 'typer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "False"]
    assert done.stderr.startswith("investigator: ")
