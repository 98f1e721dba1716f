"""What a console heard live and has not looked at yet: so much at most, since the stream has all of it."""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_BYTES: Final = 32 << 20
Payload = tuple[str, bytes]
"""An agent's id, and what came in its name."""


class Arrivals:
    """A queue with a bound. What it does not take is not lost: `overflown` says that the stream is to be read."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.overflown = False
        """Whether something was not taken since this was last set to false."""
        self._max_bytes = max_bytes
        self._payloads: deque[Payload] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """How many wait."""
        return len(self._payloads)

    def put(self, agent: str, payload: bytes) -> None:
        """Queue it, if there is room."""
        if self._bytes + len(payload) > self._max_bytes:
            self.overflown = True
            return
        self._payloads.append((agent, payload))
        self._bytes += len(payload)

    def first(self, at_most: int) -> list[Payload]:
        """The oldest; they stay until they are `taken`, so that whoever is interrupted loses none."""
        return [self._payloads[number] for number in range(min(at_most, len(self._payloads)))]

    def taken(self, count: int) -> None:
        """Forget the oldest."""
        for _ in range(count):
            self._bytes -= len(self._payloads.popleft()[1])
