"""Which Pythons may run a zipapp, and what the others are told."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from investigator._bootstrap import zipapp_main
from investigator._bootstrap.zipapp_main import misfit, running_python

LINUX = "x86_64-linux-gnu"
BUILT_FOR = ("cpython-311", "", LINUX)


def test_the_python_that_builds_can_run_it() -> None:
    assert misfit(running_python(), running_python()) == ""


@pytest.mark.parametrize(
    ("running", "said"),
    [
        (("cpython-312", "", LINUX), "needs CPython 3.11 (this is CPython 3.12, "),
        (("cpython-27", "", ""), "(this is CPython 2.7, "),
        (("pypy311", "", LINUX), "(this is PyPy 3.11, "),
        (("cpython-311", "t", LINUX), "(this is CPython 3.11t, "),
        (("graalpy242-311", "", LINUX), "needs CPython 3.11 (this is graalpy242-"),
    ],
)
def test_another_python_is_named_and_the_right_one_too(running: tuple[str, str, str], said: str) -> None:
    assert said in misfit(BUILT_FOR, running)
    assert misfit(BUILT_FOR, running).endswith("start it with python3.11 FILE")


@pytest.mark.parametrize("platform", ["aarch64-linux-gnu", "x86_64-linux-musl", "darwin"])
def test_another_platform_is_named(platform: str) -> None:
    said = misfit(BUILT_FOR, ("cpython-311", "", platform))
    assert said == f"was built for {LINUX} (this is {platform})"


def test_its_syntax_is_as_old_as_can_be() -> None:
    """Python 2.7 is the judge where there is one (the zipapp's own tests); this says early what it would refuse."""
    path = Path(zipapp_main.__file__)
    new = (ast.JoinedStr, ast.AnnAssign, ast.NamedExpr, ast.AsyncFunctionDef, ast.Nonlocal, ast.Match, ast.Starred)
    for source in (path, path.with_name("__init__.py")):
        text = source.read_text()
        assert text.isascii()
        tree = ast.parse(text)
        assert not [node for node in ast.walk(tree) if isinstance(node, new)]
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.arg) and node.annotation]
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.returns]
        assert "__future__" not in text
