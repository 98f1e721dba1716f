"""Files that are whole or not there, and never overwritten by surprise."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Final

from investigator.errors import BadInput, DeploymentError

PRIVATE: Final = 0o600
PUBLIC: Final = 0o644
_NO_LINKS: Final = frozenset((errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK))
"""What a file system without hard links says: a memory stick on which actions are carried around."""


def write_new(path: Path, content: bytes, *, mode: int = PUBLIC) -> None:
    """Write a file that must not be there yet.

    Raises:
        DeploymentError: it is there, or the folder does not take it.
    """
    try:
        scratch = _scratch(path, content, mode)
        try:
            os.link(scratch, path)  # unlike a rename, it refuses to take another file's place
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            with path.open("xb") as file:
                file.write(content)
        finally:
            scratch.unlink()
    except FileExistsError:
        raise DeploymentError(f"{path}: is there already; nothing was written") from None
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None


def replace(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Write a file whose old content was read; `mode` None keeps the mode that it has.

    Raises:
        DeploymentError: the folder does not take it; the old content stands.
    """
    try:
        _scratch(path, content, path.stat().st_mode & 0o7777 if mode is None else mode).replace(path)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None


def read_input(path: Path, *, max_bytes: int) -> bytes:
    """A file that the user named; of a larger one, enough to be refused for it.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(max_bytes + 1)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from None


def _scratch(path: Path, content: bytes, mode: int) -> Path:
    """The content on the disk, under a name of its own in the same folder."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
    except OSError:
        Path(name).unlink()
        raise
    return Path(name)
