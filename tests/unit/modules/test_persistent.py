"""What persistent modules have in common."""

from typing import Annotated, Any

import msgspec
import pytest

from investigator.errors import BadParameters
from investigator.modules import MODULES, PERSISTENT, get_module
from investigator.modules.interface import Context, Spec
from investigator.modules.persistent import NoParameters, PersistentModule, load_settings


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    paths: list[str] = []
    often_s: Annotated[float, msgspec.Meta(ge=1)] = 1.0


class Module(PersistentModule):
    spec = Spec(name="m", summary="", parameters=NoParameters, flags=NoParameters)
    settings = Settings

    def check_settings(self, settings):
        if settings.paths == ["no"]:
            raise BadParameters("modules.m.paths: no")

    def watch(self, settings, host):
        raise NotImplementedError

    def answer(self, parameters):
        raise NotImplementedError


@pytest.mark.parametrize("name", PERSISTENT)
def test_each_declares_settings_that_may_all_be_left_out(name):
    module: Any = get_module(name)
    assert name in MODULES
    assert load_settings(module, {}) == module.settings()


@pytest.mark.parametrize("name", PERSISTENT)
def test_none_pretends_to_answer_without_an_agent(name):
    result = get_module(name).run(NoParameters(), Context())
    assert not result.success
    assert "not with -t local" in str(result.errors)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ({"path": []}, "modules.m: there is no setting 'path'; did you mean 'paths'?"),
        ({"paths": "/etc"}, "modules.m.paths: Expected 'array', got 'str'"),
        ({"often_s": 0}, "modules.m.often_s: Expected 'float' >= 1.0"),
        ({"paths": ["no"]}, "modules.m.paths: no"),
    ],
)
def test_a_wrong_setting_is_told_by_its_name_in_agent_toml(table, complaint):
    with pytest.raises(BadParameters) as caught:
        load_settings(Module(), table)
    assert str(caught.value) == complaint


def test_lines_are_migs_and_with_everything_errors_and_statistics():
    result = {"elements": {"ok": True}, "errors": ["late"], "statistics": {"paths": 3}}
    assert list(Module().lines(result, everything=False)) == ["ok:true"]
    assert list(Module().lines(result, everything=True)) == ["ok:true", "[error] late", "[stat] paths: 3"]
    assert list(Module().lines({"elements": None, "errors": None, "statistics": None}, everything=True)) == []


def test_masked_leaves_numbers_only():
    result = {"elements": {"ok": True}, "errors": ["/etc"], "statistics": {"paths": 3, "awaited": ["/a"], "at": "/b"}}
    assert Module().masked(result, NoParameters()) == {
        "elements": {"ok": True},
        "errors": ["masked"],
        "statistics": {"paths": 3, "awaited": ["masked"], "at": "masked"},
    }
