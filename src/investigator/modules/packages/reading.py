"""Reading database files that somebody may have put a FIFO, a device or a terabyte in place of."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from investigator.modules.file.opening import SEPARATOR, open_file, open_folder, path_text, reason

if TYPE_CHECKING:
    from investigator.modules.notes import Notes

MAX_DATABASE_BYTES: Final = 128 << 20
MAX_ENTRIES: Final = 200_000
_PIECE_BYTES: Final = 1 << 20


def below(root: bytes, path: str) -> bytes:
    """An absolute path of the system, seen from what stands for the root."""
    return root.rstrip(SEPARATOR) + os.fsencode(path)


def read_file(path: bytes, *, max_bytes: int = MAX_DATABASE_BYTES) -> bytes:
    """A regular file's content.

    Raises:
        OSError: it cannot be read, is no regular file; ValueError: it has more than so many bytes.
    """
    descriptor = open_file(path, follow=True)
    try:
        pieces: list[bytes] = []
        left = max_bytes + 1
        while left > 0 and (piece := os.read(descriptor, min(left, _PIECE_BYTES))):
            pieces.append(piece)
            left -= len(piece)
    finally:
        os.close(descriptor)
    if left <= 0:
        raise ValueError(f"more than {max_bytes:,} bytes")
    return b"".join(pieces)


def folder_names(path: bytes) -> list[tuple[bytes, bool]]:
    """What a folder holds, sorted: each name, and whether it is a folder itself (no link to one).

    Raises:
        OSError: it cannot be read; ValueError: it holds more than so many.
    """
    descriptor, _ = open_folder(path)
    try:
        found: list[tuple[bytes, bool]] = []
        with os.scandir(descriptor if descriptor >= 0 else os.fsdecode(path)) as entries:
            for item in entries:
                found.append((os.fsencode(item.name), item.is_dir(follow_symlinks=False)))
                if len(found) > MAX_ENTRIES:
                    raise ValueError(f"more than {MAX_ENTRIES:,} entries")
    finally:
        if descriptor >= 0:
            os.close(descriptor)
    return sorted(found)


def subfolders(path: bytes) -> list[bytes]:
    """The names of the folders in a folder; raises as `folder_names`."""
    return [name for name, is_folder in folder_names(path) if is_folder]


def existing(root: bytes, paths: tuple[str, ...]) -> list[bytes]:
    """Those of the paths that are there."""
    return [path for path in (below(root, one) for one in paths) if os.path.lexists(path)]


def could_not_read(path: bytes, error: OSError | ValueError) -> str:
    """The line that says so."""
    return f"could not read {path_text(path)}: {reason_of(error)}"


def reason_of(error: OSError | ValueError) -> str:
    """Why, in the system's words or the reader's own."""
    return reason(error) if isinstance(error, OSError) else str(error)


def out_of_time(deadline_s: float, path: bytes, notes: Notes) -> bool:
    """Whether the deadline is close; then that the rest was left out is said."""
    if time.monotonic() < deadline_s:
        return False
    notes.note(f"out of time in {path_text(path)}: the packages after that are not listed")
    return True
