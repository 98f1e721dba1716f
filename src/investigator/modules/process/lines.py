"""A result as it is printed, in the manner of MIG's file and memory modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from investigator.modules.file.opening import on_one_line
from investigator.modules.notes import note_lines
from investigator.modules.process.checks import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """Positive findings and warnings; with `everything` also what was not found, errors and statistics."""
    for label, elements in (result.get("elements") or {}).items():
        for element in elements or ():
            if element["process"]["pid"]:
                yield f"{_process(element['process'])} in search '{label}'{_on_checks(element['search'])}"
            elif everything:
                yield f"0 match found in search '{label}'{_on_checks(element['search'])}"
    yield from note_lines(result, everything=everything)
    statistics = result.get("statistics")
    if everything and statistics:
        yield (
            f"Statistics: {statistics['processcount']} processes checked, {statistics['totalhits']} matched, "
            f"ran in {statistics['exectime']}."
        )


def _process(process: Mapping[str, Any]) -> str:
    user = process["user"] + (f" (really {process['realuser']})" if process.get("realuser") else "")
    facts = [
        f"pid:{process['pid']}",
        f"user:{on_one_line(user)}",
        f"started:{process['started']}",
        f"parent:{on_one_line(process['parent'])}({process['ppid']})",
    ]
    if process["exe"]:
        facts.insert(1, f"exe:{on_one_line(process['exe'])}{' (deleted)' if process.get('deleted') else ''}")
    if process.get("sha256"):
        facts.append(f"sha256:{process['sha256'].lower()}")
    if process.get("openfiles"):
        facts.append(f"open:{' '.join(map(on_one_line, process['openfiles']))}")
    return f"{on_one_line(process['name'])} [{', '.join(facts)}]"


def _on_checks(search: Mapping[str, Any]) -> str:
    """Which check it was, where each reports its own processes."""
    if search["options"].get("matchall"):
        return ""
    kind, value = next(((kind, search[name]) for name, kind in KINDS.items() if search.get(name)), ("", None))
    return f" on checks {kind}='{value[0] if isinstance(value, list) else 'true'}'" if kind else ""
