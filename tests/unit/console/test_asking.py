"""Operations as a program gives them: validated before anything is signed, whatever form they come in."""

from __future__ import annotations

from typing import Any

import pytest

from investigator.console.asking import operation, operations
from investigator.errors import BadInput, BadParameters, BadRegex
from investigator.modules import get_module
from investigator.modules.interface import load_parameters
from investigator.protocol.action import MAX_OPERATIONS, Operation, compressed

AS_JSON: dict[str, Any] = {
    "searches": {"s1": {"paths": ["/etc"], "names": ["^passwd$"], "options": {"matchall": True}}}
}
FLAGS = ["-path", "/etc", "-name", "^passwd$"]


def loaded(one: Operation) -> Any:
    return load_parameters(get_module(one.module), one.parameters)


def test_json_the_modules_struct_and_migs_flags_ask_the_same() -> None:
    file = get_module("file")
    given = [operation("file", AS_JSON), operation("file", load_parameters(file, AS_JSON)), operation("file", FLAGS)]
    assert given[0].parameters == AS_JSON
    assert loaded(given[0]) == loaded(given[1])
    assert loaded(given[2]).searches["s1"].names == ["^passwd$"]


@pytest.mark.parametrize(
    ("module", "parameters", "error", "says"),
    [
        ("nothing", {}, BadInput, "nothing"),
        ("file", {"searches": {"s1": {"pathes": ["/etc"]}}}, BadParameters, "did you mean 'paths'"),
        ("file", {"searches": {"s1": {"paths": ["/etc"], "names": ["("]}}}, BadRegex, "("),
        ("file", {"searches": {"s1": {"paths": ["here"]}}}, BadParameters, "here"),
        ("file", ["-pth", "/etc"], BadInput, "did you mean -path"),
        ("file", "-path /etc", BadParameters, "not one text"),
        ("file", Operation(module="file"), BadParameters, "is expected"),
    ],
)
def test_what_agents_would_not_take_is_refused_here(module: str, parameters: Any, error: type, says: str) -> None:
    with pytest.raises(error) as caught:
        operation(module, parameters)
    assert says in str(caught.value)


def test_a_module_without_flags_takes_json_only() -> None:
    with pytest.raises(BadInput, match="JSON"):
        operation("agentdestroy", ["-pid", "1"])


def test_the_operation_that_is_wrong_is_named_by_its_number() -> None:
    with pytest.raises(BadInput, match=r"^operation 2: "):
        operations([("file", FLAGS), ("file", {"searches": 3})])


def test_a_ready_operation_is_checked_too_compressed_or_not() -> None:
    good = Operation(module="file", parameters=AS_JSON)
    assert operations([good, compressed(good)]) == (good, compressed(good))
    with pytest.raises(BadParameters):
        operations([compressed(Operation(module="file", parameters={"searches": 3}))])


@pytest.mark.parametrize("count", [0, MAX_OPERATIONS + 1])
def test_an_action_asks_one_to_a_thousand_operations(count: int) -> None:
    with pytest.raises(BadInput, match="operations"):
        operations([("file", FLAGS)] * count)
