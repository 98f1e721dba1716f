"""Manuals that are written from declarations, and the examples that stand in them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from investigator import cli
from investigator.cli.manual import flags_of, module_help, overview
from investigator.cli.request import GLOBALS
from investigator.modules import MODULES, get_module
from investigator.modules.needs import missing

ROOT = Path(__file__).parents[3]
EXAMPLES = [(name, what, line) for name in sorted(MODULES) for what, line in get_module(name).spec.examples]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_help_and_run_help_are_the_same_manual(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", name]) == 0
    shown = capsys.readouterr().out
    assert cli.main(["run", name, "--help"]) == 0
    assert capsys.readouterr().out == shown
    spec = get_module(name).spec
    assert all(f"-{flag.name}" in shown and flag.help for flag in flags_of(spec).all)
    assert all(len(line) <= 100 or line.startswith("    investigator run") for line in shown.splitlines())
    assert all(need.why.split()[0] in shown for need in spec.needs)


def test_help_alone_lists_the_modules_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help"]) == 0
    shown = capsys.readouterr().out
    assert shown == overview()
    assert all(f"\n  {name} " in shown for name in MODULES)


def test_help_of_a_command_is_that_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "agents"]) == 0
    assert "sage: investigator agents" in capsys.readouterr().out


def test_help_of_what_is_neither_names_the_modules(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["help", "nosuch"]) == 2
    assert "module 'nosuch' is not available" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(MODULES))
def test_the_schema_says_what_it_is_of(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["module", name, "--schema"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["title"], document["description"]) == (name, get_module(name).spec.summary)
    assert "$ref" in document


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_that_has_flags_shows_how_to_use_them(name: str) -> None:
    spec = get_module(name).spec
    assert spec.examples or not flags_of(spec).all
    assert not spec.summary.endswith(".")
    assert spec.summary[0].islower()
    assert f"{spec.name}: " in module_help(spec, flags_of(spec), GLOBALS, prog="mig")


@pytest.mark.parametrize(("name", "what", "line"), EXAMPLES, ids=[f"{name}-{what}" for name, what, _ in EXAMPLES])
def test_every_example_runs_on_this_machine(name: str, what: str, line: str) -> None:
    """Typed in the root of this tree, where the files are that examples name."""
    if missing(get_module(name).spec):
        pytest.skip(str(missing(get_module(name).spec)))
    command = [sys.executable, "-m", "investigator", "run", "-t", "local", name, *shlex.split(line)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, (what, done.stderr)
    assert "did not succeed" not in done.stderr


def test_the_pages_in_docs_are_what_the_declarations_say() -> None:
    """`make docs` writes them."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools/module_pages.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
