"""What is known of one process, read when it is first asked for, and what of it a result shows.

`Host` and `Subject` are what a system has to give; `on_linux` and `elsewhere` give it. Command lines hold passwords:
they are matched and never shown.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

from investigator.modules.durations import utc_text
from investigator.modules.file.opening import path_text, reason
from investigator.modules.file.sources import ReadProblem
from investigator.modules.process.hashing import ExecutableChanged, Hasher
from investigator.modules.processes.procfs import Ended

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")
MAX_SHOWN_FILES: Final = 100
_COMM_BYTES: Final = 15


class Basics(NamedTuple):
    """What every process has."""

    name: bytes
    parent: int
    started_ns: int
    """Nanoseconds since 1970."""
    is_kernel_thread: bool = False


class Owner(NamedTuple):
    """Whose a process is: its effective user, then its real one where that is another."""

    numbers: tuple[int, ...]
    """User ids; none on Windows."""
    names: tuple[bytes, ...]
    """The same users' names; a user without a name goes by the number."""


class Executable(NamedTuple):
    """What a process runs."""

    path: bytes
    deleted: bool
    """No name leads to it any more; the path is where it was."""


class Subject(Protocol):
    """One process, as its system tells of it.

    Each raises `Ended`, PermissionError or another OSError; `executable` is None where there is none.
    """

    pid: int

    def basics(self) -> Basics:
        """Name, parent, start."""

    def owner(self) -> Owner:
        """Its users."""

    def executable(self) -> Executable | None:
        """What it runs."""

    def open_executable(self) -> int:
        """A descriptor of that, to be closed by the caller."""

    def arguments(self) -> tuple[bytes, bool]:
        """Its arguments joined by blanks, and whether that is all of them."""

    def open_files(self) -> tuple[list[bytes], bool]:
        """What its descriptors and its current folder lead to, and whether that is all."""

    def close(self) -> None:
        """Let go of it."""


class Host(Protocol):
    """The system that processes run on."""

    def pids(self) -> list[int]:
        """All that can be seen."""

    def open(self, pid: int) -> Subject:
        """That process; raises Ended."""

    def family(self) -> frozenset[int]:
        """The processes that are this run's own."""


@dataclass(slots=True)
class Surroundings:
    """What the facts about all processes share."""

    host: Host
    now_ns: int
    hasher: Hasher
    ours: frozenset[int]
    troubles: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    """(what could not be done, why) and of which processes."""
    parents: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def trouble(self, doing: str, why: str, pid: int) -> None:
        """Something of a process could not be read."""
        with self.lock:
            self.troubles.setdefault((doing, why), set()).add(pid)


class Facts:
    """One process. What cannot be read is None, and a trouble is noted; `Ended` is raised when it is gone."""

    def __init__(self, subject: Subject, around: Surroundings) -> None:
        self.pid = subject.pid
        self._subject = subject
        self._around = around
        self._basics = subject.basics()
        self._digests: dict[str, str | None] = {}

    @property
    def now_ns(self) -> int:
        """The start of the run."""
        return self._around.now_ns

    @property
    def parent(self) -> int:
        """The parent's pid."""
        return self._basics.parent

    @property
    def started_ns(self) -> int:
        """When it started, nanoseconds since 1970."""
        return self._basics.started_ns

    @property
    def is_ours(self) -> bool:
        """Whether it belongs to this very run."""
        return self.pid in self._around.ours

    @cached_property
    def name(self) -> bytes:
        """Its own name for itself; where the kernel cut that off, the executable's, if it is the same so far."""
        name = self._basics.name
        if self._basics.is_kernel_thread:
            return b"[" + name + b"]"
        if len(name) == _COMM_BYTES:
            base = os.path.basename(self.executable.path) if self.executable else b""  # noqa: PTH119 - bytes
            return base if base.startswith(name) else name
        return name

    @cached_property
    def owner(self) -> Owner | None:
        """Its users."""
        return self._read("read the user", self._subject.owner)

    @cached_property
    def executable(self) -> Executable | None:
        """What it runs; None also where there is none."""
        if self._basics.is_kernel_thread:
            return None
        return self._read("read the executable", self._subject.executable)

    @cached_property
    def arguments(self) -> bytes | None:
        """Its arguments joined by blanks."""
        if self._basics.is_kernel_thread:
            return b""
        read = self._read("read the command line", self._subject.arguments)
        if read is None:
            return None
        if not read[1]:
            self._around.trouble("read all of the command line", "it is too long", self.pid)
        return read[0]

    @cached_property
    def open_files(self) -> list[bytes] | None:
        """Paths, sorted, each once."""
        if self._basics.is_kernel_thread:
            return []
        read = self._read("read the open files", self._subject.open_files)
        if read is None:
            return None
        if not read[1]:
            self._around.trouble("read all of the open files", "they are too many", self.pid)
        return sorted(set(read[0]))

    def digest(self, algorithm: str) -> str | None:
        """Of the executable, in upper-case hexadecimal digits."""
        if algorithm not in self._digests:
            self._digests[algorithm] = None
            if self.executable is not None:
                self._digests[algorithm] = self._read(
                    "hash the executable", lambda: self._around.hasher.digest(self._subject.open_executable, algorithm)
                )
        return self._digests[algorithm]

    def parent_texts(self) -> tuple[bytes, ...]:
        """The parent's name and where its executable is; nothing for what has no parent, or where it has ended."""
        known = self._around.parents.get(self.parent)
        if known is None:
            known = self._around.parents[self.parent] = _texts_of(self.parent, self._around)
        return known

    def shown(self) -> dict[str, Any]:
        """For a result."""
        executable, owner = self.executable, self.owner
        parent = next(iter(self.parent_texts()), b"")
        shown: dict[str, Any] = {
            "name": path_text(self.name),
            "pid": self.pid,
            "exe": path_text(executable.path) if executable else "",
        }
        if executable and executable.deleted:
            shown["deleted"] = True
        shown["user"] = path_text(owner.names[0]) if owner and owner.names else ""
        if owner and owner.numbers:
            shown["uid"] = owner.numbers[0]
        if owner and len(owner.names) > 1:
            shown["realuser"] = path_text(owner.names[1])
        shown["ppid"] = self.parent
        shown["parent"] = path_text(parent)
        shown["started"] = utc_text(self.started_ns // 10_000_000 * 10_000_000)
        return shown

    def _read(self, doing: str, read: Callable[[], Answer]) -> Answer | None:
        try:
            return read()
        except (ReadProblem, ExecutableChanged) as error:
            self._around.trouble(doing, str(error), self.pid)
        except OSError as error:
            self._around.trouble(doing, reason(error), self.pid)
        return None


def _texts_of(pid: int, around: Surroundings) -> tuple[bytes, ...]:
    if pid <= 0:
        return ()
    try:
        subject = around.host.open(pid)
    except (Ended, OSError):
        return ()
    try:
        facts = Facts(subject, around)
        texts = (facts.name, facts.executable.path) if facts.executable else (facts.name,)
    except (Ended, OSError):
        return ()
    finally:
        subject.close()
    return texts


def shown_files(paths: list[bytes]) -> list[str]:
    """Paths for a result, at most `MAX_SHOWN_FILES`, and a last text for how many there are besides."""
    shown = [path_text(path) for path in paths[:MAX_SHOWN_FILES]]
    more = len(paths) - len(shown)
    return [*shown, f"... and {more} more"] if more else shown
