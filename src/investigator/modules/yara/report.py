"""What matched, as MIG's JSON, within the bytes that a result may have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.modules.file.opening import on_one_line, path_text
from investigator.modules.notes import WARNING, Notes
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ERROR_ROOM_BYTES: Final = 1 << 20


@dataclass(slots=True, frozen=True, order=True)
class Match:
    """An object that rules matched: a file, or with a pid the process that runs it."""

    object: str
    pid: int
    rules: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """MIG's element; `Pid` is there for processes alone."""
        return {"Object": self.object, **({"Pid": self.pid} if self.pid else {}), "MatchedRules": list(self.rules)}


@dataclass(slots=True)
class Report:
    """Collects while files and processes are scanned."""

    result_bytes: int
    notes: Notes = field(default_factory=Notes)
    matches: list[Match] = field(default_factory=list)
    scanned: int = 0
    _left: int = 0
    _unreturned: int = 0

    def __post_init__(self) -> None:
        self._left = max(self.result_bytes - _ERROR_ROOM_BYTES, 0)

    def match(self, name: bytes, rules: list[str], *, pid: int = 0) -> None:
        """Rules that matched a file, or a process."""
        found = Match(path_text(name), pid, tuple(rules))
        self._left -= len(orjson.dumps(found.json())) + 1
        if self._left < 0:
            self._unreturned += 1
        else:
            self.matches.append(found)

    def result(self) -> Result:
        """The whole, sorted by object."""
        matches = sorted(self.matches)
        if self._unreturned:
            self.notes.note(f"rules matched {self._unreturned} more objects than a result can hold; they are left out")
        return Result(
            foundanything=bool(matches),
            success=True,
            elements={"Matches": [match.json() for match in matches]} if matches else None,
            errors=self.notes.texts(),
        )


def result_lines(result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
    """`PATH [r1,r2]` and warnings; with `everything` errors too."""
    for match in (result.get("elements") or {}).get("Matches") or ():
        pid = f" [pid:{match['Pid']}]" if match.get("Pid") else ""
        yield f"{on_one_line(match['Object'])}{pid} [{','.join(match['MatchedRules'])}]"
    for text in result.get("errors") or ():
        if everything or text.startswith(WARNING):
            yield text
