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

    Where a file stands in a folder that anybody can write to, it can be replaced: such a folder needs the sticky bit.
    Windows keeps this in access control lists, which no mode tells: nothing is checked there.

    Raises:
        DeploymentError: it is not there, somebody else's, or open to others; the hint says how to close it.
    """
    try:
        info, folder = path.stat(), path.resolve().parent.stat()
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    if os.name != "posix":
        return
    if info.st_uid not in (0, os.geteuid()):
        raise DeploymentError(f"{path}: it belongs to user {info.st_uid}, neither root nor us", hint=f"chown {path}")
    if info.st_mode & _WRITE_BY_OTHERS:
        raise DeploymentError(f"{path}: others than its owner can write it", hint=f"chmod go-w {path}")
    if private and info.st_mode & _ANY_BY_OTHERS:
        raise DeploymentError(f"{path}: others than its owner can read it", hint=f"chmod go= {path}")
    if folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise DeploymentError(f"{path.parent}: anybody can replace what is in it", hint=f"chmod o-w {path.parent}")
