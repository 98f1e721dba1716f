"""Which folders changed, as the system tells it through `watchfiles`.

Its word is a hint, never evidence: it names paths that are gone, in lossy text, and overflows. So a folder that it names is
looked at whole, and everything now and then. Only folders themselves are watched, never trees: a tree would be followed
through links that an attacker makes. A name that is no UTF-8 ends a watcher (its error names the path): then all is looked at.
"""

from __future__ import annotations

import os
import posixpath
import time
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

TOGETHER_MS: Final = 1_000
QUIET_MS: Final = 200
"""Changes that come closer together than this are told together, for at most `TOGETHER_MS`."""


class Notifier:
    """Watches for as long as it is open; a context manager."""

    def __init__(self, folders: Iterable[bytes]) -> None:
        """Nothing is watched yet."""
        self._folders = [text for folder in folders if (text := _text(folder)) is not None]
        self.problem = ""
        """Why nothing can be watched, so that everything is only looked at now and then."""
        self._watcher: Any = None

    def __enter__(self) -> Self:
        """Watch. A folder that vanished meanwhile costs nothing: `wait` says at once that all is to be looked at."""
        from watchfiles._rust_notify import RustNotify

        try:
            self._watcher = RustNotify(self._folders, False, False, 300, False, True)  # noqa: FBT003 - it takes no keywords
        except FileNotFoundError:
            pass
        except (OSError, RuntimeError) as error:  # the system's limit of watches
            self.problem = str(error).splitlines()[0][:200]
        return self

    def __exit__(self, *error: object) -> None:
        if self._watcher is not None:
            self._watcher.close()

    def wait(self, timeout_s: float) -> set[bytes] | None:
        """The folders that changed, after at most so long none; None: anything may have changed, and this notifier is spent."""
        if self.problem:
            time.sleep(timeout_s)
            return set()
        if self._watcher is None:
            return None
        try:
            changes = self._watcher.watch(TOGETHER_MS, QUIET_MS, max(1, int(timeout_s * 1000)), None)
        except Exception:  # noqa: BLE001 - a path that is no UTF-8, an overflow: it raises an error of its own for each
            return None
        if isinstance(changes, str):
            return set()
        folders = set()
        for _, path in changes:
            folders |= {os.fsencode(path), posixpath.dirname(os.fsencode(path))}
        return folders


def _text(folder: bytes) -> str | None:
    """None for a folder that cannot be named to it; such a one is looked at now and then."""
    try:
        return folder.decode()
    except UnicodeDecodeError:
        return None
