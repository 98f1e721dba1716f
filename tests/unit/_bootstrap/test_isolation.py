"""What of the caller's environment reaches the program."""

from __future__ import annotations

import ast
from pathlib import Path

from investigator._bootstrap import isolation


def test_variables_of_python_and_shiv_go_and_others_stay() -> None:
    environ = {
        "PYTHONPATH": "/x",
        "PYTHONHOME": "/x",
        "SHIV_ROOT": "/x",
        "PATH": "/bin",
        "HOME": "/root",
        "XPYTHON": "1",
    }
    isolation.forget(environ)
    assert environ == {"PATH": "/bin", "HOME": "/root", "XPYTHON": "1"}


def test_nothing_is_imported_before_isolation_that_could_be_the_callers() -> None:
    """`os` and `sys` are loaded before any code of ours; whatever else is imported would be looked up on PYTHONPATH."""
    tree = ast.parse(Path(isolation.__file__).read_text())
    at_top = [alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names]
    assert at_top == ["os", "sys"]
