"""The audit's files read back, oldest line first, also while the agent writes them and from files that were carried elsewhere."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, BinaryIO, Final, Self

from investigator.agent.audit_file import CURRENT, KEPT_FILES, full_files, read_head
from investigator.errors import DeploymentError
from investigator.protocol.audit import MAX_LINE_BYTES, ChainBroken, Head, Verified, read_line, verify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_ATTEMPTS: Final = 5
NOT_RUN: Final = frozenset(("audit", "ledger"))
"""Codes of the end of an action that was admitted, and then did not run because that could not be recorded."""


class AuditLines:
    """The lines of an agent's state folder, or of these files; a context manager that holds them open.

    `torn` is set once the last line turns out to be incomplete: it is being written, or a crash cut it.
    """

    def __init__(self, folder: Path | None = None, files: Sequence[Path] = ()) -> None:
        self.folder = folder
        self.torn = False
        self.files = list(files)
        self._opened: list[BinaryIO] = []
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Open all files at once, so that a rotation in between loses none.

        Raises:
            DeploymentError: there is no audit, or it cannot be read.
        """
        for attempt in range(_ATTEMPTS):
            paths = self.files if self.folder is None else [*full_files(self.folder), self.folder / CURRENT]
            try:
                with ExitStack() as opened:
                    files: list[BinaryIO] = [
                        opened.enter_context(path.open("rb")) for path in paths if self.folder is None or path.exists()
                    ]
                    self._closing = opened.pop_all()
            except FileNotFoundError as error:
                if self.folder is not None and attempt < _ATTEMPTS - 1:
                    continue  # rotated just now
                raise DeploymentError(f"{error.filename}: {error.strerror}") from None
            except OSError as error:
                raise DeploymentError(f"{error.filename}: {error.strerror}") from None
            break
        if not files:
            self._closing.close()
            raise DeploymentError(f"{self.folder}: there is no audit", hint="--state says where an agent's state is.")
        self._opened = sorted(files, key=_first_number) if self.folder is None else files
        return self

    def __exit__(self, *error: object) -> None:
        """Close them."""
        self._closing.close()

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """(place for messages, line without its line feed)."""
        for file in self._opened:
            name = file.name.rpartition("/")[2]
            number = 0
            file.seek(0)
            while raw := file.readline(MAX_LINE_BYTES + 2):
                number += 1
                if not raw.endswith(b"\n") and file is self._opened[-1] and len(raw) <= MAX_LINE_BYTES:
                    self.torn = True
                    return
                yield f"{name}, row {number}", raw.removesuffix(b"\n")


def verify_audit(
    lines: AuditLines, heads: Iterable[Head], *, start: int = 1, agent: str | None = None, own: Head | None = None
) -> Verified:
    """Check a chain against what is known of it, `own` being the folder's own `audit.head` from before the files were opened.

    Raises:
        ChainBroken: naming the first place where it is not as it was written.
    """
    chain = verify(lines, heads=[*heads, *([own] if own is not None else [])], start=start)
    chain.compared -= own is not None and chain.first - 1 <= own.count
    if agent is not None and chain.first and chain.agent != agent:
        raise ChainBroken(f"line {chain.first}: it is of agent {chain.agent[:64]}, not of {agent}")
    full = len(full_files(lines.folder)) if lines.folder is not None else KEPT_FILES
    if start == 1 and chain.first > 1 and full < KEPT_FILES:
        raise ChainBroken(
            f"lines 1 to {chain.first - 1} are missing: the agent removes the oldest file only beyond {KEPT_FILES} full ones, "
            f"and here are {full}"
        )
    return chain


def admitted_digests(folder: Path) -> set[str]:
    """The actions that ran here, by the audit; nothing where it cannot be read. Not those of which it says that they did not run."""
    digests: set[str] = set()
    with suppress(DeploymentError), AuditLines(folder) as lines:
        for _, raw in lines:
            line = read_line(raw)
            if line is None:
                continue
            if (line.kind, line.type, line.verdict) == ("decision", "action", "admitted"):
                digests.add(line.digest)
            elif line.kind == "end" and line.code in NOT_RUN:
                digests.discard(line.digest)
    return digests


def own_head(folder: Path) -> Head | None:
    """What the agent wrote beside its audit; to be read before the lines are, which may grow meanwhile."""
    return read_head(folder)


def _first_number(file: BinaryIO) -> int:
    line = read_line(file.readline(MAX_LINE_BYTES + 1).rstrip(b"\n"))
    return line.n if line is not None else 0
