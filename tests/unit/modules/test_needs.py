"""What a module needs of a host, and whether this host has it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from investigator.modules import MODULES, get_module
from investigator.modules.interface import Need, Spec
from investigator.modules.needs import find_program, has_capability, here, is_met, lacking, missing


class Nothing(msgspec.Struct):
    pass


def declared(*needs: Need, **more: Any) -> Spec:
    return Spec(name="probe", summary="", parameters=Nothing, flags=None, needs=needs, **more)


ABSENT = [
    (Need(kind="package", name="no_such_package", why="read tea leaves"), "the Python package no_such_package"),
    (Need(kind="package", name="no_such.package", why="read tea leaves"), "the Python package no_such.package"),
    (Need(kind="program", name="no-such-program", why="read tea leaves"), "the program no-such-program"),
    (Need(kind="path", name="/nowhere/at/all", why="read tea leaves"), "/nowhere/at/all"),
]


@pytest.mark.parametrize(("need", "called"), ABSENT)
def test_an_essential_need_that_is_not_met_is_one_line_with_what_why_and_what_to_do(need: Need, called: str) -> None:
    line = missing(declared(need))
    assert line is not None
    assert line.startswith(f"module probe needs {called} to read tea leaves; ")
    assert len(line.splitlines()) == 1
    assert lacking(declared(need)) == []


@pytest.mark.parametrize(("need", "called"), ABSENT)
def test_what_is_not_essential_does_not_keep_it_from_running(need: Need, called: str) -> None:
    spec = declared(msgspec_replace(need, essential=False))
    assert missing(spec) is None
    assert lacking(spec)[0].startswith(f"without {called} module probe cannot read tea leaves; ")


def msgspec_replace(need: Need, **changes: Any) -> Need:
    return Need(**{**{name: getattr(need, name) for name in ("kind", "name", "why", "essential")}, **changes})


def test_what_is_there_is_met() -> None:
    assert is_met(Need(kind="package", name="msgspec", why=""))
    assert is_met(Need(kind="program", name="sh", why=""))
    assert is_met(Need(kind="path", name=os.devnull, why=""))
    assert is_met(Need(kind="root", why="")) == (os.geteuid() == 0)


def test_a_system_that_is_not_declared_is_named_with_those_that_are() -> None:
    spec = declared(platforms=frozenset(("windows", "darwin")))
    assert missing(spec, system="linux") == "module probe does not run on linux: it is for darwin, windows"
    assert missing(spec, system="darwin") is None


def test_this_system_is_one_that_modules_know() -> None:
    assert here() in ("linux", "darwin", "windows")


def test_a_program_is_never_taken_from_the_callers_path(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = tmp_path / "planted-program"
    planted.write_text("#!/bin/sh\n")
    planted.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_program("planted-program") is None
    assert find_program("sh") in ("/usr/bin/sh", "/bin/sh")


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root has capabilities to give up")
def test_capabilities_are_those_in_force_not_those_of_the_user_id() -> None:
    assert has_capability("CAP_SYS_PTRACE")
    script = (
        "import os; from investigator.modules.needs import has_capability, is_root;"
        "has_capability('CAP_KILL'); os.setresuid(65534, 65534, 65534);"
        "print(has_capability('CAP_SYS_PTRACE'), is_root())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.parametrize("name", MODULES)
def test_every_module_declares_needs_that_can_be_checked(name: str) -> None:
    spec = get_module(name).spec
    for need in spec.needs:
        is_met(need)
        assert need.name or need.kind == "root"
        assert need.why
        assert not need.why.endswith(".")
