"""docs/modules/writing.md, done as it says, in a copy of the tree."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/modules/writing.md"
COPIED = ("src", "tests/conftest.py", "tests/real_broker.py", "tests/scene.py", "tests/signed.py", "tests/secret_scenarios.py", "tests/unit/modules", "tools", "docs/modules", "pyproject.toml", "Makefile")  # fmt: skip
BLOCK = re.compile(r"(?:^`([^`\n]+)`[^\n]*:\n\n)?^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def copied(to: Path) -> Path:
    for name in COPIED:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, to / name)
    return to


def run(command: str, tree: Path, commands: Path) -> subprocess.CompletedProcess[str]:
    """A line of the page; what `make docs` would check of its own surroundings first is left out."""
    if command == "make docs":
        command = re.search(r"^docs:.*\n\t\$\(BIN\)/(.*)$", (tree / "Makefile").read_text(), re.MULTILINE)[1]  # type: ignore[index]
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    # Without a place of its own, the inner pytest tidies up what earlier sessions left behind, however long that takes.
    kept["PYTEST_DEBUG_TEMPROOT"] = str(tree.parent)
    path = f"{commands}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=tree,
        env={**kept, "PATH": path, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_newcomer_adds_a_module_with_one_file_one_line_and_one_test(tmp_path: Path) -> None:
    tree = copied(tmp_path / "tree")
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, module in (("investigator", "investigator"), ("pytest", "pytest"), ("python", "")):
        (commands / name).write_text(f'#!/bin/sh\nexec {sys.executable} {module and f"-m {module}"} "$@"\n')
        (commands / name).chmod(0o755)
    said: dict[str, str] = {}
    for place, language, block in BLOCK.findall(PAGE.read_text()):
        if language == "sh":
            for line in block.splitlines():
                done = run(line, tree, commands)
                assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
                said[line] = done.stdout
        elif (tree / place).exists():  # a line among others
            text = (tree / place).read_text()
            assert text.count("= {\n") == 1
            (tree / place).write_text(text.replace("= {\n", "= {\n" + block))
        else:
            (tree / place).write_text(block)
    assert len(said) == 7
    assert re.search(r"^\S+ up for .*s, since 20", said["investigator run -t local uptime"], re.MULTILINE)
    assert "-atleast D" in said["investigator help uptime"]
    assert '"foundanything":true' in said["""echo '{"atleast": "1s"}' | investigator module uptime"""]
    assert all(" passed" in text for line, text in said.items() if line.startswith("pytest"))
    assert "# uptime" in (tree / "docs/modules/uptime.md").read_text()
    linted = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "src/investigator/modules/uptime.py"],
        cwd=tree, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert linted.returncode == 0, linted.stdout
