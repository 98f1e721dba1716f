"""From the kernel's records to alerts: which severity, what is masked, and how many at most."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from investigator.errors import BadInput
from investigator.modules.audit.records import EOE, KEYSTROKES, read_record
from investigator.modules.interface import MASK
from investigator.protocol.alert import Alert, alert_bytes

if TYPE_CHECKING:
    from investigator.modules.audit.netlink import Record
    from investigator.modules.audit.records import Event
    from investigator.protocol.alert import Severity

SHOWN: Final = ("key", "exe", "comm", "name", "acct", "success", "res", "op", "pid", "auid")
"""What of a record stands in the alert's text; all of it is in its details."""
MAX_SHOWN_CHARACTERS: Final = 200
_OPEN: Final = frozenset(("arch", "syscall", "success", "exit", "items", "item", "res", "mode", "op", "type", "sig"))
"""What extra privacy mode leaves: no name, number or address of a person, process, file or peer."""


def alert_of(record: Record, *, include_raw: bool, private: bool) -> Alert | None:
    """The alert that tells a record; None for one that says nothing."""
    event = None if record.type == EOE else read_record(record.type, record.text)
    if event is None:
        return None
    data = {key: value if not private or key in _OPEN else MASK for key, value in event.data.items()}
    told_raw = include_raw and not private and record.type not in KEYSTROKES
    raw = record.text.decode("utf-8", "backslashreplace") if told_raw else ""
    details: dict[str, Any] = {
        "Serial": event.serial, "Timestamp": event.timestamp, "Type": event.type, "Data": data, "Raw": raw,
    }  # fmt: skip
    shown = " ".join(f"{key}={data[key][:MAX_SHOWN_CHARACTERS]}" for key in SHOWN if data.get(key))
    alert = Alert(
        severity=severity_of(record.type, event),
        alert=f"{event.type} {event.serial} {shown}".rstrip(),
        time_s=float(event.timestamp),
        details=details,
    )
    try:
        alert_bytes(alert)
    except BadInput:  # a record of nothing but escapes
        return msgspec.structs.replace(alert, details={**details, "Data": {}, "Raw": ""})
    return alert


def severity_of(number: int, event: Event) -> Severity:
    """By the ranges of linux/audit.h: anomalies and failed integrity high, what a rule's key or a policy names medium."""
    if 1700 <= number <= 1799 or 1800 <= number <= 1899 or 2100 <= number <= 2199:
        return "high"
    if 1400 <= number <= 1499 or number in (1107, 1305) or event.data.get("key", "(null)") != "(null)":
        return "medium"
    return "low"


class Rate:
    """At most so many records a second; how many were not told is told."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._left = float(per_s)
        self._at_s = time.monotonic()
        self.untold = 0

    def take(self) -> bool:
        """Whether one more may be told."""
        now_s = time.monotonic()
        self._left = min(self._per_s, self._left + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            self.untold += 1
            return False
        self._left -= 1
        return True
