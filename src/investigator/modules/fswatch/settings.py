"""What `[modules.fswatch]` in agent.toml may say."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Final

import msgspec

from investigator.errors import BadParameters
from investigator.modules.interface import OS

RECURSIVE: Final = "recursive:"
"""MIG's mark for a path whose folders below are watched too."""
MAX_PATHS: Final = 256
MAX_PATH_BYTES: Final = 4096
_DEFAULTS: Final[dict[str, tuple[str, ...]]] = {
    "linux": (
        "/boot", "/etc/cron.d", "/var/spool/cron", "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/etc/init.d",
        "recursive:/etc", "recursive:/etc/systemd",
    ),
    "darwin": ("/bin", "/sbin", "/usr/bin", "/usr/sbin", "/Library/LaunchAgents", "/Library/LaunchDaemons", "recursive:/etc"),
}  # fmt: skip
"""MIG's for Linux; macOS is ours."""
PLATFORMS: Final[frozenset[OS]] = frozenset(("linux", "darwin"))


class Settings(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Paths, and how much of a host watching them may take."""

    paths: list[str] = msgspec.field(default_factory=lambda: list(_DEFAULTS.get(sys.platform, ())))
    """Files, or folders with what is directly in them; `recursive:/p` with all that is below."""
    rescan_s: Annotated[float, msgspec.Meta(ge=10, le=86_400)] = 600.0
    """How often everything is looked at, whether or not the system told of a change."""
    max_paths: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100_000
    max_hash_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1 << 30
    """Of a larger file only size, times, mode and owner are compared."""


class Root(msgspec.Struct, frozen=True):
    """One path to watch."""

    path: bytes
    recursive: bool

    @property
    def key(self) -> bytes:
        """What the baseline knows it by."""
        return (RECURSIVE.encode() if self.recursive else b"") + self.path


def roots_of(settings: Settings) -> list[Root]:
    """The paths, cleaned, each once.

    Raises:
        BadParameters: one is no absolute path, or there are none, or too many.
    """
    if not settings.paths:
        raise BadParameters("modules.fswatch.paths: it is empty; without it, this system's own are watched")
    if len(settings.paths) > MAX_PATHS:
        raise BadParameters(f"modules.fswatch.paths: {len(settings.paths):,} paths; {MAX_PATHS} at most")
    roots: dict[Root, None] = {}
    for number, text in enumerate(settings.paths):
        where = f"modules.fswatch.paths[{number}]"
        path = text.removeprefix(RECURSIVE)
        if not path.startswith("/"):
            raise BadParameters(f"{where}: {text[:100]!r} is no absolute path")
        raw = os.fsencode(os.path.normpath(path).replace("//", "/"))
        if b"\0" in raw or len(raw) > MAX_PATH_BYTES:
            raise BadParameters(f"{where}: this is no path")
        roots[Root(raw, text.startswith(RECURSIVE))] = None
    return list(roots)
