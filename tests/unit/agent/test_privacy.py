"""Extra privacy mode inside the worker: nothing of a module's own words gets past it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from investigator.agent import worker
from investigator.agent.channel import Request
from investigator.agent.limits import Limits
from investigator.errors import BadInput
from investigator.modules import MODULES
from investigator.modules.file import MODULE
from investigator.protocol.result import Result

SECRET = "/home/ada/divorce-papers.txt"


def answered(module: str, parameters: Any, *, private: bool = True) -> Any:
    request = Request(
        module=module, parameters=parameters, deadline_s=1e12, folder="/", local=False, limits=Limits(), private=private
    )
    return orjson.loads(worker.encode(worker.answer(request), Limits()))


@pytest.fixture
def misled(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file module, with one of its functions replaced."""

    def replace(name: str, function: Any) -> None:
        module = SimpleNamespace(
            spec=MODULE.spec, check=MODULE.check, run=MODULE.run, masked=MODULE.masked, lines=MODULE.lines
        )
        setattr(module, name, function)
        monkeypatch.setattr("investigator.agent.worker.get_module", lambda _: module)

    assert "file" in MODULES
    return replace


def raises(error: BaseException) -> Any:
    def function(*_: Any, **__: Any) -> Any:
        raise error

    return function


NOTHING: Any = {"searches": {}}


@pytest.mark.parametrize("error", [ValueError(SECRET), OSError(2, "gone", SECRET), SystemExit(SECRET)])
@pytest.mark.parametrize("where", ["run", "masked"])
def test_an_exception_is_told_by_its_type_and_place_alone(misled: Any, error: BaseException, where: str) -> None:
    misled(where, raises(error))
    answer = answered("file", NOTHING)
    assert answer["code"] == "raised"
    assert type(error).__name__ in answer["result"]["errors"][0]
    assert "test_privacy.py:" in answer["result"]["errors"][0]
    assert SECRET not in str(answer)
    if where == "run":
        assert SECRET in str(answered("file", NOTHING, private=False))


def test_an_error_of_ours_that_the_run_raised_keeps_its_code_and_loses_its_text(misled: Any) -> None:
    misled("run", raises(BadInput(SECRET)))
    answer = answered("file", NOTHING)
    assert answer["code"] == "bad-input"
    assert SECRET not in str(answer)


def test_what_is_wrong_with_the_askers_own_words_is_still_told() -> None:
    answer = answered("file", {"searches": {"s": {"paths": ["/"], "names": ["(a"]}}})
    assert answer["code"] == "bad-regex"
    assert "(a" in answer["result"]["errors"][0]


def test_errors_are_masked_even_where_a_module_forgets_to(misled: Any) -> None:
    misled("run", lambda *_: Result(success=True, errors=[SECRET, SECRET]))
    misled_errors = answered("file", NOTHING)["result"]["errors"]
    assert misled_errors == ["masked", "masked"]


def test_a_module_without_masking_gives_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(
        spec=MODULE.spec, check=MODULE.check, run=lambda *_: Result(success=True, elements=[SECRET])
    )
    monkeypatch.setattr("investigator.agent.worker.get_module", lambda _: module)
    answer = answered("file", NOTHING)
    assert answer["code"] == "raised"
    assert SECRET not in str(answer)
