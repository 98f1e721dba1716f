"""What a policy must fulfil beyond its shape; scribe lets most of these mistakes pass as tests that are always true.

All of it is known before a host is asked, so that a policy that loads at the console runs everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BadParameters, BadRegex
from investigator.modules.file.parameters import is_absolute
from investigator.modules.scribe.policy import (
    FileContentSource,
    FileNameSource,
    HasLineSource,
    Object,
    PackageSource,
    Policy,
    Test,
    Variable,
)
from investigator.protocol.regex import compile_regex

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_TESTS: Final = 100_000
MAX_OBJECTS: Final = 100_000
MAX_VARIABLES: Final = 10_000
MAX_EXPANDED_CHARACTERS: Final = 65_536
CHAIN_ROOT: Final = "chain_root"
_REFERENCE: Final = re.compile(r"\$\{([^{}]*)\}")


def validate(policy: Policy, *, local: bool = False, where: str = "scribedoc") -> None:
    """Check everything; only with `local` may an object's path be relative.

    Raises:
        BadParameters, BadRegex: beginning with the place of the mistake, `scribedoc.tests[3].if[0]: ...`.
    """
    for name, count, most in (
        ("tests", len(policy.tests), MAX_TESTS),
        ("objects", len(policy.objects), MAX_OBJECTS),
        ("variables", len(policy.variables), MAX_VARIABLES),
    ):
        if count > most:
            raise BadParameters(f"{where}.{name}: {count:,} of them; {most:,} at most")
    if not policy.tests:
        raise BadParameters(f"{where}.tests: a policy needs at least one test")
    variables = _by_id([one.key for one in policy.variables], f"{where}.variables", "key")
    objects = _by_id([one.object for one in policy.objects], f"{where}.objects", "object")
    for place, one in enumerate(policy.objects):
        _check_object(one, f"{where}.objects[{place}]", objects, variables)
        _check_path(one, f"{where}.objects[{place}]", policy.variables, local=local)
    _no_cycle(
        [_chain(one) for one in policy.objects],
        objects,
        lambda place, name: f"{where}.objects[{place}].filecontent.import-chain: {name!r} imports itself in the end",
    )
    tests = _by_id([one.test for one in policy.tests], f"{where}.tests", "test")
    for place, test in enumerate(policy.tests):
        _check_test(test, f"{where}.tests[{place}]", objects, tests)
    in_order(policy, where=where)


def in_order(policy: Policy, *, where: str = "scribedoc") -> list[Test]:
    """The tests, each after those that it depends on, all of which there must be.

    Raises:
        BadParameters: some depend on each other in a circle.
    """
    order = _no_cycle(
        [one.requires for one in policy.tests],
        {one.test: place for place, one in enumerate(policy.tests)},
        lambda place, name: f"{where}.tests[{place}].if: {name!r} depends on itself in the end",
    )
    return [policy.tests[place] for place in order]


def expand(text: str, variables: Sequence[Variable]) -> str:
    """Variables put in one after the other, so that one may stand for another that comes later.

    Raises:
        BadParameters: that makes a text beyond all measure.
    """
    if "${" in text:
        for variable in variables:
            text = text.replace(f"${{{variable.key}}}", variable.value)
            if len(text) > MAX_EXPANDED_CHARACTERS:
                raise BadParameters(f"variables make a text of more than {MAX_EXPANDED_CHARACTERS:,} characters")
    return text


def is_chain_only(one: Object) -> bool:
    """Whether it makes sense for an importing object's files alone, since it names their folder."""
    found = one.source()
    return found is not None and any(f"${{{CHAIN_ROOT}}}" in text for _, text in _expanded(found[1]))


def _by_id(names: Sequence[str], where: str, key: str) -> dict[str, int]:
    """Each name's place; all different, none empty."""
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        if not name:
            raise BadParameters(f"{where}[{place}].{key}: is empty")
        if places.setdefault(name, place) != place:
            raise BadParameters(f"{where}[{place}].{key}: {_shown(name)} stands at {where}[{places[name]}] already")
    return places


def _chain(one: Object) -> list[str]:
    found = one.source()
    return found[1].import_chain if found and isinstance(found[1], FileContentSource) else []


