"""Running a policy's tests: each once, after those that it depends on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BadInput
from investigator.modules.scribe.locating import Undecided
from investigator.modules.scribe.objects import Objects, Value
from investigator.modules.versions import compare
from investigator.protocol.regex import compile_regex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from investigator.modules.scribe.policy import Test

_OPERATIONS: Final = {"<": -1, "=": 0, ">": 1}


@dataclass(slots=True)
class Verdict:
    """What came of a test."""

    test: Test
    error: str = ""
    """Why it could not be decided; the rest then says nothing."""
    master: bool = False
    """Some value passes, and all tests that it depends on are true."""
    has_true: bool = False
    values: Sequence[Value] = ()
    """All of the object's, shared by all tests on it: a host may have a hundred thousand."""
    passed: bytes = b""
    """1 for each value that passes."""


def evaluate(tests: Iterable[Test], objects: Objects) -> dict[str, Verdict]:
    """The verdicts by the tests' ids; `tests` are in an order in which each comes after what it depends on."""
    verdicts: dict[str, Verdict] = {}
    for test in tests:
        verdicts[test.test] = _judge(test, objects, verdicts)
    return verdicts


def _judge(test: Test, objects: Objects, verdicts: dict[str, Verdict]) -> Verdict:
    for name in test.requires:
        if verdicts[name].error:
            return Verdict(test, error=f'a test dependency failed ("{name}")')
    try:
        values = objects.values(test.object)
        passed = bytes(map(_evaluator(test), values))
    except (Undecided, BadInput) as error:
        return Verdict(test, error=str(error))
    has_true = any(passed)
    master = has_true and all(verdicts[name].master for name in test.requires)
    return Verdict(test, master=master, has_true=has_true, values=values, passed=passed)


def _evaluator(test: Test) -> Callable[[Value], bool]:
    """What decides on one value; without an evaluator any value passes."""
    if test.evr.value:
        wanted, version = _OPERATIONS[test.evr.operation], test.evr.value
        return lambda one: compare(one.kind, one.value, version) == wanted
    if test.regexp.value:
        search: Any = compile_regex(test.regexp.value).search
        return lambda one: search(one.value) is not None
    if test.exactmatch.value:
        return lambda one: one.value == test.exactmatch.value
    return lambda _: True
