"""What a server said that it does not allow, until the one who tried it asks."""

from __future__ import annotations

import logging
from typing import Final

MAX_DENIED: Final = 100
"""Subjects that the broker did not allow, of which it is remembered, and logged, that it did not."""
_log = logging.getLogger(__name__)


class Denials:
    """Of one user's connection, whichever server it leads to.

    A server tells of them in lower case, and at no particular time; those of what was sent before a round trip are here
    after it.
    """

    def __init__(self) -> None:
        """None yet."""
        self._denied: dict[tuple[str, str], None] = {}
        self._logged: set[tuple[str, str]] = set()

    def heard(self, what: str, subject: str) -> None:
        """The server does not allow it: `what` is "publish" or "subscription"."""
        denied = (what, subject)
        if len(self._denied) < MAX_DENIED:
            self._denied[denied] = None
        if denied not in self._logged and len(self._logged) < MAX_DENIED:  # what is tried again is no news
            self._logged.add(denied)
            _log.warning("the broker does not allow the %s of %s", what, subject)

    def take_subscription(self, subject: str) -> bool:
        """Whether this subscription was denied; told once."""
        denied = ("subscription", subject.lower())
        if denied not in self._denied:
            return False
        del self._denied[denied]
        return True

    def take_publish(self) -> str | None:
        """A subject to which something published was denied, in lower case; each is told once."""
        for denied in self._denied:
            if denied[0] == "publish":
                del self._denied[denied]
                return denied[1]
        return None
