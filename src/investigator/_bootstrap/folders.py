"""Where the zipapp unpacks: a folder of our own that nobody else can write to, or a refusal.

What is unpacked is run, by root at every start of an agent. So root has one fixed place that no variable moves, and each
folder from / down to it must be root's and writable by nobody else. Others have their cache folder.
"""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from .trouble import CannotStart

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT_STATE = "/Library/Application Support" if sys.platform == "darwin" else "/var/lib"
"""The agent's state folder is `investigator` in it."""

WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def open_place(uid: int, environ: Mapping[str, str]) -> str:
    """The folder that holds the unpacked versions, made where it lacks and checked.

    Raises:
        CannotStart: a folder on the way could have been prepared by somebody else, or cannot be made.
    """
    base = ROOT_STATE if uid == 0 else user_cache(uid, environ)
    try:
        os.makedirs(base, mode=0o700, exist_ok=True)
        check_parents(base, uid)
        for name in ("investigator", "pyz"):
            base = os.path.join(base, name)
            with suppress(FileExistsError):  # judged next, whoever made it
                os.mkdir(base, mode=0o700)
            check_own(base, uid)
    except OSError as error:
        raise CannotStart(f"cannot make {error.filename or base}: {error.strerror}{hint(uid)}") from None
    return base


def user_cache(uid: int, environ: Mapping[str, str]) -> str:
    """The user's cache folder: XDG_CACHE_HOME where it is absolute (as its specification demands), else ~/.cache."""
    if sys.platform == "win32":  # the profile is the user's alone by its access control list; there is no mode to check
        return environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
    given = environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):
        return os.path.normpath(given)
    home = environ.get("HOME", "")
    if not os.path.isabs(home):
        import pwd

        try:
            home = pwd.getpwuid(uid).pw_dir
        except KeyError:
            raise CannotStart(f"user {uid} has no home folder to unpack under{hint(uid)}") from None
    return os.path.join(os.path.normpath(home), "Library/Caches" if sys.platform == "darwin" else ".cache")


def check_own(path: str, uid: int) -> None:
    """Refuse what is no folder of ours alone: a link, another's, or one that others can write to."""
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise CannotStart(f"{path} is a link, and what it leads to could be anybody's: remove it{hint(uid)}")
    if not stat.S_ISDIR(found.st_mode):
        raise CannotStart(f"{path} is no folder: remove it{hint(uid)}")
    if sys.platform == "win32":
        return
    if found.st_uid != uid:
        raise CannotStart(f"{path} belongs to user {found.st_uid}, not to {uid} who runs this{hint(uid)}")
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise CannotStart(
            f"others can write to {path} (mode {stat.S_IMODE(found.st_mode):04o}): remove it, for what is in it may not be ours"
        )


def check_parents(path: str, uid: int) -> None:
    """Refuse a path on which somebody else can put another folder in the place of ours.

    Both the path as written and the one that links lead to are walked. A folder with the sticky bit (/tmp) lets nobody
    replace what is ours, so a user's cache may be under it; root's place may not.
    """
    if sys.platform == "win32":
        return
    walked: set[str] = set()
    for written in (path, os.path.realpath(path)):
        step = written
        while step not in walked:
            walked.add(step)
            check_parent(step, uid)
            step = os.path.dirname(step)


def check_parent(path: str, uid: int) -> None:
    """One folder, or one link, on the way."""
    found = os.lstat(path)
    if found.st_uid not in (0, uid):
        raise CannotStart(f"{path} belongs to user {found.st_uid}, who could put other code under it{hint(uid)}")
    sticky = uid != 0 and found.st_mode & stat.S_ISVTX
    if found.st_mode & WRITABLE_BY_OTHERS and not sticky and not stat.S_ISLNK(found.st_mode):
        raise CannotStart(f"others can write to {path}, and put other code under it: chmod go-w {path}")


def hint(uid: int) -> str:
    """What somebody who is not root can do about a place that does not fit."""
    return "" if uid == 0 or sys.platform == "win32" else "; XDG_CACHE_HOME names another cache folder"
