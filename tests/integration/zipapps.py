"""Zipapps for tests, each built once for all workers, and the Pythons of this host that may run them."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
SERVED = ("3.11", "3.12", "3.13", "3.14")
OWN = f"3.{sys.version_info[1]}"


def build(tmp_path_factory: pytest.TempPathFactory, name: str, *words: str) -> Path:
    """`tools/zipapp.py WORDS`, by whoever asks first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_TESTRUNUID" in os.environ else base
    built = shared / name
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            run_tool(ROOT, "--output", str(built), *words)
    return built


def run_tool(tree: Path, *words: str) -> str:
    """Build from that tree; what the tool said."""
    command = [sys.executable, str(tree / "tools/zipapp.py"), *words]
    done = run(command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that is console and agent, for the versions that can be tried here."""
    return build(tmp_path_factory, "investigator.pyz", "--pythons", " ".join(pythons()))


@cache
def pythons() -> dict[str, str]:
    """The interpreters found here by version, the served ones only; the one that runs the tests is always among them."""
    found = {OWN: os.path.realpath(sys.executable)}
    for version in SERVED:
        paths = [*sorted(Path.home().glob(f".pyenv/versions/{version}*/bin/python")), *_on_path(f"python{version}")]
        for path in paths:
            if version not in found and _is_fit(path, version):
                found[version] = str(path)
    return dict(sorted(found.items()))


def run(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in the foreground."""
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=150, **options)


@cache
def can_unshare() -> bool:
    """Whether root's place, which is fixed, can be a tmpfs for a test."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/var/lib"]
    try:
        return os.geteuid() == 0 and run(command).returncode == 0
    except FileNotFoundError:
        return False


def program(python: str, file: Path) -> list[str]:
    """The command that starts the file, and leaves nothing in root's place; others have XDG_CACHE_HOME."""
    command = [python, "-sES", str(file)]
    if os.geteuid() != 0:
        return command
    if not can_unshare():
        pytest.skip("root may not mount in a namespace here")
    return ["unshare", "-m", "sh", "-c", 'mount -t tmpfs -o mode=755 tmpfs /var/lib && exec "$@"', "sh", *command]


def _on_path(name: str) -> list[Path]:
    folders = os.environ.get("PATH", "").split(os.pathsep)
    return [path for folder in folders if folder and (path := Path(folder, name)).exists()]


def _is_fit(path: Path, version: str) -> bool:
    """Whether it is that version of CPython, with threads as usual, and not a shim for one that is not there."""
    asked = "import sys; print(sys.implementation.cache_tag, sys.abiflags)"
    done = run([path, "-sES", "-c", asked])
    return done.stdout.split() == ["cpython-" + version.replace(".", "")]
