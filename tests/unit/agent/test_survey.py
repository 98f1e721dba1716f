"""Which modules can run on a host, and why others cannot."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec
import pytest

from investigator.agent.survey import Survey, survey
from investigator.modules import MODULES
from investigator.modules.interface import Need, Spec


class Nothing(msgspec.Struct):
    pass


@pytest.fixture
def tea(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two more modules: one that lacks something, one that cannot be loaded."""
    place: Any = ModuleType("tea")
    need = Need(kind="program", name="no-such-program", why="read tea leaves\nat length " + "x" * 1000)
    spec = Spec(name="tea", summary="", parameters=Nothing, flags=None, needs=(need,))
    place.MODULE = SimpleNamespace(spec=spec)
    monkeypatch.setitem(sys.modules, "tea", place)
    monkeypatch.setitem(MODULES, "tea", "tea")
    monkeypatch.setitem(MODULES, "broken", "investigator.no_such_place")


@pytest.mark.usefixtures("tea")
def test_each_module_can_run_or_has_a_short_reason_why_not() -> None:
    found = Survey.of(survey())
    assert "file" in found.modules
    assert set(found.modules) | set(found.unavailable) == set(MODULES)
    assert not set(found.modules) & set(found.unavailable)
    assert found.unavailable["tea"].startswith("module tea needs the program no-such-program to read tea leaves at")
    assert len(found.unavailable["tea"]) == 300
    assert found.unavailable["broken"].startswith("module broken cannot be loaded: ModuleNotFoundError")


def test_the_facts_have_migs_list_and_the_reasons_beside_it() -> None:
    told = Survey(("file",), {"memory": "because"}).environment()
    assert told == {"modules": ["file"], "unavailable": {"memory": "because"}}
