"""The watch itself: look, compare with the baseline, tell, note; then wait until something changes, or it is time again."""

from __future__ import annotations

import errno
import os
import posixpath
import time
from typing import TYPE_CHECKING, Final

import msgspec

from investigator.modules.file.opening import path_text
from investigator.modules.fswatch.baseline import Baseline
from investigator.modules.fswatch.changes import alerts_of, is_signature
from investigator.modules.fswatch.notifier import Notifier
from investigator.modules.fswatch.places import MAX_FOLDERS, Places
from investigator.modules.fswatch.seeing import Seen, look, read
from investigator.modules.fswatch.settings import Settings, roots_of
from investigator.modules.interface import MASK
from investigator.protocol.alert import Alert

if TYPE_CHECKING:
    from collections.abc import Iterable

    from investigator.modules.persistent import Host
    from investigator.protocol.alert import Severity

QUIET_S: Final = 15 * 60.0
"""A file's signature is told at most so often: MIG's."""
WAIT_S: Final = 1.0
AWAIT_S: Final = 2.0
"""How often a path that is missing is looked for, where no folder could tell that it came."""
UNSETTLED_LOOKS: Final = 10
"""How many times a file that is being written is left for the next look; then it is taken as it is."""
NOTED_AT_A_TIME: Final = 500


