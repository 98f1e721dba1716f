"""What a module could not read or left out, for `Result.errors`: each text once, errors capped and counted, notes always."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_ERRORS: Final = 30
WARNING: Final = "warning: "


class Notes:
    """Collects while a module runs; `texts` is what comes of it."""

    def __init__(self, *, max_errors: int = MAX_ERRORS) -> None:
        self._max_errors = max_errors
        self._errors: dict[str, None] = {}
        self._more = 0
        self._notes: dict[str, None] = {}

    def error(self, text: str) -> None:
        """Something that could not be read or understood."""
        if text in self._errors:
            return
        if len(self._errors) < self._max_errors:
            self._errors[text] = None
        else:
            self._more += 1

    def note(self, text: str) -> None:
        """What must be said whatever the number of errors: what was left out, and why."""
        self._notes[f"{WARNING}{text}"] = None

    def texts(self) -> list[str] | None:
        """Errors, how many more there were, notes; None where there is nothing to say."""
        more = [f"{self._more} more errors were not returned"] if self._more else []
        return [*self._errors, *more, *self._notes] or None


def note_lines(result: Mapping[str, Any], *, everything: bool, prefix: str = "") -> Iterator[str]:
    """A result's errors as they are printed: notes always, what could not be read, after `prefix`, with `everything`."""
    for text in result.get("errors") or ():
        if text.startswith(WARNING):
            yield text
        elif everything:
            yield prefix + text
