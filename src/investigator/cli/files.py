"""Text that a command writes: to standard output, or into a file whose readers never find half of it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from investigator.errors import DeploymentError


def write_out(text: str, path: Path | None) -> None:
    """Print it, or replace the file, readable by everybody, with it.

    Raises:
        DeploymentError: the folder does not take it.
    """
    if path is None:
        print(text, end="")
        return
    try:
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", suffix=".new", delete=False, encoding="utf-8"
        ) as file:
            scratch = Path(file.name)
            file.write(text)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    try:
        if os.name == "posix":
            scratch.chmod(0o644)
        scratch.replace(path)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise DeploymentError(f"{path}: {error.strerror}") from None
