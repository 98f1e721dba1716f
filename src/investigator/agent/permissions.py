"""Who may write what this host obeys or is known by: nobody but the user that the agent runs as, or root."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path

_WRITE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_ANY_BY_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def refuse_loose(path: Path, *, private: bool = False) -> None:
    """Refuse a file or folder that others may write, or with `private` read.

    Where it, or the link to it, stands in a folder that others can write to, it can be replaced: such a folder needs the
    sticky bit. A group that is our own may write there: many systems give each user one.
    Windows keeps this in access control lists, which no mode tells: nothing is checked there.

    Raises:
        DeploymentError: it is not there, somebody else's, or open to others; the hint says how to close it.
    """
    try:
        info = path.lstat()
        parent = path.absolute().parent
        folders = {parent: parent.stat()}
        if stat.S_ISLNK(info.st_mode) or path.name == "..":
            info = path.stat()
            folders.setdefault(real := path.resolve().parent, real.stat())
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    if os.name != "posix":
        return
    if info.st_uid not in (0, os.geteuid()):
        raise DeploymentError(
            f"{path}: it belongs to user {info.st_uid}, neither root nor us", hint=f"chown {os.geteuid()} {path}"
        )
    if info.st_mode & _WRITE_BY_OTHERS:
        raise DeploymentError(f"{path}: others than its owner can write it", hint=f"chmod go-w {path}")
    if private and info.st_mode & _ANY_BY_OTHERS:
        raise DeploymentError(f"{path}: others than its owner can read it", hint=f"chmod go= {path}")
    for folder, found in folders.items():
        _refuse_replaceable(folder, found)


def _refuse_replaceable(path: Path, info: os.stat_result) -> None:
    if info.st_uid not in (0, os.geteuid()):
        raise DeploymentError(
            f"{path}: it belongs to user {info.st_uid}, who can replace what is in it",
            hint=f"chown {os.geteuid()} {path}",
        )
    if info.st_mode & stat.S_ISVTX:
        return
    if info.st_mode & stat.S_IWOTH:
        raise DeploymentError(f"{path}: anybody can replace what is in it", hint=f"chmod o-w {path}")
    if info.st_mode & stat.S_IWGRP and info.st_gid not in (0, os.getegid()):
        raise DeploymentError(f"{path}: group {info.st_gid} can replace what is in it", hint=f"chmod g-w {path}")
