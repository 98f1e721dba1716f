"""Verdicts as MIG's JSON, within the bytes that a result may have; and as MIG prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.modules.notes import WARNING, note_lines
from investigator.protocol.codec import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from investigator.modules.scribe.evaluation import Verdict

MAX_ERRORS: Final = 1000
_MAX_CHARACTERS: Final = 10_000


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A test's result with scribe's keys; one that is in error has no others."""
    test = verdict.test
    shown: dict[str, Any] = {"testid": test.test, "name": test.name, "description": test.description}
    if test.tags:
        shown["tags"] = [{"key": tag.key, "value": tag.value} for tag in test.tags]
    results = [
        {"result": bool(passed), "identifier": value.identifier}
        for passed, value in zip(verdict.passed, verdict.values, strict=True)
    ]
    return shown | {
        "iserror": bool(verdict.error),
        "error": verdict.error,
        "masterresult": verdict.master,
        "hastrueresults": verdict.has_true,
        "results": results or None,
    }


def within(verdicts: Sequence[Verdict], room_bytes: int) -> tuple[list[Verdict], list[str]]:
    """As many verdicts as there is room for, and what is said about the rest; what is true goes first then."""
    sizes = [len(orjson.dumps(verdict_json(one))) + 1 for one in verdicts]  # one at a time: all of them may be large
    if sum(sizes) <= room_bytes:
        return list(verdicts), []
    kept: set[int] = set()
    for place in sorted(range(len(verdicts)), key=lambda at: not verdicts[at].master):
        room_bytes -= sizes[place]
        if room_bytes < 0:
            break
        kept.add(place)
    more = len(verdicts) - len(kept)
    return [verdicts[at] for at in sorted(kept)], [
        f"{WARNING}{more} test results are more than a result can hold; they are not returned"
    ]


def complaints(verdicts: Sequence[Verdict]) -> list[str]:
    """What could not be decided, and what the policy's author expected otherwise."""
    errors: list[str] = []
    for one in verdicts:
        test = one.test
        if one.error and not test.expecterror:
            errors.append(f'Error: {one.error} in "{test.test}"')
        elif test.expecterror and not one.error:
            errors.append(f'Error: the policy expects an error, but there was none in "{test.test}"')
        elif not one.error and test.expectedresult not in (None, one.master):
            errors.append(
                f'Error: the policy expects {_word(not one.master)}, but it is {_word(one.master)} in "{test.test}"'
            )
    more = len(errors) - MAX_ERRORS
    return [*errors[:MAX_ERRORS], f"{more} more errors were not returned"] if more > 0 else errors


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """Every test's result, as MIG prints them in both modes; with `everything` also errors and statistics."""
    elements = result.get("elements") or {}
    show = _human if elements.get("humanoutput") else _json if elements.get("jsonoutput") else _greppable
    for one in elements.get("results") or ():
        for line in show(one):
            yield _plain(line)
    yield from map(_plain, note_lines(result, everything=everything))
    statistics = result.get("statistics")
    if everything and statistics:
        yield f"Statistics: runtime {statistics['execruntime']}"


def _greppable(one: Mapping[str, Any]) -> Iterator[str]:
    state = "error" if one["iserror"] else _word(one["masterresult"])
    head = f'name:"{one["name"] or one["testid"]}" id:"{one["testid"]}"'
    yield f'master [{state}] {head} hastrue:{_word(one["hastrueresults"])} error:"{one["error"]}"'
    for inner in one["results"] or ():
        yield f'sub [{_word(inner["result"])}] {head} identifier:"{inner["identifier"]}"'


def _json(one: Mapping[str, Any]) -> Iterator[str]:
    yield orjson.dumps(one).decode()


def _human(one: Mapping[str, Any]) -> Iterator[str]:
    name = one["name"]
    yield f'result for "{name}" ({one["testid"]})' if name else f'result for "{one["testid"]}"'
    if one["description"]:
        yield f"\tdescription: {one['description']}"
    dependency = one["hastrueresults"] and not one["masterresult"]
    yield (
        f"\tmaster result: {_word(one['masterresult'])}"
        f"{', has true results, failure caused by dependency' if dependency else ''}"
    )
    for tag in one.get("tags") or ():
        yield f"\ttag: {tag['key']}: {tag['value']}"
    if one["iserror"]:
        yield f"\t[error] error: {one['error']}"
    for inner in one["results"] or ():
        yield f'\t[{_word(inner["result"])}] identifier: "{inner["identifier"]}"'


def _word(value: bool) -> str:
    return "true" if value else "false"


def _plain(line: str) -> str:
    """One line that drives no terminal: identifiers are paths, which hosts choose. Tabs at the start are ours."""
    body = line.removeprefix("\t")
    return line[: len(line) - len(body)] + (body if body.isprintable() else one_line(body, at_most=_MAX_CHARACTERS))
