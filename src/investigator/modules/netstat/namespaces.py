"""Linux's network namespaces: which there are, and how one is asked without leaving one's own (namespaces(7), setns(2)).

A thread of its own enters a namespace and makes a netlink socket there, which stays in it when the thread is over. So
this process is never in another namespace, and nothing of that one is trusted but what its kernel tells.
"""

from __future__ import annotations

import ctypes
import os
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from investigator.modules.netstat.rows import Unreadable
from investigator.modules.processes.procfs import PROC, pids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from investigator.modules.notes import Notes

PINNED_FOLDERS: Final = ("/run/netns", "/run/docker/netns")
"""Where namespaces that no process needs to be in are mounted, by ip-netns(8) and Docker; only root writes there."""
MAX_NAMESPACES: Final = 4096
_MAX_PINNED: Final = 10_000
_MAX_PIDS: Final = 8
_CLONE_NEWNET: Final = 0x4000_0000
_NS_GET_NSTYPE: Final = 0xB703
_NAME: Final = re.compile(r"net:\[[0-9]{1,20}\]")
_READ: Final = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_FOLDER: Final = _READ | getattr(os, "O_DIRECTORY", 0)

Made = TypeVar("Made")


@dataclass(slots=True)
class Namespace:
    """One namespace, and where it can be had: some processes in it, or a file."""

    name: str
    """As the kernel has it: `net:[4026531840]`."""
    pids: list[int] = field(default_factory=list)
    file: str = ""
    own: bool = False

    @contextmanager
    def opened(self) -> Iterator[tuple[int | None, int | str | None]]:
        """A descriptor to enter it by (None: this process is in it), and a `net` folder of /proc to read it in, if any.

        Raises:
            Unreadable: it is gone.
        """
        if self.own:
            yield None, f"{PROC}/self/net"
            return
        for pid in self.pids:
            with _folder_of(pid, self.name) as (descriptor, folder):
                if descriptor is not None:
                    yield descriptor, folder
                    return
        with _pinned(self.file) as (descriptor, name):
            if descriptor is None or name != self.name:
                raise Unreadable(f"namespace {self.name} is gone")
            yield descriptor, None


def find_namespaces(notes: Notes, *, folders: tuple[str, ...] = PINNED_FOLDERS) -> list[Namespace]:
    """All that processes are in or that are mounted; this process's own first, the others by name."""
    own = Namespace(_name("self"), own=True)
    found = {own.name: own}
    closed = dropped = 0
    for pid in pids():
        try:
            name = _name(pid)
        except PermissionError:
            closed += 1
            continue
        except OSError:  # it has ended
            continue
        if name not in found and len(found) >= MAX_NAMESPACES:
            dropped += 1
        elif _NAME.fullmatch(name):
            known = found.setdefault(name, Namespace(name))
            if len(known.pids) < _MAX_PIDS:
                known.pids.append(pid)
    for file in _files_in(folders):
        with _pinned(file) as (descriptor, name):
            if descriptor is not None and len(found) < MAX_NAMESPACES:
                known = found.setdefault(name, Namespace(name))
                known.file = known.file or file
    if closed:
        notes.note(f"processes whose namespace may not be looked at: {closed}")
    if dropped:
        notes.note(f"there are more than {MAX_NAMESPACES:,} namespaces; those of {dropped} processes were left out")
    return sorted(found.values(), key=lambda each: (not each.own, each.name))


def _name(pid: int | str) -> str:
    return os.readlink(f"{PROC}/{pid}/ns/net")  # noqa: PTH115 - a link of the kernel's, no path


def enter(descriptor: int, make: Callable[[], Made]) -> Made:
    """What `make` makes, made by a thread in that namespace.

    Raises:
        Unreadable: it may not be entered, or `make` says so.
    """
    made: list[Made] = []
    failed: list[Unreadable] = []

    def work() -> None:
        try:
            if _libc_setns(descriptor) != 0:
                raise Unreadable(f"the namespace may not be entered: {os.strerror(ctypes.get_errno())}")  # noqa: TRY301 - one way out of a thread
            made.append(make())
        except Unreadable as error:
            failed.append(error)

    thread = threading.Thread(target=work, name="namespace")
    thread.start()
    thread.join()
    if made:
        return made[0]
    raise failed[0] if failed else Unreadable("the namespace could not be asked")


def _libc_setns(descriptor: int) -> int:
    result: int = ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET)
    return result


@contextmanager
def _folder_of(pid: int, name: str) -> Iterator[tuple[int | None, int | None]]:
    """The namespace and the `net` folder of a process, if it is still in the namespace of that name."""
    opened: list[int] = []
    try:
        try:
            process = os.open(f"{PROC}/{pid}", _FOLDER)
            opened.append(process)
            descriptor = os.open("ns/net", _READ, dir_fd=process)
            opened.append(descriptor)
            same = f"net:[{os.fstat(descriptor).st_ino}]" == name
            opened.append(os.open("net", _FOLDER, dir_fd=process))
            same = same and os.readlink("ns/net", dir_fd=process) == name
        except OSError:
            same = False
        yield (opened[1], opened[2]) if same else (None, None)
    finally:
        for each in opened:
            os.close(each)


@contextmanager
def _pinned(file: str) -> Iterator[tuple[int | None, str]]:
    """A mounted namespace, if the file is one, and its name."""
    descriptor = -1
    try:
        try:
            import fcntl

            descriptor = os.open(file, _READ | getattr(os, "O_NOFOLLOW", 0))
            is_one = fcntl.ioctl(descriptor, _NS_GET_NSTYPE) == _CLONE_NEWNET
        except OSError:
            is_one = False
        yield (descriptor, f"net:[{os.fstat(descriptor).st_ino}]") if is_one else (None, "")
    finally:
        if descriptor >= 0:
            os.close(descriptor)


def _files_in(folders: tuple[str, ...]) -> Iterator[str]:
    for folder in folders:
        try:
            with os.scandir(folder) as entries:
                for count, entry in enumerate(entries):
                    if count == _MAX_PINNED:
                        break
                    yield entry.path
        except OSError:  # there is none
            continue
