"""Unpacked whole and once, under the hash of what it holds; old versions go when nobody runs them.

    PLACE/.lock                 held by who unpacks or removes
    PLACE/<hash>/site-packages  one version, locked shared (flock on the folder) by each process that runs it
    PLACE/.new-* .old-*         work in progress, or what a killed one left: the next who holds the lock removes it

A version appears by one rename. A crash of the machine can still leave files empty or cut, since nothing is synced to
the disk, so each start compares the sizes of all files (3 ms for 1,400) and unpacks anew what differs.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from . import folders
from .trouble import CannotStart

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform != "win32":
    import fcntl

PACKAGES = "site-packages"
KEPT_OLD_VERSIONS = 1
"""Beside the one that runs: a roll-back starts at once."""
LOCK_WAIT_S = 120.0
LOCK_POLL_S = 0.05

_held: list[int] = []
"""Descriptors whose shared lock says that this process runs from a version; open until it ends."""


class Archive(NamedTuple):
    """The zipapp: its path, the hash that names what it has for this Python, and the files of that.

    A file is (path in the archive, path to unpack to, bytes, mode).
    """

    path: str
    name: str
    files: list[tuple[str, str, int, int]]


def listed(part: str, lines: bytes) -> list[tuple[str, str, int, int]]:
    """The files of one of the archive's folders, from its list: a line `MODE SIZE PATH` for each."""
    files = []
    for line in lines.decode().splitlines():
        mode, size, path = line.split(" ", 2)
        files.append((f"{part}/{path}", f"{PACKAGES}/{path}", int(size), int(mode, 8)))
    return files


def unpacked(archive: Archive, place: str, uid: int) -> str:
    """The folder to put on `sys.path`, unpacked if it is not there or not whole, and held until the process ends.

    Raises:
        CannotStart: no room, a read-only or noexec file system, a damaged archive, or a folder that is not ours alone.
    """
    folder = os.path.join(place, archive.name)
    if not (is_whole(archive, folder, uid) and hold(folder)):
        with exclusive(place) as locked:
            if not is_whole(archive, folder, uid):
                unpack(archive, place, folder)
            hold(folder)
            if locked:
                remove_old(place, archive.name)
    if os.name == "posix" and os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise CannotStart(
            f"{place} is on a file system mounted noexec: compiled modules cannot be loaded from it{folders.hint(uid)}"
        )
    return os.path.join(folder, PACKAGES)


def is_whole(archive: Archive, folder: str, uid: int) -> bool:
    """Whether every file is there with its size, and ours.

    Raises:
        CannotStart: the folder is a link, another's, or writable by others: nobody but us should have been able to.
    """
    try:
        folders.check_own(folder, uid)
        for _, path, size, _ in archive.files:
            found = os.lstat(f"{folder}/{path}")
            if found.st_size != size or not stat.S_ISREG(found.st_mode) or (found.st_uid != uid and uid >= 0):
                return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CannotStart(f"cannot read {error.filename}: {error.strerror}") from None
    return True


def hold(folder: str) -> bool:
    """Lock the folder as in use until this process ends; False if it is being removed, or was."""
    if sys.platform == "win32":
        return True
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            os.close(descriptor)
            return False  # else a file system without locks: nobody removes anything there either
    if not os.path.exists(folder) or not os.path.samestat(os.fstat(descriptor), os.lstat(folder)):
        os.close(descriptor)
        return False
    _held.append(descriptor)
    return True


@contextmanager
def exclusive(place: str) -> Iterator[bool]:
    """The lock of who unpacks and removes; yields False where the file system has no locks (then the rename decides)."""
    if sys.platform == "win32":
        yield False
        return
    path = os.path.join(place, ".lock")
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CannotStart(cannot_unpack(place, error)) from None
    try:
        yield wait_for_lock(descriptor, path)
    finally:
        os.close(descriptor)


def wait_for_lock(descriptor: int, path: str) -> bool:
    """Poll rather than block, so that a stopped process cannot stop every later start silently."""
    give_up = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno != errno.EWOULDBLOCK:
                return False
            if time.monotonic() > give_up:
                raise CannotStart(
                    f"another start has held {path} for {LOCK_WAIT_S:.0f} s: see which with lsof"
                ) from None
            time.sleep(LOCK_POLL_S)
        else:
            return True


def unpack(archive: Archive, place: str, folder: str) -> None:
    """Write all files beside the folder, check them against the archive's name, then rename."""
    new = os.path.join(place, f".new-{os.getpid()}-{time.monotonic_ns()}")
    try:
        os.mkdir(new, 0o700)
        if extract(archive, new) != archive.name:
            raise CannotStart(f"{archive.path} is damaged (its files are not those it was built with): copy it again")
        if os.path.lexists(folder):
            os.rename(folder, os.path.join(place, f".old-{os.getpid()}-{time.monotonic_ns()}"))
        os.rename(new, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # there are no locks, and another start was quicker
            raise CannotStart(cannot_unpack(place, error, archive)) from None
    finally:
        remove_tree(new)


def extract(archive: Archive, into: str) -> str:
    """Write the archive's files, exactly those that it was built with. Returns the hash that names them."""
    import zipfile
    import zlib
    from hashlib import sha256

    whole = sha256()
    try:
        with zipfile.ZipFile(archive.path) as packed:
            for packed_path, path, size, mode in archive.files:
                data = packed.read(packed_path)
                whole.update(f"{sha256(data).hexdigest()} {size} {mode:o} {path}\n".encode())
                write_file(os.path.join(into, path), data, mode)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError) as error:
        raise CannotStart(f"{archive.path} is damaged ({error}): copy it again") from None
    return whole.hexdigest()[:32]


def write_file(path: str, data: bytes, mode: int) -> None:
    """A new file; `mode` is at most 0755, whatever the umask."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o755)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o755)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o755)
    with open(descriptor, "wb", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]


def remove_old(place: str, name: str) -> None:
    """Remove what killed starts left, and the versions that nobody runs, but the newest few. Trouble is ignored."""
    versions: list[tuple[float, str]] = []
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith((".new-", ".old-")):
                remove_tree(entry.path)
            elif len(entry.name) == len(name) and entry.name != name and entry.is_dir(follow_symlinks=False):
                versions.append((entry.stat(follow_symlinks=False).st_mtime, entry.path))
    for _, path in sorted(versions, reverse=True)[KEPT_OLD_VERSIONS:]:
        remove_unused(path)


def remove_unused(path: str) -> None:
    """Remove a version unless a process runs from it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        gone = os.path.join(os.path.dirname(path), f".old-{os.getpid()}-{time.monotonic_ns()}")
        os.rename(path, gone)
        remove_tree(gone)
    except OSError:
        return
    finally:
        os.close(descriptor)


def remove_tree(path: str) -> None:
    """Remove a folder and all in it, as far as that goes."""
    if os.path.lexists(path):
        import shutil

        shutil.rmtree(path, ignore_errors=True)


def cannot_unpack(place: str, error: OSError, archive: Archive | None = None) -> str:
    """The line for what the file system said."""
    reason = error.strerror or str(error)
    if archive and error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason += f" ({sum(size for _, _, size, _ in archive.files) / 1e6:,.0f} MB are needed)"
    return f"cannot unpack into {place}: {reason}"
