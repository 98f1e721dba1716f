"""Opening what a hostile host may have put in the way, and how its names and errors are written.

Nothing here waits: what is opened may have become a FIFO, a device or a link since it was looked at, so it is opened
without blocking and its type checked on the descriptor. Access times stay as they were, where the system permits that.
Paths are bytes as the system has them; a path longer than the system's limit is opened piece by piece.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH_MAX: Final = 4096
_PIECE_BYTES: Final = 3800
SEPARATOR: Final = os.fsencode(os.sep)
FOLDERS_HAVE_DESCRIPTORS: Final = os.scandir in os.supports_fd and os.open in os.supports_dir_fd
"""Not so on Windows, where folders are read by their path and the system has no such limit."""

_COMMON: Final = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_BINARY", 0)
)
_FOLDER: Final = getattr(os, "O_DIRECTORY", 0)
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_NOATIME = getattr(os, "O_NOATIME", 0)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\udc80-\udcff]")


class NotRegularError(OSError):
    """What was opened is no regular file any more."""


def open_file(path: bytes, *, follow: bool) -> int:
    """A descriptor of a regular file; `follow`: the last part may be a link.

    Raises:
        OSError: it cannot be opened; NotRegularError: it is no regular file.
    """
    return open_regular(path, follow=follow)[0]


def open_regular(path: bytes, *, follow: bool) -> tuple[int, os.stat_result]:
    """The same with the file's status, as it was when it was opened.

    Raises:
        OSError: it cannot be opened; NotRegularError: it is no regular file.
    """
    descriptor = _open(path, _COMMON | (0 if follow else _NOFOLLOW))
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise NotRegularError(errno.EINVAL, f"is {kind_name(found.st_mode)}, not a regular file", path)
    return descriptor, found


def open_folder(path: bytes) -> tuple[int, os.stat_result]:
    """A descriptor of a folder, never through a link in the last part, and its status; -1 where folders have none.

    Raises:
        OSError: it cannot be opened, or is none.
    """
    if not FOLDERS_HAVE_DESCRIPTORS:
        return -1, status(path, follow=False)
    descriptor = _open(path, _COMMON | _FOLDER | _NOFOLLOW)
    return descriptor, os.fstat(descriptor)


def status(path: bytes, *, follow: bool) -> os.stat_result:
    """`os.stat` or `os.lstat` for paths of any length.

    Raises:
        OSError: as these.
    """
    if len(path) < PATH_MAX or not FOLDERS_HAVE_DESCRIPTORS:
        return os.stat(path, follow_symlinks=follow)  # noqa: PTH116 - paths are bytes here
    with _parent(path) as (folder, name):
        return os.stat(name, dir_fd=folder, follow_symlinks=follow)


def _open(path: bytes, flags: int) -> int:
    if len(path) >= PATH_MAX and FOLDERS_HAVE_DESCRIPTORS:
        with _parent(path) as (folder, name):
            return _open_quietly(name, flags, folder)
    return _open_quietly(path, flags, None)


def join(folder: bytes, name: bytes) -> bytes:
    """A path in a folder that may be the root."""
    return folder + name if folder.endswith(SEPARATOR) else folder + SEPARATOR + name


def split(path: bytes) -> tuple[bytes, bytes]:
    """The folder of an absolute clean path, and the name."""
    folder, separator, name = path.rpartition(SEPARATOR)
    return folder or separator, name


def _open_quietly(path: bytes, flags: int, folder: int | None) -> int:
    """Without touching the access time, which is only the owner's and root's to ask."""
    global _NOATIME  # noqa: PLW0603 - once refused, it is not asked for again: two calls per file otherwise
    if _NOATIME:
        try:
            return os.open(path, flags | _NOATIME, dir_fd=folder)
        except PermissionError as error:
            if error.errno != errno.EPERM:
                raise
            if os.geteuid():
                _NOATIME = 0
    return os.open(path, flags, dir_fd=folder)


@contextlib.contextmanager
def _parent(path: bytes) -> Iterator[tuple[int, bytes]]:
    """The folder of a path that is too long for one call, and the name within."""
    head, _, name = path.rpartition(b"/")
    folder = os.open(b"/" if head.startswith(b"/") or not head else b".", _COMMON | _FOLDER)
    try:
        rest = head.strip(b"/")
        while rest:
            cut = len(rest) if len(rest) <= _PIECE_BYTES else rest.rfind(b"/", 0, _PIECE_BYTES)
            deeper = os.open(rest[:cut], _COMMON | _FOLDER, dir_fd=folder)
            os.close(folder)
            folder, rest = deeper, rest[cut + 1 :]
        yield folder, name
    finally:
        os.close(folder)


def kind_name(mode: int) -> str:
    """What a file that is none is called, with its article."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISLNK, "a link"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")


def reason(error: OSError) -> str:
    """The system's words as Go writes them: `no such file or directory`."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def path_text(path: bytes) -> str:
    r"""A path for JSON: as it is if it is UTF-8, else in the shell's quotes, `$'/srv/caf\xe9'`.

    Lossless and unambiguous, since every other path in a result starts with `/` or a drive letter. Within the quotes a
    backslash, a single quote and control characters are escaped too: bash, zsh and ksh read it back.
    """
    try:
        return path.decode()
    except UnicodeDecodeError:
        return _quoted(path.decode("utf-8", "surrogateescape"))


def path_bytes(text: str) -> bytes:
    """What `path_text` was made from, so that a path from a result can be searched in again."""
    if not (text.startswith("$'") and text.endswith("'") and len(text) > 2):
        return os.fsencode(text)
    return os.fsencode(_ESCAPE.sub(lambda found: _unescape(found[1]), text[2:-1]))


def on_one_line(text: str) -> str:
    """A path of a result for a terminal: one with control characters in the same quotes, so that a line stays one."""
    return _quoted(text) if _CONTROL.search(text) and not text.startswith("$'") else text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _CONTROL.sub(lambda found: _escape(found[0]), escaped) + "'"


_ESCAPE: Final = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|.)", re.DOTALL)


def _unescape(escape: str) -> str:
    if len(escape) == 1:
        return "\n" if escape == "n" else escape
    code = int(escape[1:], 16)
    return chr(code + 0xDC00) if escape[0] == "x" and code >= 0x80 else chr(code)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code == 0x0A:
        return "\\n"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
