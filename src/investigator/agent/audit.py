"""Every decision of this agent, one line each, in a chain on the host: on the disk before anything runs.

What is passed over in silence (an action for other hosts, the same bytes once more) is no decision. Each line also goes to the host's own log.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import msgspec

from investigator.agent.audit_file import AuditFile, NotRecorded
from investigator.agent.host_log import HostLog
from investigator.protocol.audit import HEAD_DIGITS, NOTHING, Entry, Head, line_digest, write_line
from investigator.protocol.codec import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from types import TracebackType

    from investigator.protocol.admission import Admitted, Refusal

MAX_TEXT_CHARACTERS: Final = 300
MAX_LISTED: Final = 100
"""Signers and modules that a line names; an action may have 1,000 operations."""
UNSIGNED_AT_ONCE: Final = 20
UNSIGNED_PER_MINUTE: Final = 1
"""Lines for what no trusted key signed. Whoever can publish could otherwise push the real decisions out of the files:
at this rate that takes three months of sending."""
LINES_IN_MEMORY: Final = 1000
Kind = Literal["action", "cancel", "revocation"]
_log = logging.getLogger(__name__)


class Audit:
    """The audit of one agent; `lines` are the last ones, where it has no folder."""

    def __init__(
        self,
        folder: Path | None,
        *,
        agent: str,
        key_is_new: bool,
        host_log: HostLog | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the files in the agent's state folder; without one, as for simulated agents, all is in memory.

        Raises:
            NotRecorded: they cannot be read.
        """
        self.lines: deque[bytes] = deque(maxlen=LINES_IN_MEMORY)
        self._file = None if folder is None else AuditFile(folder, key_is_new=key_is_new)
        self._last = Head(0, NOTHING)
        self._agent = agent
        self._host_log = host_log if host_log is not None or folder is None else HostLog()
        self._clock = clock
        self._unwritten = 0
        self._unsigned_left = float(UNSIGNED_AT_ONCE)
        self._unsigned_at_s = time.monotonic()
        if self._file is not None:
            self._try(self._say_found, self._file)

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write how many decisions have no line, and close."""
        if self._unwritten:
            self._try(self.record, Entry(kind="skipped"))
        if self._file is not None:
            self._file.close()
        if self._host_log is not None:
            self._host_log.close()

    @property
    def count(self) -> int:
        """How many lines were written since the chain began; for heartbeats."""
        return self._head.count

    @property
    def head(self) -> str:
        """The start of the newest line's SHA-256, in hexadecimal digits; for heartbeats."""
        return self._head.digest[:HEAD_DIGITS]

    def admitted(self, admitted: Admitted) -> None:
        """Record that an action may run; on return it is on the disk.

        Raises:
            NotRecorded: it could not be written; the action must not run.
        """
        action = admitted.action
        self.decided(
            "action",
            "admitted",
            action=action.id,
            name=action.name,
            digest=admitted.digest,
            signers=admitted.signers,
            operations=[operation.module for operation in action.operations],
        )

    def refused(self, refusal: Refusal, action: str, *, kind: Kind = "action") -> None:
        """Record a refusal of what came under this action id; unsigned ones only so many, the others are counted. Never raises."""
        if not refusal.signers and not self._may_write_unsigned():
            self.skip()
            return
        signed = refusal.action
        self._try(
            self.decided,
            kind,
            "refused",
            code=refusal.code,
            reason=refusal.reason,
            action=action,
            name=signed.name if signed is not None else "",
            digest=refusal.digest,
            signers=refusal.signers,
            operations=[operation.module for operation in signed.operations] if signed is not None else (),
        )

    def ended(self, action: str, digest: str, state: str, code: str) -> None:
        """Record how the run of an admitted action ended. Never raises."""
        self._try(self.record, Entry(kind="end", action=action, digest=digest, state=state, code=code))

    def decided(
        self,
        kind: Kind,
        verdict: Literal["admitted", "refused"],
        *,
        code: str = "",
        reason: str = "",
        action: str = "",
        name: str = "",
        digest: str = "",
        signers: Iterable[str] = (),
        operations: Iterable[str] = (),
    ) -> None:
        """Record a decision about something signed; on return it is on the disk.

        Raises:
            NotRecorded: it could not be written; what was decided must not be done.
        """
        self.record(
            Entry(
                kind="decision",
                type=kind,
                verdict=verdict,
                code=code,
                reason=one_line(reason, at_most=MAX_TEXT_CHARACTERS),
                action=action,
                name=one_line(name, at_most=MAX_TEXT_CHARACTERS),
                digest=digest,
                signers=_some(signers),
                operations=_some(operations),
            )
        )

    def skip(self) -> None:
        """Count a decision that gets no line of its own: the next line says how many there were."""
        self._unwritten += 1

    def record(self, entry: Entry) -> None:
        """Write one line; on return it is on the disk.

        Raises:
            NotRecorded: the disk does not take it.
        """
        if self._file is not None:
            self._file.check()
            self._say_found(self._file)
        self._write(msgspec.structs.replace(entry, unwritten=self._unwritten))
        self._unwritten = 0

    @property
    def _head(self) -> Head:
        return self._last if self._file is None else self._file.last

    def _say_found(self, file: AuditFile) -> None:
        while file.found:
            _log.log(
                logging.INFO if file.found[0].code == "first" else logging.ERROR, "audit: %s", file.found[0].reason
            )
            self._write(file.found[0])
            del file.found[0]

    def _write(self, entry: Entry) -> None:
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        raw = write_line(entry, self._head, time=now, agent=self._agent)
        if self._file is None:
            self._last = Head(self._last.count + 1, line_digest(raw))
            self.lines.append(raw)
        else:
            self._file.append(raw)
        if self._host_log is not None:
            self._host_log.say(raw, warning=entry.verdict == "refused" or entry.kind == "chain")

    def _try(self, write: Callable[..., None], *words: Any, **more: Any) -> None:
        """Where nothing depends on the line, a full disk is told and counted."""
        try:
            write(*words, **more)
        except NotRecorded as error:
            self._unwritten += 1
            _log.error("not recorded: %s", error)

    def _may_write_unsigned(self) -> bool:
        now_s = time.monotonic()
        gained = (now_s - self._unsigned_at_s) * UNSIGNED_PER_MINUTE / 60
        self._unsigned_left, self._unsigned_at_s = min(self._unsigned_left + gained, UNSIGNED_AT_ONCE), now_s
        if self._unsigned_left < 1:
            return False
        self._unsigned_left -= 1
        return True


def _some(texts: Iterable[str]) -> tuple[str, ...]:
    """As many as a line holds, and how many more."""
    listed = [one_line(text, at_most=MAX_TEXT_CHARACTERS) for text in texts]
    more = len(listed) - MAX_LISTED
    return (*listed[:MAX_LISTED], f"and {more} more") if more > 0 else tuple(listed)
