"""A result as MIG prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from investigator.modules.file.opening import on_one_line
from investigator.modules.memory.checks import KINDS
from investigator.modules.notes import note_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """Positive findings and warnings; with `everything` also what was not found, failures, errors and statistics."""
    for label, elements in (result.get("elements") or {}).items():
        for element in elements or ():
            where = f"in search '{label}'{_on_checks(element['search'])}"
            if element["process"]["pid"]:
                name = on_one_line(element["process"]["name"])
                yield f"{name} [pid:{element['process']['pid']}] {where}{_places(element)}"
            elif everything:
                yield f"0 match found {where}"
    statistics = result.get("statistics") or {}
    failures = statistics.get("failures") or []
    if everything:
        for text in failures:
            yield f"Failure: {on_one_line(text)}"
    yield from note_lines(result, everything=everything)
    if everything and statistics:
        yield (
            f"Statistics: {statistics['processcount']} processes checked, {statistics['totalhits']} matched, "
            f"{len(failures)} failures, ran in {statistics['exectime']}."
        )


def _on_checks(search: Mapping[str, Any]) -> str:
    """Which check it was, where each reports its own processes."""
    if search["options"].get("matchall"):
        return ""
    return next((f" on checks {kind}='{search[name][0]}'" for name, kind in KINDS.items() if search.get(name)), "")


def _places(element: Mapping[str, Any]) -> str:
    """Behind MIG's text, where each content was found."""
    places = [
        match["address"] + (f" {on_one_line(match['region'])}" if match["region"] else "")
        for match in element.get("matches") or ()
    ]
    return f" at {', '.join(places)}" if places else ""
