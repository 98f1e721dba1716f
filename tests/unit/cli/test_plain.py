"""Words that are read without typer."""

from __future__ import annotations

import pytest

from investigator.cli.plain import Option, PlainCommand
from investigator.errors import BadInput

COMMAND = PlainCommand(
    "brew",
    "Make tea.",
    (Option("milk", "ML", "How much."), Option("out", "FILE", "Where.", "o"), Option("hot", "", "", "v")),
)


def test_options_are_understood_in_any_order_and_all_of_them_are_told() -> None:
    words = ["--milk", "1", "-v", "--milk=a=b", "-o", "-", "-ox", "--hot", "--help"]
    pairs = [("milk", "1"), ("hot", ""), ("milk", "a=b"), ("out", "-"), ("out", "x"), ("hot", ""), ("help", "")]
    assert COMMAND.read(words) == pairs
    assert COMMAND.read([]) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nonsense"], "no such option: --nonsense"),
        (["-x"], "no such option: -x"),
        (["--milk"], "option '--milk' requires an argument"),
        (["-o"], "option '-o' requires an argument"),
        (["--hot=yes"], "option '--hot' does not take a value"),
        (["tea"], r"got unexpected extra argument \(tea\)"),
        (["--", "--hot"], r"got unexpected extra argument \(--hot\)"),
    ],
)
def test_what_it_does_not_take_is_named(words: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        COMMAND.read(words)
    assert caught.value.hint == "`investigator brew --help` says what there is."


def test_the_help_is_in_columns() -> None:
    assert (
        COMMAND.help()
        == """Usage: investigator brew [OPTIONS]

  Make tea.

Options:
  --milk ML       How much.
  -o, --out FILE  Where.
  -v, --hot       \n  --help          Show this message and exit.
"""
    )
