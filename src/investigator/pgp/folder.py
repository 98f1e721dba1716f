"""A folder of key files, and the keyring that they make: point 13 of the policy."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from investigator.errors import DeploymentError
from investigator.pgp.keyring import Keyring
from investigator.pgp.policy import MAX_CERTIFICATE_BYTES, Policy

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES: Final = (".asc", ".gpg", ".pgp", ".rev")
"""Names of key files; others, and hidden ones (an editor's), are not looked at."""
MAX_FILES: Final = 1000

_Stamp = tuple[str, int, int, int, int]


class KeyringFolder:
    """One certificate a file, or a revocation alone. Reading is cheap while no file changes: one `stat` each."""

    def __init__(self, folder: Path, policy: Policy | None = None) -> None:
        """Touch nothing yet."""
        self._folder = folder
        self._policy = policy or Policy()
        self._seen: tuple[str, list[_Stamp]] | None = None
        self._keyring: Keyring | None = None

    def read(self) -> Keyring:
        """The keyring of the files as they are now; the same object while none of them changed.

        What is wrong with single files stands in its `refused`: the rest holds, and so does what a broken file held
        before (12). A file that was taken away is trusted no more. Of what others may write only revocations count that
        prove themselves (10); where that is the folder, all else stays as it was.

        Raises:
            DeploymentError: the folder cannot be read, or others may write to it and it never was in order.
        """
        try:
            loose, stamps = seen = _loose(self._folder.stat(), "the folder"), self._look()
            if self._keyring is None and loose:
                raise DeploymentError(f"keyring {self._folder}: {loose}", hint=f"chmod go-w {self._folder}")
            if self._keyring is None or seen != self._seen:  # (13)
                self._keyring = self._load(stamps, loose)
                self._seen = seen
        except OSError as error:
            raise DeploymentError(f"keyring {self._folder}: {error.strerror or error}") from None
        return self._keyring

    def _look(self) -> list[_Stamp]:
        """Name, inode, size and both times of every key file: a change of any of them is a change."""
        stamps = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIXES) and not entry.name.startswith("."):
                    stamps.append(_stamp(entry))
                if len(stamps) > MAX_FILES:
                    raise DeploymentError(f"keyring {self._folder}: more than {MAX_FILES} key files")
        return sorted(stamps)

    def _load(self, stamps: list[_Stamp], loose_folder: str) -> Keyring:
        files: dict[str, bytes] = {}
        broken: dict[str, str] = {}
        loose: dict[str, bytes] = {}
        for name, *_ in stamps:
            try:
                content, problem = _content(self._folder / name)
            except OSError as error:
                broken[name] = error.strerror or str(error)
                continue
            if loose_folder or problem:
                broken[name], loose[name] = loose_folder or problem, content
            else:
                files[name] = content
        keyring = Keyring.load(files, self._policy, unreadable=broken, previous=self._keyring)
        return keyring.with_revocations(loose) if loose else keyring


def _stamp(entry: os.DirEntry[str]) -> _Stamp:
    try:
        info = entry.stat()
    except OSError:  # a link to nowhere, or gone meanwhile: reading it will say so
        return entry.name, 0, 0, 0, 0
    return entry.name, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _content(path: Path) -> tuple[bytes, str]:
    """What is in a key file, and why it cannot be trusted, or nothing."""
    # where others write, they could leave a pipe that nobody ever fills
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            return b"", "not a regular file"
        return file.read(MAX_CERTIFICATE_BYTES + 1), _loose(info, "the file")


def _loose(info: os.stat_result, what: str) -> str:
    """Why others decide what is in it, or nothing: who can write a key file decides what this host obeys."""
    if os.name != "posix":
        return ""
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{what} can be written by others (mode {stat.S_IMODE(info.st_mode):04o})"
    if info.st_uid not in (0, os.geteuid()):
        return f"{what} belongs to user id {info.st_uid}, neither root nor us"
    return ""
