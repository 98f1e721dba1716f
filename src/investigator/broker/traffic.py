"""What agents send, counted per agent; and whether one id speaks with two voices: a copy of its state that runs elsewhere.

Nothing here is verified: it is for notices, and an agent's credential ties it to its own subjects.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.protocol.facts import facts_digest

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_AGENTS: Final = 200_000
CLOCK_S: Final = 5.0
_FRAME_HEAD_BYTES: Final = 64
_OF_AGENT: Final = {"result": 3, "facts": 2, "hb": 2, "alert": 2}
"""Which token of a subject is the agent's id, by the subject's second one."""


@dataclass(slots=True)
class _Voice:
    """The newest process that spoke for an id, and what earlier ones said of themselves."""

    start_s: float
    digests: deque[str] = field(default_factory=lambda: deque(maxlen=8))
    earlier: deque[str] = field(default_factory=lambda: deque(maxlen=8))


class Traffic:
    """Fed with every message of agents; `note` is told (agent, notice)."""

    def __init__(self, *, flood_bytes_per_minute: int, note: Callable[[str, str], None]) -> None:
        self._flood = flood_bytes_per_minute
        self._note = note
        self._minute: Counter[str] = Counter()
        self._minute_ends_s = 0.0
        self._unkept: Counter[str] = Counter()
        self._voices: dict[str, _Voice] = {}

    def heard(self, subject: str, data: bytes, *, now_s: float) -> None:
        """One message; `now_s` is for counting, from any clock that does not go back."""
        parts = subject.split(".")
        place = _OF_AGENT.get(parts[1]) if len(parts) > 1 else None
        if place is None or place >= len(parts):
            return
        agent = parts[place]
        if agent in self._unkept or len(self._unkept) < MAX_AGENTS:
            self._unkept[agent] += len(data)
        self._count(agent, len(data), now_s)
        if parts[1] == "facts":
            self._facts(agent, data)
        elif parts[1] == "hb":
            self._heartbeat(agent, data)

    def take(self) -> dict[str, int]:
        """Bytes by agent since this was called last."""
        taken, self._unkept = dict(self._unkept), Counter()
        return taken

    def _count(self, agent: str, size: int, now_s: float) -> None:
        if now_s >= self._minute_ends_s:
            self._minute.clear()
            self._minute_ends_s = now_s + 60
        if agent in self._minute or len(self._minute) < MAX_AGENTS:
            before = self._minute[agent]
            self._minute[agent] += size
            if before <= self._flood < before + size:
                self._note(agent, f"sent more than {self._flood:,} bytes within a minute")

    def _facts(self, agent: str, frame: bytes) -> None:
        body = frame[_FRAME_HEAD_BYTES:]
        row = _object(body).get("row")
        start_s = _seconds(row.get("starttime")) if isinstance(row, dict) else None
        if start_s is None:
            return
        voice = self._voices.get(agent)
        if voice is None:
            if len(self._voices) < MAX_AGENTS:
                self._voices[agent] = _Voice(start_s, deque([facts_digest(body)], maxlen=8))
        elif start_s > voice.start_s:
            self._voices[agent] = _Voice(start_s, deque([facts_digest(body)], maxlen=8), voice.digests)
        elif start_s == voice.start_s:
            voice.digests.append(facts_digest(body))
        else:
            self._two_voices(agent)

    def _heartbeat(self, agent: str, frame: bytes) -> None:
        """From an earlier process after a later one began, by its own clock: there are two."""
        heartbeat, voice = _object(frame[_FRAME_HEAD_BYTES:]), self._voices.get(agent)
        digest, said_s = heartbeat.get("f"), heartbeat.get("t")
        if (
            voice is None
            or digest not in voice.earlier
            or digest in voice.digests
            or not isinstance(said_s, int | float)
        ):
            return
        if said_s > voice.start_s + CLOCK_S:
            self._two_voices(agent)

    def _two_voices(self, agent: str) -> None:
        self._note(agent, "speaks from two processes at a time: a copy of its state runs elsewhere")


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _seconds(text: object) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None
