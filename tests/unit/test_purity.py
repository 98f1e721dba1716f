"""`protocol` is pure: no event loop, no clock, no socket, no file, so that each rule in it can be tested by itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PROTOCOL = Path(__file__).parents[2] / "src/investigator/protocol"
FILES = sorted(PROTOCOL.rglob("*.py"))
IMPURE = frozenset(
    [
        "aiosqlite",
        "asyncio",
        "concurrent",
        "fcntl",
        "glob",
        "http",
        "io",
        "logging",
        "mmap",
        "multiprocessing",
        "nats",
        "os",
        "pathlib",
        "pgpy",
        "psutil",
        "random",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uvloop",
    ]
)
EXCEPT = {"regex.py": "os.fsencode", "values.py": "sys.float_info"}
"""Pure parts of impure modules: file names that are no UTF-8, as RE2 is to read them; the limits of a float8."""
CLOCKS = frozenset(("now", "utcnow", "today", "time", "monotonic", "perf_counter"))
IMPURE_BUILTINS = frozenset(("open", "print", "input", "breakpoint", "exec", "eval", "__import__"))


def impurities(path: Path, source: str) -> list[str]:
    """What the file imports or calls that is not pure, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call):
            names = []
            called = node.func
            if isinstance(called, ast.Name) and called.id in IMPURE_BUILTINS:
                found.append(f"line {node.lineno}: calls {called.id}")
            if isinstance(called, ast.Attribute) and called.attr in CLOCKS:
                found.append(f"line {node.lineno}: reads the clock, {ast.unparse(called)}")
        else:
            continue
        found += [f"line {node.lineno}: imports {name}" for name in names if name.partition(".")[0] in IMPURE]
    pure = EXCEPT.get(path.name)
    if pure and f"import {pure.partition('.')[0]}\n" in source:
        module = pure.partition(".")[0]
        found = [line for line in found if not line.endswith(f"imports {module}")]
        used = {ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)}
        found += [
            f"uses {name}"
            for name in used
            if f"{name}.".startswith(f"{module}.") and not f"{name}.".startswith(f"{pure}.")
        ]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PROTOCOL)))
def test_protocol_is_pure(path: Path) -> None:
    assert impurities(path, path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "import time",
        "import os.path",
        "from os import environ",
        "from asyncio import run",
        "datetime.now(UTC)",
        "datetime.datetime.utcnow()",
        "date.today()",
        "open('x')",
        "def f():\n    import socket",
    ],
)
def test_what_is_not_pure_is_seen(line: str) -> None:
    assert len(impurities(PROTOCOL / "action.py", line)) == 1


def test_the_exception_is_one_function() -> None:
    assert impurities(PROTOCOL / "regex.py", "import os\nos.fsencode('x')") == []
    assert impurities(PROTOCOL / "regex.py", "import os\nos.unlink('x')") == ["uses os.unlink"]
