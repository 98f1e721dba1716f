"""What CONTRIBUTING.md asks of every file, checked."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from investigator import __version__

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/investigator"
TESTS = ROOT / "tests"
SOURCES = sorted(SOURCE.rglob("*.py"))
ALL_PYTHON = [*SOURCES, *sorted(TESTS.rglob("*.py")), *sorted((ROOT / "bench").rglob("*.py")), *sorted((ROOT / "tools").rglob("*.py"))]  # fmt: skip
LEFT_OVER = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3)))


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_every_source_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", ALL_PYTHON, ids=short)
def test_nothing_is_left_for_later(path: Path) -> None:
    assert not LEFT_OVER.search(path.read_text())


@pytest.mark.parametrize("path", sorted((TESTS / "unit").rglob("test_*.py")), ids=short)
def test_every_unit_test_mirrors_a_source_file(path: Path) -> None:
    """`tests/unit/a/test_b.py` or `test_b_more.py` tests `src/investigator/a/b.py`, or the folder `b`.

    Where the name is taken, `test_a_b.py` does; `test_a_more.py` tests the package `a`.
    """
    folder = SOURCE / path.parent.relative_to(TESTS / "unit")
    if folder == SOURCE and path.name in (
        "test_purity.py",
        "test_conventions.py",
        "test_readme.py",
        "test_threat_model.py",
    ):
        return
    words = path.stem.removeprefix("test_").split("_")
    if words[0] == folder.name:
        return
    names = ["_".join(words[:count]) for count in range(1, len(words) + 1)]
    assert any((folder / f"{name}.py").exists() or (folder / name).is_dir() for name in names), (
        f"{folder} has none of {names}"
    )


def test_test_files_have_unique_names() -> None:
    """pytest imports them as top-level modules."""
    names = [path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py"]
    assert sorted(names) == sorted(set(names))


def test_the_version_is_the_changelogs_newest() -> None:
    headings = re.findall(r"^## \[(\d[^\]]*)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == __version__


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").iterdir()), ids=short)
def test_requirements_name_no_index(path: Path) -> None:
    """Where packages come from is for whoever installs; what they must be is fixed by their hashes."""
    text = path.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*(-i\b|-f\b|--(extra-)?index|--find-links|--trusted-host)", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["runtime", "build", "dev"])
def test_every_pin_has_hashes(name: str) -> None:
    pins = re.split(r"\n(?=\S)", (ROOT / f"requirements/{name}.txt").read_text())
    bare = [pin.split()[0] for pin in pins if not pin.startswith("#") and "--hash=sha256:" not in pin]
    assert bare == []


def test_suppressions_name_their_rule() -> None:
    bare = re.compile(r"#\s*(noqa|type:\s*ignore)\s*(#.*)?$", re.MULTILINE)
    assert [short(path) for path in SOURCES if bare.search(path.read_text())] == []


def test_the_zipapps_settings_name_what_there_is() -> None:
    settings = tomllib.loads((ROOT / "shiv.toml").read_text())
    for table in (settings["shiv"], settings["agent-only"]):
        module, _, function = table["entry-point"].partition(":")
        assert callable(getattr(import_module(module), function))
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements/runtime.txt").read_text(), re.MULTILINE)
    contents, agent_only = settings["contents"], settings["agent-only"]
    assert {*contents["build"], *contents["without"], *agent_only["without"]} <= {*pinned}
    assert [path for path in agent_only["keep"] if not (ROOT / "src" / path).is_file()] == []
