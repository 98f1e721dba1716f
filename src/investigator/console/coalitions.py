"""Who reaches a minimum together: the sets of people from whom nobody can be left out, smallest sets first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

MAX_SETS: Final = 20
MAX_PEOPLE: Final = 50
_MAX_STEPS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Coalitions:
    """The sets, and whether there may be more than were looked for."""

    sets: tuple[tuple[str, ...], ...]
    """Names by falling weight; sets by number of people, none twice, none that contains another."""
    more: bool


class _Enough(Exception):
    """The search has taken as many steps as it may."""


def coalitions(weights: Mapping[str, int], need: int) -> Coalitions:
    """The smallest sets of names whose weights reach `need` (1 or more): 20 sets of 50 people at most."""
    search = _Search(weights, need)
    found: list[tuple[str, ...]] = []
    try:
        for size in range(1, len(search.names) + 1):
            if size > MAX_PEOPLE:
                return Coalitions(tuple(found), more=search.reachable)
            for coalition in search.of_size(size):
                if len(found) == MAX_SETS:
                    return Coalitions(tuple(found), more=True)
                found.append(coalition)
    except _Enough:
        return Coalitions(tuple(found), more=True)
    return Coalitions(tuple(found), more=False)


class _Search:
    """People by falling weight: then in a set from whom nobody can be left out, only the last one reaches the minimum."""

    def __init__(self, weights: Mapping[str, int], need: int) -> None:
        people = sorted((-weight, name) for name, weight in weights.items() if weight > 0)
        self.names = [name for _, name in people]
        self._weights = [-weight for weight, _ in people]
        self._sums = [0, *accumulate(self._weights)]
        self._need = need
        self._steps = 0

    @property
    def reachable(self) -> bool:
        """Whether all together reach the minimum."""
        return self._sums[-1] >= self._need

    def of_size(self, size: int) -> Iterator[tuple[str, ...]]:
        """The sets of so many people."""
        return self._extended((), 0, 0, size)

    def _extended(self, chosen: tuple[str, ...], total: int, start: int, left: int) -> Iterator[tuple[str, ...]]:
        for at in range(start, len(self.names) - left + 1):
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise _Enough
            if total + self._sums[at + left] - self._sums[at] < self._need:
                return  # not with the heaviest that are left, so with no others
            if left == 1:
                yield (*chosen, self.names[at])
            elif total + self._weights[at] < self._need:
                yield from self._extended((*chosen, self.names[at]), total + self._weights[at], at + 1, left - 1)
