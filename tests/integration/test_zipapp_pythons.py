"""The one file as console, broker and agent under each CPython that it serves, and what else is built from it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from typing import TYPE_CHECKING, Any, Final

import pytest
import zipapps
from deployment import Deployment

from investigator._bootstrap.zipapp_main import running_python

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "linux":
    pytest.skip("the file is built for Linux here", allow_module_level=True)

pytestmark = pytest.mark.timeout(400)  # a build that others wait for, on a busy machine
NOT_FOUND = "there is no CPython {} here: the zipapp was NOT TRIED with it"


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zipapps.whole(tmp_path_factory)


@pytest.fixture(scope="session")
def agent_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zipapps.build(tmp_path_factory, "agent.pyz", "--agent-only", "--pythons", zipapps.OWN)


def others() -> list[Any]:
    """The versions beside the one that runs the tests, which test_zipapp.py tries; those not found are named."""
    found = zipapps.pythons()
    missing = [version for version in zipapps.SERVED if version not in found]
    return [
        *(pytest.param(python, id=version) for version, python in found.items() if version != zipapps.OWN),
        *(pytest.param("", id=version, marks=pytest.mark.skip(NOT_FOUND.format(version))) for version in missing),
    ]


@pytest.mark.parametrize("python", others())
def test_broker_agents_workers_and_console_run_from_the_one_file(zipapp: Path, python: str, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = zipapps.run([*zipapps.program(python, zipapp), "demo"], env=environment, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "/etc/passwd" in done.stdout


def test_the_file_that_is_agent_only_is_an_agent(agent_only: Path, tmp_path: Path) -> None:
    with Deployment(tmp_path / "home") as deployment:
        deployment.broker()
        settings = deployment.home / "agent.toml"
        settings.write_text(settings.read_text() + '\n[modules.fswatch]\npaths = ["/etc/passwd"]\n')
        command = zipapps.program(zipapps.pythons()[zipapps.OWN], agent_only)
        agent = deployment.start("agent", "--name", "x", program=command)
        agent.until("connected")
        answer = deployment.ask("file", "--path", "/etc", "--name", "^passwd$")
        assert answer.states == {"x": "found"}, answer
        told = deployment.call("agents", "--output", "json")
        modules = json.loads(told.stdout)[0]["environment"]["modules"]
        assert {"yara", "memory", "netstat", "fswatch"} <= {*modules}


@pytest.mark.parametrize("words", [["run", "file"], ["broker"], ["--debug", "agents"], []])
def test_the_file_that_is_agent_only_says_so(agent_only: Path, words: list[str], tmp_path: Path) -> None:
    command = zipapps.program(zipapps.pythons()[zipapps.OWN], agent_only)
    done = zipapps.run([*command, *words], env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]})
    wanted = (words or ["investigator"])[0]
    assert done.stderr == f"investigator: this file is the agent only: '{wanted}' is in the whole investigator.pyz\n"
    assert (done.stdout, done.returncode) == ("", 5)


def test_the_same_sources_in_another_folder_give_the_same_bytes(agent_only: Path, tmp_path: Path) -> None:
    tree = tmp_path / "another folder"
    for name in ("requirements", "src", "tools"):
        shutil.copytree(zipapps.ROOT / name, tree / name)
    for name in ("pyproject.toml", "README.md", "LICENSE", "shiv.toml"):
        shutil.copy2(zipapps.ROOT / name, tree / name)
    zipapps.run_tool(tree, "--agent-only", "--pythons", zipapps.OWN, "--output", str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == agent_only.read_bytes()


def test_the_files_are_as_small_as_promised(zipapp: Path, agent_only: Path) -> None:
    shared, own = sizes(zipapp)
    assert shared + max(own.values()) <= 35e6
    assert shared + 4 * max(own.values()) <= 60e6
    shared, own = sizes(agent_only)
    assert shared + 4 * max(own.values()) <= 25e6


def sizes(zipapp: Path) -> tuple[int, dict[str, int]]:
    """Bytes in the file that all versions need, and those that each one needs beside them."""
    own = {"": 0}
    with zipfile.ZipFile(zipapp) as archive:
        for entry in archive.infolist():
            folder = entry.filename.partition("/")[0]
            for version in folder.removeprefix("site-packages").strip("-").split("-") if "packages-" in folder else ():
                own[version] = own.get(version, 0) + entry.compress_size
    return zipapp.stat().st_size - sum(own.values()), own


MACHINES: Final = {
    "linux-aarch64": (".so", b"\x7fELF", 18, b"\xb7\x00"),
    "macos-arm64": (".so", b"\xcf\xfa\xed\xfe", 4, b"\x0c\x00\x00\x01"),
    "windows-x86_64": (".pyd", b"MZ", 0x3C, b""),
}
"""How a compiled file's name ends, its first bytes, and where it says which processor it is for."""


@pytest.mark.parametrize("platform", MACHINES)
def test_a_file_for_another_platform_holds_its_files_and_refuses_this_one(platform: str, tmp_path: Path) -> None:
    """It cannot be run here: what can be said is that all that is compiled is for there, and what it says here."""
    file = tmp_path / "elsewhere.pyz"
    zipapps.run_tool(
        zipapps.ROOT, "--agent-only", "--platform", platform, "--pythons", zipapps.OWN, "--output", str(file)
    )
    with zipfile.ZipFile(file) as archive:
        compiled = {
            name: archive.read(name)
            for name in archive.namelist()
            if name.endswith((".so", ".pyd", ".dll", ".dylib")) or ".so." in name
        }
    suffix, magic, place, machine = MACHINES[platform]
    assert len(compiled) >= 8
    for name, data in compiled.items():
        assert name.endswith((suffix, ".dll") if suffix == ".pyd" else (suffix,)), name
        if data[:4] == b"\xca\xfe\xba\xbe":  # for both processors: each part's own is in the table
            assert machine[::-1] in data[8 : 8 + 20 * data[7]], name
            continue
        assert data.startswith(magic), name
        if suffix == ".pyd":
            header = int.from_bytes(data[place : place + 4], "little")
            assert data[header : header + 6] == b"PE\0\0\x64\x86", name
        else:
            assert data[place : place + len(machine)] == machine, name
    done = zipapps.run([zipapps.pythons()[zipapps.OWN], file], env={})
    assert done.stderr == f"investigator: this file was built for {platform} (this is {running_python()[2]})\n"
    assert (done.stdout, done.returncode) == ("", 5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pythons", "3.10"], "--pythons: 3.10: choose from 3.11, 3.12, 3.13, 3.14"),
        (["--pythons", " "], "--pythons: none: choose from"),
        (["--platform", "vax"], "invalid choice: 'vax'"),
    ],
)
def test_what_cannot_be_built_is_said(words: list[str], said: str, tmp_path: Path) -> None:
    done = zipapps.run([sys.executable, zipapps.ROOT / "tools/zipapp.py", *words, "--output", tmp_path / "x"])
    assert done.returncode == 2
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
