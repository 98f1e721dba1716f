"""The words of `investigator agent`, which are read without typer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from investigator import cli
from investigator.cli.agent import OPTIONS, help_text, parse
from investigator.errors import BadInput


def test_every_option_is_understood_and_the_last_one_counts() -> None:
    words = ["--home", "/d", "--name=a", "--tag", "k=v=w", "--tag", "l=", "--state", "/s", "-v", "--name", "b"]
    given, tags = parse(words)
    assert given == {"home": "/d", "name": "b", "state": "/s", "verbose": ""}
    assert tags == {"k": "v=w", "l": ""}


def test_the_help_names_every_option() -> None:
    text = help_text()
    assert text.startswith("Usage: investigator agent [OPTIONS]\n\n  Run this host's agent until Ctrl-C or SIGTERM.\n")
    assert all(f"--{name}" in text and summary in text for name, _, summary in OPTIONS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nonsense"], "no such option: --nonsense"),
        (["-x"], "no such option: -x"),
        (["--state"], "option '--state' requires an argument"),
        (["--verbose=yes"], "option '--verbose' does not take a value"),
        (["file"], r"got unexpected extra argument \(file\)"),
        (["--tag", "=v"], "--tag '=v': not of the form key=value"),
    ],
)
def test_what_it_does_not_take_is_named(words: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse(words)


def test_it_is_reached_through_typer_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(cli.DEBUG, "")  # --debug sets it for good
    assert cli.main(["--debug", "agent", "--help"]) == 0
    assert capsys.readouterr().out == help_text()
    assert cli.main(["help", "agent"]) == 0
    assert capsys.readouterr().out == help_text()


def test_an_error_of_it_loads_no_typer() -> None:
    code = (
        "import sys; from investigator import cli;"
        "print(cli.main(['agent', '--home', '/nowhere', '--name', 'n']), 'typer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["5", "False"]
    assert done.stderr.startswith("investigator: ")
