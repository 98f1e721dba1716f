"""What a console heard live and has not looked at yet: so much at most, since the stream has all of it."""

from __future__ import annotations

from collections import deque
from itertools import islice
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

    def some(self, at_most: int, *, after: int = 0) -> list[Payload]:
        """The oldest but so many; they stay until they are `taken`, so that whoever is interrupted loses none."""
        return list(islice(self._payloads, after, after + at_most))

    def taken(self, count: int) -> None:
        """Forget the oldest."""
        for _ in range(count):
            self._bytes -= len(self._payloads.popleft()[1])
