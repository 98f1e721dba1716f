"""How long to wait before the next attempt at a connection, and how long to give it."""

from __future__ import annotations

import secrets
from typing import Final

MAX_PAUSE_S: Final = 5.0
"""While nothing listens, or it says why not: then an attempt costs a server that comes back nothing."""
MAX_PAUSE_UNANSWERED_S: Final = 30.0
"""While something listens and does not answer: whoever comes back with 100,000 others makes way for them."""
_LEAST_PAUSE_S: Final = 0.02
_FIRST_PAUSE_S: Final = 0.5
"""The most that the first pause may be; each further one may be twice as long."""
_OPEN_WITHIN_S: Final = 10.0
"""As long as our servers wait for who connects: they may have thousands to let in."""
_MAX_OPEN_S: Final = 20.0
_MAX_DOUBLINGS: Final = 10
_random = secrets.SystemRandom()


class Backoff:
    """Longer from time to time, and never the same for two: a thousand agents must not come back at once."""

    def __init__(self) -> None:
        """Nothing was tried yet."""
        self.pauses = 0
        """How many there were since `reset`: the number of the next attempt."""
        self._unanswered = 0
        """How many attempts in a row a server took and did not answer."""

    def reset(self) -> None:
        """What failed before says nothing of what comes: begin with short pauses again."""
        self.pauses = self._unanswered = 0

    def failed(self, *, unanswered: bool) -> None:
        """An attempt failed, because a server that is there did not answer in time, or in another way."""
        self._unanswered = self._unanswered + 1 if unanswered else 0

    def pause_s(self) -> float:
        """How long to wait now; each call is the next pause."""
        most_s = min(_doubled(MAX_PAUSE_S, self._unanswered), MAX_PAUSE_UNANSWERED_S)
        most_s = min(most_s, _doubled(_FIRST_PAUSE_S, self.pauses))
        self.pauses += 1
        return _random.uniform(_LEAST_PAUSE_S, most_s)

    def patience_s(self) -> float:
        """How long an attempt may take: giving up what a busy server has half done makes it busier."""
        return min(_doubled(_OPEN_WITHIN_S, self._unanswered), _MAX_OPEN_S)


def _doubled(base_s: float, times: int) -> float:
    return float(base_s * 2.0 ** min(times, _MAX_DOUBLINGS))
