"""A result as MIG prints it; what MIG does not tell follows at the end of its lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from investigator.modules.file.opening import on_one_line
from investigator.modules.netstat.rows import DEFAULT
from investigator.modules.netstat.survey import KINDS
from investigator.modules.notes import note_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TEXTS: Final = {
    "localmac": "local mac {localmacaddr}",
    "neighbormac": "neighbor mac {remotemacaddr} {remoteaddr}",
    "neighborip": "neighbor IP {remoteaddr} {remotemacaddr}",
    "localip": "local ip {localaddr}",
    "connectedip": "connected tuple {remoteaddr}:{remoteport} with local tuple {localaddr}:{localport}",
    "listeningport": "listening port {localport}",
}
_SHOWN: Final = {"neighborip": "neighborIP"}
"""What a kind is called in a line, where that is not its name."""
_ABSENT: Final = {
    "localmacaddr": "", "localaddr": "", "localport": 0, "remotemacaddr": "", "remoteaddr": "", "remoteport": 0,
}  # fmt: skip


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """Findings and warnings; with `everything` also what was not found, errors and statistics."""
    elements = result.get("elements") or {}
    for kind in KINDS:
        for value, found in (elements.get(kind) or {}).items():
            asked = f"netstat {_SHOWN.get(kind, kind)}:'{value}'"
            for element in found or ():
                yield f"found {_TEXTS[kind].format_map(_ABSENT | element)} for {asked}{_more(element)}"
            if everything and not found:
                yield f"did not find anything for {asked}"
    yield from note_lines(result, everything=everything, prefix="error: ")
    statistics = result.get("statistics")
    if everything and statistics:
        yield (
            f"Statistics: total hits {statistics['totalhits']} examined {statistics['examined']} items "
            f"exectime {statistics['exectime']}"
        )


def _more(element: Mapping[str, Any]) -> str:
    namespace = element.get("namespace", DEFAULT)
    text = "" if namespace == DEFAULT else f" namespace:[{namespace}]"
    for name in ("interface", "protocol", "state"):
        text += f" {name}:[{element[name]}]" if name in element else ""
    for process in element.get("processes") or ():
        text += f" process:[{process['pid']} {on_one_line(process['executable'] or process['name'])}]"
    return text
