"""The zipapp's start, once the Python fits: an isolated interpreter, unpacked files, the program."""

from __future__ import annotations

import os
import sys
from importlib import import_module

from .isolation import ISOLATED, isolate
from .trouble import EXIT_CODE, CannotStart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

archive_path = ""
"""The zipapp's absolute path once it has started: what starts the program again (`investigator.program`)."""

__all__ = ["ISOLATED", "archive_path", "main"]


def main() -> NoReturn:
    """Run the program's entry point, and leave with what it returns; with 5 and one line if that cannot be."""
    try:
        isolate()
        entry_point = prepare()
    except CannotStart as error:
        sys.stderr.write(f"investigator: {error}\n")
        sys.exit(EXIT_CODE)
    except KeyboardInterrupt:
        sys.exit(130)
    module, _, function = entry_point.partition(":")
    sys.exit(getattr(import_module(module), function)())


def prepare() -> str:
    """Unpack if need be, and put the unpacked packages where the archive was on `sys.path`. Returns the entry point."""
    global archive_path  # noqa: PLW0603 - one process is one start
    from . import built, folders, unpack  # type: ignore[attr-defined]  # `built` stands in the archive only

    archive_path = os.path.abspath(getattr(__spec__.loader, "archive"))  # noqa: B009 - a zipimporter's attribute
    uid = os.geteuid() if sys.platform != "win32" else -1
    place = folders.open_place(uid, os.environ)
    name, parts = built.VERSIONS[sys.implementation.cache_tag]
    get_data = getattr(__spec__.loader, "get_data")  # noqa: B009 - likewise
    files = [file for part in parts for file in unpack.listed(part, get_data(f"_bootstrap{os.sep}{part}.list"))]
    packages = unpack.unpacked(unpack.Archive(archive_path, name, files), place, uid)
    sys.path[:] = [packages, *(path for path in sys.path if os.path.abspath(path) != archive_path)]
    entry_point: str = built.ENTRY_POINT
    return entry_point
