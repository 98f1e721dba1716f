"""Keys to sort by, remembered for the versions that occur: short ones. A host may have megabytes in a version's place."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

SHORT_CHARACTERS: Final = 64
_REMEMBERED: Final = 8192

Key = TypeVar("Key")


class Remembered(Generic[Key]):
    """A function of a text, which works each short one out once; for use as a decorator."""

    def __init__(self, make: Callable[[str], Key]) -> None:
        self._make = make
        self._short = lru_cache(maxsize=_REMEMBERED)(make)

    def __call__(self, text: str) -> Key:
        """What `make` makes of it."""
        return self._short(text) if len(text) <= SHORT_CHARACTERS else self._make(text)

    def cache_clear(self) -> None:
        """Forget them all."""
        self._short.cache_clear()
