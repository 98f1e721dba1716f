"""One walk for several searches, each of which sees what it would see alone.

A `Root` is a path with the searches that start there. Folders are entered once: where one root lies within another's tree
its searches join there with a depth of their own, so that nothing is evaluated twice and nothing is left out. Folders are
opened without following links and named by (device, inode), so that a loop of mounts ends.
"""

from __future__ import annotations

import itertools
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from investigator.modules.file.names import joined_names
from investigator.modules.file.opening import join, kind_name, open_folder, path_text, reason, split, status

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from investigator.modules.file.checks import Plan

BATCH_ENTRIES: Final = 1024


class Item(Protocol):
    """A file to evaluate: an `os.DirEntry`, or a root that stands alone."""

    @property
    def name(self) -> str:
        """Its name in its folder, with what is no UTF-8 escaped as Python does it."""

    def is_symlink(self) -> bool:
        """Whether type and content are those of what it links to."""

    def stat(self) -> os.stat_result:
        """The file's status, links followed. Raises OSError: it vanished."""


@dataclass(slots=True, eq=False)
class _Alone:
    """A root that is a file, or a link to a folder."""

    name: str
    found: os.stat_result

    def is_symlink(self) -> bool:
        return True

    def stat(self) -> os.stat_result:
        return self.found


@dataclass(slots=True, eq=False)
class Batch:
    """Files of one folder, and the searches that they are to be evaluated for."""

    folder: bytes
    items: Sequence[Item]
    plans: list[Plan]
    weight: int
    """How many roots reach these files: so often MIG's `filescount` counts each."""
    _names: list[bytes] | None = None
    _joined: bytes | None = None

    @property
    def names(self) -> list[bytes]:
        """Their names; made when they are first asked for, which by far not every search does."""
        if self._names is None:
            joined = os.fsencode("\n".join([item.name for item in self.items]))
            names = joined.split(b"\n") if joined else []
            if len(names) == len(self.items):
                self._names, self._joined = names, joined
            else:
                self._names = [os.fsencode(item.name) for item in self.items]
                self._joined = joined_names(self._names)
        return self._names

    @property
    def joined(self) -> bytes | None:
        """See `names.joined_names`."""
        return self._joined if self.names else None

    def path(self, place: int) -> bytes:
        """The path of one of them."""
        return join(self.folder, self.names[place])


@dataclass(slots=True, eq=False)
class Root:
    """Where searches start."""

    path: bytes
    plans: list[Plan]
    visited: bool = False

    def plans_at(self, depth: int) -> list[Plan]:
        """Those that still look at files of folders at this depth; the root itself has depth 1. Not to be changed."""
        for plan in self.plans:
            if depth > plan.maxdepth or plan.hits >= plan.matchlimit:
                return [plan for plan in self.plans if depth <= plan.maxdepth and plan.hits < plan.matchlimit]
        return self.plans


Reach = list[tuple[Root, int]]


