"""Module mode on a host that lacks what a module needs."""

from __future__ import annotations

import io
import json
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest

from investigator.cli.module import run_module
from investigator.modules import MODULES
from investigator.modules.interface import Need, Spec
from investigator.protocol.result import Result


class Nothing(msgspec.Struct, forbid_unknown_fields=True):
    pass


@pytest.fixture
def tea(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Adds a module with these needs to the catalogue."""

    def add(*needs: Need) -> None:
        place: Any = ModuleType("tea")
        spec = Spec(name="tea", summary="", parameters=Nothing, flags=None, needs=needs)
        run = lambda *_: Result(success=True, foundanything=True)  # noqa: E731
        place.MODULE = SimpleNamespace(spec=spec, check=lambda *_, **__: None, run=run)
        monkeypatch.setitem(sys.modules, "tea", place)
        monkeypatch.setitem(MODULES, "tea", "tea")

    return add


def test_what_is_essential_is_said_in_the_result_and_nothing_runs(tea: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tea(Need(kind="program", name="no-such-program", why="read tea leaves"))
    assert run_module("tea", io.BytesIO(b"{}")) == 0
    result = json.loads(capsys.readouterr().out)
    assert not result["success"]
    assert result["errors"] == ["module tea needs the program no-such-program to read tea leaves; install it"]


def test_what_is_not_is_a_notice_on_stderr(tea: Any, capsys: pytest.CaptureFixture[str]) -> None:
    tea(Need(kind="program", name="no-such-program", why="read tea leaves", essential=False))
    assert run_module("tea", io.BytesIO(b"{}")) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["foundanything"]
    assert err == "[notice] without the program no-such-program module tea cannot read tea leaves; install it\n"
