"""What somebody may have meant who wrote a name that there is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The one of these names that is most like it; empty where none is like it enough (`cutoff`: 1 is the same)."""
    import difflib  # here and not above: it is memory on every host, for mistakes that few make

    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=cutoff)), "")
