"""Regular expressions on file names: one search per folder over its names joined by newlines, not one per name."""

from __future__ import annotations

from typing import Final

from investigator.modules.patterns.superset import compile_superset, superset
from investigator.protocol.regex import compile_regex, tolerant

_FEW: Final = 3


class NamePattern:
    """One regular expression, judged on base names."""

    def __init__(self, pattern: str) -> None:
        """Raises BadRegex: it does not compile."""
        self._judge = compile_regex(pattern).search
        rewritten = superset(pattern, cr=False)
        program = compile_superset(rewritten)
        self._candidates = None if program is None else program.search
        self._certain = rewritten is not None and rewritten.exact

    def matches(self, name: bytes) -> bool:
        """Whether it matches one name; bytes that are no UTF-8 count as U+FFFD."""
        return self._judge(tolerant(name)) is not None

    def among(self, names: list[bytes], joined: bytes | None) -> list[int]:
        """Which of the names match, as ascending places; `joined` is `joined_names(names)`."""
        if joined is None or self._candidates is None or len(names) <= _FEW:
            return [place for place, name in enumerate(names) if self.matches(name)]
        found: list[int] = []
        position = place = 0
        while (candidate := self._candidates(joined, position)) is not None:
            at = candidate.start()
            place += joined.count(b"\n", position, at)
            if self._certain or self.matches(names[place]):
                found.append(place)
            stop = joined.find(b"\n", at)
            if stop < 0:
                break
            position, place = stop + 1, place + 1
        return found


def joined_names(names: list[bytes]) -> bytes | None:
    """The names, a newline between any two; None if one holds a newline itself, and each must be judged alone."""
    joined = b"\n".join(names)
    return joined if joined.count(b"\n") == len(names) - 1 else None