@dataclass(slots=True, eq=False)
class _Level:
    """A folder on the way down, and the subfolders that are left to enter."""

    path: bytes
    identity: tuple[int, int]
    reach: Reach
    """The roots that are still of interest below, with the depth there."""
    subfolders: list[bytes] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Walk:
    """The walk over all roots of all plans.

    `failed(text)` is told of what cannot be opened, `warn(text)` of what was left out on purpose; `tick()` is called for
    every folder, and every further batch of a large one, and says whether to go on.
    """

    plans: list[Plan]
    failed: Callable[[str], None]
    warn: Callable[[str], None]
    tick: Callable[[bytes], bool]
    _folders: dict[bytes, Root] = field(default_factory=dict)
    _files: dict[bytes, Root] = field(default_factory=dict)
    _links: list[tuple[Root, os.stat_result]] = field(default_factory=list)
    _nested: dict[bytes, set[bytes]] = field(default_factory=dict)
    """The names of roots by their folder."""

    def batches(self, roots: dict[bytes, list[Plan]]) -> Iterator[Batch]:
        """Everything that there is to evaluate; `roots` are absolute clean paths with their plans."""
        for path, plans in roots.items():
            self._sort_out(path, plans)
        for path in self._folders:
            folder, name = split(path)
            self._nested.setdefault(folder, set()).add(name)
        for root, target in self._links:
            yield from self._alone(root, target)
        for path in sorted(self._folders):
            if not self._folders[path].visited:
                yield from self._descend(self._folders[path])
        for root in self._files.values():
            if not root.visited:
                try:
                    target = status(root.path, follow=True)
                except OSError as error:
                    self.failed(f"ERROR: open {path_text(root.path)}: {reason(error)}")
                    continue
                yield from self._alone(root, target)

    def _sort_out(self, path: bytes, plans: list[Plan]) -> None:
        """What kind of root it is: MIG evaluates a link's target under its own path, and enters no link to a folder."""
        try:
            found = status(path, follow=False)
        except OSError as error:
            self.failed(f"ERROR: open {path_text(path)}: {reason(error)}")
            return
        if stat.S_ISLNK(found.st_mode):
            try:
                target = os.path.realpath(path, strict=True)
                found = status(target, follow=True)
            except OSError as error:
                self._broken_link(path, error)
                return
            if stat.S_ISDIR(found.st_mode):
                self.warn(f"{path_text(path)} is a link to {path_text(target)} and was not followed")
                self._links.append((Root(path, plans), found))
                return
            path = target
        if stat.S_ISDIR(found.st_mode):
            self._folders.setdefault(path, Root(path, [])).plans.extend(plans)
        elif stat.S_ISREG(found.st_mode):
            known = self._files.setdefault(path, Root(path, [])).plans
            known.extend(plan for plan in plans if plan not in known)
        else:
            self.failed(f"ERROR: open {path_text(path)}: is {kind_name(found.st_mode)}, not a regular file or folder")

    def _alone(self, root: Root, found: os.stat_result) -> Iterator[Batch]:
        """A root that is a file, or a link to a folder with the folder's metadata."""
        folder, name = split(root.path)
        if self.tick(folder):
            yield Batch(folder, [_Alone(os.fsdecode(name), found)], root.plans_at(1), 1)

    def _descend(self, root: Root) -> Iterator[Batch]:
        """The tree below a root, depth first."""
        above: set[tuple[int, int]] = set()
        levels: list[_Level] = []
        path, reach = root.path, [(root, 1)]
        root.visited = True
        while self.tick(path):
            level = yield from self._enter(path, reach, above)
            if level is not None:
                above.add(level.identity)
                levels.append(level)
            while levels and not levels[-1].subfolders:
                above.discard(levels.pop().identity)
            if not levels:
                return
            path, reach = join(levels[-1].path, levels[-1].subfolders.pop()), levels[-1].reach
            here = self._folders.get(path)
            if here is not None and not here.visited:
                here.visited = True
                reach = [*reach, (here, 1)]

    def _enter(self, path: bytes, reach: Reach, above: set[tuple[int, int]]) -> Generator[Batch, None, _Level | None]:
        """Yield the folder's files in batches; returns its level, or None if it was not entered."""
        reaching: list[list[Plan]] = []
        below: Reach = []
        for root, depth in reach:
            if plans := root.plans_at(depth):
                reaching.append(plans)
            if root.plans_at(depth + 1):
                below.append((root, depth + 1))
        if not reaching:
            return None
        level: _Level | None = None
        descriptor = -1
        try:
            descriptor, found = open_folder(path)
            if (found.st_dev, found.st_ino) in above:
                self.failed(f"ERROR: open {path_text(path)}: is a folder that lies above itself, and was not entered")
                return None
            level = _Level(path, (found.st_dev, found.st_ino), below)
            with _scan(descriptor, path) as entries:
                yield from self._files_of(level, entries, reaching)
        except OSError as error:
            self.failed(f"ERROR: {'read' if level else 'open'} {path_text(path)}: {reason(error)}")
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return level

    def _files_of(
        self, level: _Level, entries: Iterator[os.DirEntry[str]], reaching: list[list[Plan]]
    ) -> Iterator[Batch]:
        plans = reaching[0] if len(reaching) == 1 else list(dict.fromkeys(itertools.chain(*reaching)))
        roots = self._nested.get(level.path, ())
        weight = len(reaching)
        first = True
        while chunk := list(itertools.islice(entries, BATCH_ENTRIES)):
            files: list[os.DirEntry[str]] = []
            for item in chunk:
                if item.is_file(follow_symlinks=False):
                    files.append(item)
                elif item.is_dir(follow_symlinks=False):
                    name = os.fsencode(item.name)
                    if level.reach or name in roots:
                        level.subfolders.append(name)
                elif item.is_symlink() and self._links_to_file(level.path, item):
                    files.append(item)
            if not first and not self.tick(level.path):
                return
            first = False
            if files:
                if self._files:
                    yield from self._named_first(level.path, files, plans)
                yield Batch(level.path, files, plans, weight)

    def _links_to_file(self, folder: bytes, item: os.DirEntry[str]) -> bool:
        try:
            return stat.S_ISREG(item.stat().st_mode)
        except OSError as error:
            self._broken_link(join(folder, os.fsencode(item.name)), error)
            return False

    def _named_first(self, folder: bytes, items: list[os.DirEntry[str]], plans: list[Plan]) -> Iterator[Batch]:
        """Files that are roots themselves, for the searches that do not reach them through their folder."""
        for item in items:
            root = self._files.get(join(folder, os.fsencode(item.name)))
            if root is not None and not root.visited:
                root.visited = True
                yield Batch(folder, [item], [plan for plan in root.plans_at(1) if plan not in plans], 1)

    def _broken_link(self, path: bytes, error: OSError) -> None:
        """The first part that is missing is named, as MIG does."""
        try:
            os.path.realpath(path, strict=True)
        except OSError as told:
            error = told
        where = error.filename if isinstance(error.filename, bytes) else path
        self.failed(f"ERROR: followSymLink() -> lstat {path_text(where)}: {reason(error)}")


def _scan(descriptor: int, path: bytes) -> os._ScandirIterator[str]:
    """The folder that was opened, not what has its path by now; by path where there is no fdopendir."""
    return os.scandir(descriptor) if descriptor >= 0 else os.scandir(os.fsdecode(path))
