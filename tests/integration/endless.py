"""A search that takes minutes wherever it runs: all of /usr is done in seconds."""

from __future__ import annotations

from pathlib import Path

HOLE_BYTES = 900 << 30


def endless(folder: Path) -> tuple[str, ...]:
    """The words of one that reads a file of zeros, all of it a hole: it takes no room on the disk."""
    folder.mkdir(exist_ok=True)
    with (folder / "zeros").open("wb") as file:
        file.truncate(HOLE_BYTES)
    return ("file", "-path", str(folder), "-content", "no such text anywhere[0-9]{9}x")