def _expanded(source: Any) -> list[tuple[str, str]]:
    """The fields in which variables stand for something, with their names."""
    if isinstance(source, PackageSource):
        return [("name", source.name)]
    if isinstance(source, FileContentSource | HasLineSource):
        return [("path", source.path), ("file", source.file)]
    return [("path", source.path)] if isinstance(source, FileNameSource) else []


def _check_object(one: Object, where: str, objects: dict[str, int], variables: dict[str, int]) -> None:
    found = one.source()
    if found is None:
        raise BadParameters(
            f"{where}: object {_shown(one.object)} has no source",
            hint="Its source is a package, filecontent, filename, raw or hasline.",
        )
    key, source = found
    where = f"{where}.{key}"
    for name, text in _expanded(source):
        for used in _REFERENCE.findall(text) if name != "file" else ():
            if used != CHAIN_ROOT and used not in variables:
                raise BadParameters(f"{where}.{name}: there is no variable {_shown(used)}")
    for name in ("file", "expression"):
        if hasattr(source, name) and not getattr(source, name):
            raise BadParameters(f"{where}.{name}: is empty")
    for name in ("file", "expression", "collectmatch"):
        pattern = getattr(source, name, "")
        if pattern and not (name == "file" and _REFERENCE.search(pattern)):  # judged when its variables are known
            groups = _compiles(pattern, f"{where}.{name}")
            if isinstance(source, FileNameSource) and not groups:
                raise BadParameters(f"{where}.file: needs a capture group, which is the value")
    for place, name in enumerate(_chain(one)):
        if name not in objects:
            raise BadParameters(f"{where}.import-chain[{place}]: there is no object {_shown(name)}")


def _check_path(one: Object, where: str, variables: Sequence[Variable], *, local: bool) -> None:
    found = one.source()
    for name, text in _expanded(found[1]) if found else ():
        try:
            shown = expand(text, variables)
        except BadParameters as error:
            raise BadParameters(f"{where}.{found[0] if found else ''}.{name}: {error}") from None
        fine = name != "path" or local or is_absolute(shown) or shown.startswith(f"${{{CHAIN_ROOT}}}")
        if "\0" in shown or not fine:
            what = "is relative; other hosts have no current folder" if not fine else "holds a zero byte"
            raise BadParameters(f"{where}.{found[0] if found else ''}.{name}: {_shown(shown)} {what}")


def _check_test(test: Test, where: str, objects: dict[str, int], tests: dict[str, int]) -> None:
    if test.object not in objects:
        raise BadParameters(f"{where}.object: there is no object {_shown(test.object)}")
    evaluators = list(test.evaluators())
    if len(evaluators) > 1:
        raise BadParameters(f"{where}: has {' and '.join(evaluators)}; a test has one evaluator")
    if bool(test.evr.operation) != bool(test.evr.value):
        missing = "value" if test.evr.operation else "operation"
        raise BadParameters(f"{where}.evr.{missing}: is empty")
    if test.regexp.value:
        _compiles(test.regexp.value, f"{where}.regexp.value")
    for place, name in enumerate(test.requires):
        if name not in tests:
            raise BadParameters(f"{where}.if[{place}]: there is no test {_shown(name)}")
    for place, tag in enumerate(test.tags):
        if '"' in tag.key or '"' in tag.value:
            raise BadParameters(f"{where}.tags[{place}]: holds a double quote, which results are quoted with")


def _no_cycle(edges: list[list[str]], places: dict[str, int], problem: Callable[[int, str], str]) -> list[int]:
    """An order in which everything comes after what it names; without recursion, as chains may be long."""
    names = list(places)
    order: list[int] = []
    state = [0] * len(edges)  # 1: being visited, 2: done
    for start in range(len(edges)):
        pending: list[tuple[int, Iterable[str]]] = []
        if not state[start]:
            state[start] = 1
            pending.append((start, iter(edges[start])))
        while pending:
            place, rest = pending[-1]
            for name in rest:
                inner = places[name]
                if state[inner] == 1:
                    raise BadParameters(problem(place, names[inner]))
                if not state[inner]:
                    state[inner] = 1
                    pending.append((inner, iter(edges[inner])))
                    break
            else:
                state[place] = 2
                order.append(place)
                pending.pop()
    return order


def _compiles(pattern: str, where: str) -> int:
    """The number of the pattern's groups."""
    try:
        groups: int = compile_regex(pattern).groups
    except BadRegex as error:
        raise error.at(where) from None
    return groups


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:79] + "…")