class Watch:
    """One life of the module."""

    def __init__(self, settings: Settings, host: Host) -> None:
        """Opens the baseline; raises what that raises."""
        self._settings = settings
        self._host = host
        self._places = Places(roots_of(settings))
        self._baseline = Baseline(host.folder)
        self._told_s: dict[bytes, float] = {}
        self._due_s: dict[bytes, float] = {}
        self._unsettled: dict[bytes, int] = {}
        self._changes: list[tuple[bytes, Seen | None, list[Alert]]] = []
        self._problems: dict[str, None] = {}
        self._reread = True
        self.alerts = 0
        self._started_s = time.monotonic()

    @property
    def statistics(self) -> dict[str, object]:
        """For whoever asks."""
        return {
            "paths": len(self._baseline.seen),
            "folders": len(self._places.folders),
            "awaited": [path_text(path) for path in self._places.awaited],
            "alerts": self.alerts,
            "running_s": int(time.monotonic() - self._started_s),
        }

    @property
    def problems(self) -> list[str]:
        """What is not watched as it should be, one line each."""
        return list(self._problems)

    def run(self) -> None:
        """For ever."""
        if self._baseline.damaged:
            self._tell("high", f"the baseline was damaged and is taken anew: {self._baseline.damaged}")
        while True:
            self._places.find()
            for root in self._places.cut:
                self._problem(
                    "high", f"more than {MAX_FOLDERS:,} folders in {self._shown(root)}: the others are not watched"
                )
            with Notifier(self._places.folders) as notifier:
                if notifier.problem:
                    self._problem(
                        "medium", f"changes are only looked for every {self._settings.rescan_s:g} s: {notifier.problem}"
                    )
                # the watches stand: what changed before is seen now, what changes from now on is told
                self._look_at(self._places.folders)
                self._take_roots()
                self._wait(notifier)

    def _wait(self, notifier: Notifier) -> None:
        """Until the set of folders changes, the notifier is spent, or it is time to look at everything."""
        until_s = time.monotonic() + self._settings.rescan_s
        await_s = time.monotonic() + AWAIT_S
        while time.monotonic() < until_s:
            dirty = notifier.wait(WAIT_S)
            self._host.beat()
            if dirty is None:
                time.sleep(WAIT_S)  # a folder full of names that it cannot tell must not keep a processor busy
                return
            now_s = time.monotonic()
            dirty |= {posixpath.dirname(path) for path, due_s in self._due_s.items() if due_s <= now_s}
            dirty |= {posixpath.dirname(path) for path in self._unsettled}
            self._look_at(dirty & self._places.folders.keys())
            if self._places.changed(dirty) or (now_s > await_s and self._places.came()):
                return
            if now_s > await_s:
                await_s = now_s + AWAIT_S

    def _look_at(self, folders: Iterable[bytes]) -> None:
        for folder in list(folders):
            self._look_in(folder)
            self._host.beat()
        self._flush()
        self._reread = False

    def _look_in(self, folder: bytes) -> None:
        only = self._places.folders.get(folder)
        known = self._baseline.names_in(folder)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):  # gone, or a link took its place
                self._vanished(folder, known)
                return
            self._problem("medium", f"unable to read folder {self._shown(folder)}: {error.strerror}")
            return
        try:
            there = {os.fsencode(name) for name in os.listdir(descriptor)}
            for path in [one for one in self._unsettled if posixpath.dirname(one) == folder]:
                if posixpath.basename(path) not in there:
                    del self._unsettled[path]
            for name in sorted(known | there if only is None else only):
                self._look_for(folder, name, descriptor)
        except OSError as error:
            self._problem("medium", f"unable to read folder {self._shown(folder)}: {error.strerror}")
        finally:
            os.close(descriptor)

    def _vanished(self, folder: bytes, known: set[bytes]) -> None:
        """All that was in it is gone, and in the folders below; a tree may be deeper than calls can be."""
        gone = sorted((posixpath.join(folder, name) for name in known), reverse=True)
        while gone:
            path = gone.pop()
            below = self._baseline.names_in(path)
            self._compare(path, None)
            gone += sorted((posixpath.join(path, name) for name in below), reverse=True)

    def _look_for(self, folder: bytes, name: bytes, descriptor: int) -> None:
        path = posixpath.join(folder, name)
        before = self._baseline.seen.get(path)
        try:
            now = look(name, descriptor)
        except OSError as error:
            self._problem("medium", f"unable to stat new path {self._shown(path)}: {error.strerror}")
            return
        if now is None:
            self._compare(path, None)
            if before is not None and before.kind == "folder":
                self._vanished(path, self._baseline.names_in(path))
            return
        if before is None and len(self._baseline.seen) + len(self._changes) >= self._settings.max_paths:
            self._problem("high", f"more than {self._settings.max_paths:,} paths: new ones are not watched")
            return
        if before is not None and _same(before, now):
            if not self._reread or before.kind != "file":
                self._unsettled.pop(path, None)
                self._due_s.pop(path, None)
                return
        elif before is not None and self._is_quiet(path, before, now):
            return
        now, settled = read(now, name, descriptor, max_bytes=self._settings.max_hash_bytes, beat=self._host.beat)
        if not settled and self._unsettled.get(path, 0) < UNSETTLED_LOOKS:
            self._unsettled[path] = self._unsettled.get(path, 0) + 1
            return
        self._unsettled.pop(path, None)
        self._compare(path, now)

    def _is_quiet(self, path: bytes, before: Seen, now: Seen) -> bool:
        """Whether its content was told less than 15 minutes ago: what it is then is told later, mode and owner now."""
        told_s = self._told_s.get(path)
        if told_s is None or not before.kind == now.kind == "file" or time.monotonic() >= told_s + QUIET_S:
            return False
        kept = msgspec.structs.replace(
            now, stamp=before.stamp, sha256=before.sha256, target=before.target, problem=before.problem
        )
        self._compare(path, kept)
        self._due_s[path] = told_s + QUIET_S
        return True

    def _compare(self, path: bytes, now: Seen | None) -> None:
        before = self._baseline.seen.get(path)
        self._due_s.pop(path, None)
        if before == now:
            return
        silent = self._places.is_fresh(path, self._baseline.roots)
        alerts = [] if silent else alerts_of(
            path_text(path), before, now, time_s=time.time(), private=self._host.private
        )  # fmt: skip
        if any(map(is_signature, alerts)):
            self._told_s[path] = time.monotonic()
        if now is None:
            self._told_s.pop(path, None)
            self._unsettled.pop(path, None)
        self._changes.append((path, now, alerts))
        if len(self._changes) >= NOTED_AT_A_TIME:
            self._flush()

    def _flush(self) -> None:
        """First told, then noted: killed in between, it tells twice rather than never."""
        if not self._changes:
            return
        changes, self._changes = self._changes, []
        alerts = [alert for _, _, told in changes for alert in told]
        if alerts:
            self._host.alert(*alerts)
            self.alerts += len(alerts)
        self._baseline.note((path, seen) for path, seen, _ in changes)

    def _take_roots(self) -> None:
        """What appears in a root from now on is new; that a baseline was taken is told, since taking it anew hides what was."""
        keys = {root.key for root in self._places.roots}
        fresh = [root for root in self._places.roots if root.key not in self._baseline.roots]
        if not fresh:
            if keys != self._baseline.roots:
                self._baseline.take_roots(keys)
            return
        shown = ", ".join(self._shown(root.path) for root in fresh[:20])
        more = f" and {len(fresh) - 20} more" if len(fresh) > 20 else ""
        self._tell("medium", f"a baseline was taken of {shown}{more}: {len(self._baseline.seen):,} paths in all")
        self._baseline.take_roots(keys)

    def _problem(self, severity: Severity, text: str) -> None:
        """Told once in a life."""
        if text not in self._problems and len(self._problems) < 30:
            self._problems[text] = None
            self._tell(severity, text)

    def _tell(self, severity: Severity, text: str) -> None:
        self._host.alert(Alert(severity=severity, alert=text, time_s=time.time()))
        self.alerts += 1

    def _shown(self, path: bytes) -> str:
        return MASK if self._host.private else path_text(path)


def _same(before: Seen, now: Seen) -> bool:
    """Whether nothing that is compared can have changed, content included."""
    return (before.kind, before.mode, before.uid, before.gid, before.stamp) == (
        now.kind, now.mode, now.uid, now.gid, now.stamp,
    )  # fmt: skip
