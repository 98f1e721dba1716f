"""Equal answers as one line: of two thousand agents the twelve that differ must not scroll away."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

MAX_NAMES: Final = 50
MAX_KINDS: Final = 1000
"""Kinds of answers that are told apart; what comes beyond them is counted as one."""
GROUPED_FROM: Final = 21
"""So many agents are listed by group at the end; fewer can be read as they are."""
IN_FULL: Final = 10
"""So many equal answers are printed where they are grouped; of the others only the number."""
MAX_GROUPS_TOLD: Final = 20
_NAMES_TOLD: Final = 5
_TOLD_CHARACTERS: Final = 160


@dataclass(slots=True)
class Names:
    """Some names of many, the first by the alphabet, whatever order they come in."""

    at_most: int = MAX_NAMES
    count: int = 0
    _first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """One more."""
        self.count += 1
        self._first.append(name)
        if len(self._first) > 4 * self.at_most:
            self._first = self.first()

    def first(self) -> list[str]:
        """The first of them."""
        return sorted(self._first)[: self.at_most]

    def more(self) -> int:
        """How many `first` leaves out."""
        return max(0, self.count - self.at_most)


@dataclass(slots=True)
class _Kind:
    line: str
    more_lines: int
    names: Names = field(default_factory=lambda: Names(_NAMES_TOLD))

    def told(self) -> str:
        count = self.names.count
        lines = f" (and {self.more_lines:,} more line{'s' * (self.more_lines != 1)})" if self.more_lines else ""
        more = f" and {self.names.more():,} more" if self.names.more() else ""
        agents = "1 agent" if count == 1 else f"{count:,} agents"
        return f"{agents}: {self.line}{lines}: {', '.join(self.names.first())}{more}"


class Groups:
    """What agents found, by what they say word for word."""

    def __init__(self) -> None:
        self.agents = 0
        self._kinds: dict[bytes, _Kind] = {}
        self._others = 0

    def add(self, name: str, lines: Sequence[str]) -> int:
        """Count an agent's answer; how many have given the same so far, this one included."""
        self.agents += 1
        key = hashlib.sha256("\n".join(lines).encode(errors="surrogatepass")).digest()[:16]
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) >= MAX_KINDS:
                self._others += 1
                return 1
            line = lines[0] if lines else "found something, and says no more"
            line = line if len(line) <= _TOLD_CHARACTERS else line[: _TOLD_CHARACTERS - 1] + "…"
            kind = self._kinds[key] = _Kind(line, max(0, len(lines) - 1))
        kind.names.add(name)
        return kind.names.count

    def told(self) -> list[str]:
        """A line for each kind, the rarest first, the commonest last; none of few agents, or where hardly two say the same."""
        kinds = len(self._kinds) + self._others
        if self.agents < GROUPED_FROM or kinds > self.agents // 2:
            return []
        ordered = sorted(self._kinds.items(), key=lambda item: (item[1].names.count, item[1].line, item[0]))
        *rarer, commonest = (kind for _, kind in ordered)
        lines = [kind.told() for kind in rarer[: MAX_GROUPS_TOLD - 1]]
        left = rarer[MAX_GROUPS_TOLD - 1 :]
        if left or self._others:
            agents = sum(kind.names.count for kind in left) + self._others
            lines.append(f"{agents:,} agents: {len(left) + self._others:,} more different answers")
        return [*lines, commonest.told()]
