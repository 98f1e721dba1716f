"""One path as it is now: what kind of thing, mode, owner, and the hash of a file's content. Links are never followed."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCK_BYTES: Final = 1 << 20
MAX_TARGET_CHARACTERS: Final = 1000
"""Of a link's target, as it is told; its hash is of all of it."""
Kind = Literal["file", "folder", "link", "other"]


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """A path at one moment; `stamp` is equal where nothing can have changed since."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    stamp: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Size, times of modification and change in nanoseconds, inode: for files and links."""
    sha256: str = ""
    """Of a file's content, or of what a link points to; empty where there is none, or it was not read."""
    target: str = ""
    """Of a link."""
    problem: str = ""
    """Why a file's content was not read."""


def look(name: bytes, folder: int) -> Seen | None:
    """What there is under a name in an open folder, without its content; None if nothing is.

    Raises:
        OSError: it cannot be told.
    """
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    kind: Kind = (
        "file"
        if stat.S_ISREG(status.st_mode)
        else "folder"
        if stat.S_ISDIR(status.st_mode)
        else "link"
        if stat.S_ISLNK(status.st_mode)
        else "other"
    )
    stamp = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return Seen(
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        stamp if kind in ("file", "link") else (0, 0, 0, 0),
    )


def read(seen: Seen, name: bytes, folder: int, *, max_bytes: int, beat: Callable[[], None]) -> tuple[Seen, bool]:
    """The same with its content's hash; false if it was being written, or replaced, meanwhile."""
    try:
        if seen.kind == "link":
            return _with_target(seen, os.readlink(name, dir_fd=folder)), True
        if seen.kind != "file":
            return seen, True
        if seen.stamp[0] > max_bytes:
            return msgspec.structs.replace(seen, problem=f"more than {max_bytes:,} bytes"), True
        # whatever took the file's place meanwhile is not followed, and does not block
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            return _read_open(seen, descriptor, max_bytes, beat)
        finally:
            os.close(descriptor)
    except OSError as error:
        problem = msgspec.structs.replace(seen, problem=error.strerror or "unreadable")
        return problem, not isinstance(error, FileNotFoundError)


def _with_target(seen: Seen, target: bytes) -> Seen:
    text = target.decode("utf-8", "backslashreplace")[:MAX_TARGET_CHARACTERS]
    return msgspec.structs.replace(seen, sha256=hashlib.sha256(target).hexdigest(), target=text)


def _read_open(seen: Seen, descriptor: int, max_bytes: int, beat: Callable[[], None]) -> tuple[Seen, bool]:
    before = os.fstat(descriptor)
    if not stat.S_ISREG(before.st_mode):
        return seen, False
    digest, left = hashlib.sha256(), max_bytes + 1
    while left > 0 and (block := os.read(descriptor, min(BLOCK_BYTES, left))):
        digest.update(block)
        left -= len(block)
        beat()
    after = os.fstat(descriptor)
    stamps = [(one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino) for one in (before, after)]
    settled = stamps[0] == stamps[1] == seen.stamp
    return msgspec.structs.replace(seen, sha256=digest.hexdigest()), settled and left > 0
