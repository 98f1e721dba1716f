"""The program's own log: one line an event, as text for people, or as JSON with the action's id, so that one grep tells its story.

    {"time": "…Z", "level": "info", "program": "agent", "event": "admitted", "message": "…", "action": "<id>", "digest": "<SHA-256>", "agent": "<id>", …}

Wherever an action is meant its id is in `action`, and the agent's in `agent`; what happened is in `event`. What others wrote
stands in a line only as text within it: nothing breaks a line, nothing drives a terminal. Findings, keys, tokens and
passphrases are never given to a log.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import msgspec

from investigator.errors import DeploymentError
from investigator.log_file import LogFile
from investigator.printable import UNSAFE, printable

if TYPE_CHECKING:
    from typing import TextIO

MAX_MESSAGE_CHARACTERS: Final = 4000
MAX_FIELD_CHARACTERS: Final = 1000
MAX_TRACEBACK_CHARACTERS: Final = 8000
MAX_ITEMS: Final = 100
"""Of a list or an object in one field."""
MAX_PROBLEMS: Final = 10
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY: Final = 7
Level = Literal["debug", "info", "warning", "error"]
_LEVELS: Final[dict[Level, int]] = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class LogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table [log] of each configuration file."""

    level: Level | None = None
    """From which level on; by default warnings on standard error, and `info`, an action's whole story, in the file."""
    format: Literal["text", "json"] = "text"
    """Of standard error. The file holds JSON lines always."""
    file: Path | None = None
    """A log of its own, mode 0600, turned when it is `max_bytes` long; several processes may share it."""
    max_bytes: Annotated[int, msgspec.Meta(ge=64 << 10)] = 10 << 20
    keep: Annotated[int, msgspec.Meta(ge=0, le=100)] = 4
    """How many earlier ones stay, as `file.1`, `file.2` …"""


def about(event: str, /, *, action: str = "", digest: str = "", agent: str = "", **more: Any) -> dict[str, Any]:
    """What a line is about, for logging's `extra`; what is empty is left out."""
    named = {"event": event, "action": action, "digest": digest, "agent": agent, **more}
    return {"about": {name: value for name, value in named.items() if value is not None and value != ""}}


@dataclass(frozen=True, slots=True)
class Problem:
    """A warning or an error, and how often it came since the first one."""

    time_s: float
    """When it came last, seconds since 1970."""
    level: str
    text: str
    count: int = 1


class Problems(logging.Handler):
    """The last few warnings and errors, each text once: for `investigator status`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._last: dict[str, Problem] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Remember it."""
        text = _message(record)[:MAX_FIELD_CHARACTERS]
        before = self._last.pop(text, None)
        count = 1 if before is None else before.count + 1
        self._last[text] = Problem(record.created, record.levelname.lower(), text, count)
        while len(self._last) > MAX_PROBLEMS:
            del self._last[next(iter(self._last))]

    def last(self) -> list[Problem]:
        """The newest last."""
        return list(self._last.values())


@dataclass(slots=True)
class Origin:
    """Who logs: on every line of JSON."""

    program: str
    agent: str = ""
    """The agent's id, once it is known."""


class Logs:
    """The log of this process, from when it is made until `close`."""

    def __init__(self, program: str, settings: LogSettings, *, verbose: bool = False, bare: bool = False) -> None:
        """`verbose`: standard error tells everything from `info` on; `bare`: warnings as they are, without time and level.

        Raises:
            DeploymentError: the file cannot be written.
        """
        self.origin = Origin(program)
        self.problems = Problems()
        self._handlers: list[logging.Handler] = [self.problems]
        if bare and logging.lastResort is not None:
            self._handlers.append(logging.lastResort)
        elif not bare and not logging.root.handlers:
            self._handlers.append(self._to_stderr(settings, verbose=verbose))
        if settings.file is not None:
            self._handlers.append(self._to_file(settings, settings.file))
        self._level_before = logging.root.level
        for one in self._handlers:
            logging.root.addHandler(one)
        logging.root.setLevel(min(handler.level for handler in self._handlers))

    @property
    def lost(self) -> int:
        """Lines that the file's disk did not take."""
        return sum(handler.lost for handler in self._handlers if isinstance(handler, LogFile))

    def _to_stderr(self, settings: LogSettings, *, verbose: bool) -> logging.Handler:
        handler, level = logging.StreamHandler(sys.stderr), _LEVELS[settings.level or "warning"]
        handler.setLevel(min(level, logging.INFO) if verbose else level)
        json_lines = settings.format == "json"
        handler.setFormatter(JsonLines(self.origin) if json_lines else PlainText(for_journal=is_journal(sys.stderr)))
        return handler

    def _to_file(self, settings: LogSettings, path: Path) -> logging.Handler:
        try:
            handler = LogFile(path, max_bytes=settings.max_bytes, keep=settings.keep)
        except OSError as error:
            raise DeploymentError(f"[log] file {path}: {error.strerror}") from None
        handler.setLevel(_LEVELS[settings.level or "info"])
        handler.setFormatter(JsonLines(self.origin))
        return handler

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Say no more."""
        logging.root.setLevel(self._level_before)
        for handler in self._handlers:
            logging.root.removeHandler(handler)
            if handler is not logging.lastResort:
                handler.close()


class PlainText(logging.Formatter):
    """Time, level and message, and the action's id where the message does not have it.

    For the journal, which has times of its own, the level stands in front as it takes it (sd-daemon(3): `<4>`).
    """

    def __init__(self, *, for_journal: bool = False) -> None:
        super().__init__()
        self._for_journal = for_journal

    def format(self, record: logging.LogRecord) -> str:
        """One line; those of a traceback are set in."""
        text = _message(record)
        for name in ("action", "agent"):
            told = _fields(record).get(name)
            if told and str(told) not in text:
                text += f" {name}={printable(str(told))}"
        if self._for_journal:
            start = f"<{_priority(record.levelno)}>"
            return "\n".join(start + line for line in (text, *(f"  {line}" for line in _trace(record))))
        head = f"{self.formatTime(record)} {record.levelname} {text}"
        return "\n".join((head, *(f"    {line}" for line in _trace(record))))


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self._origin = origin

    def format(self, record: logging.LogRecord) -> str:
        """See the file's docstring."""
        fields = _fields(record)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "program": self._origin.program,
            "event": fields.get("event", "note"),
            "message": _message(record),
        }
        if self._origin.agent:
            line["agent"] = self._origin.agent
        line |= {name: _cut(value) for name, value in fields.items() if name not in line or name == "agent"}
        line["logger"] = record.name
        line["pid"] = record.process
        trace = _trace(record)
        if trace:
            line["traceback"] = trace
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        if text.isascii() and text.isprintable():
            return text
        return UNSAFE.sub(lambda found: _json_escape(ord(found[0])), text)


def is_journal(stream: TextIO) -> bool:
    """Whether what is written there goes to systemd's journal (systemd.exec(5), `$JOURNAL_STREAM`)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = getattr(record, "about", {})
    return found


def _message(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if len(text) > MAX_MESSAGE_CHARACTERS:
        text = text[: MAX_MESSAGE_CHARACTERS - 1] + "…"
    return printable(text)


def _cut(value: Any) -> Any:
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_cut(item) for item in value[:MAX_ITEMS]]
    if isinstance(value, dict):
        return {_cut(str(name)): _cut(item) for name, item in list(value.items())[:MAX_ITEMS]}
    return printable(str(value))[:MAX_FIELD_CHARACTERS]


def _trace(record: logging.LogRecord) -> list[str]:
    """The traceback's lines, its end where it is too long."""
    if not record.exc_info:
        return []
    text = logging.Formatter().formatException(record.exc_info)[-MAX_TRACEBACK_CHARACTERS:]
    return [printable(line) for line in text.split("\n")]


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), _DEBUG_PRIORITY)


def _json_escape(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
