"""Intel's Hyperscan, called as the C library that it is (`hs.h`, through ctypes): the only place that knows of it.

A block is searched where it lies, without a copy; nothing of Python runs at a match; the interpreter's lock is released.
The library is the one in the wheel `hypergrep`, of which nothing is imported.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

PROVEN_VERSION: Final = b"5.4.2 2024-01-27"
"""The one build that was held against RE2 for long enough (docs/adr/0011). Others have missed matches: none is taken."""

_SUCCESS: Final = 0
_MODE_BLOCK: Final = 1
_FLAGS: Final = 4 | 8 | 16
"""Multi-line; one match is enough; a match may be empty."""
_ID: Final = 1


class Database:
    """One compiled pattern; any number of threads may search with it at once."""

    def __init__(self, library: Library, database: ctypes.c_void_p, generation: int) -> None:
        self._library = library
        self._database = database
        self._generation = generation
        weakref.finalize(self, library.free_database, database).atexit = False

    def may_match(self, buffer: bytearray | bytes, start: int, end: int) -> bool:
        """Whether a match begins and ends in `buffer[start:end]`, not empty, whose edges count as edges of a line.

        Releases the interpreter's lock. Whatever keeps the library from searching is a yes.
        """
        library = self._library
        scratch = library.take_scratch(self._generation)
        if scratch is None:
            return True
        first: Any
        if isinstance(buffer, bytearray):
            first = ctypes.byref(ctypes.c_char.from_buffer(buffer), start)
        else:
            first = (ctypes.cast(ctypes.c_char_p(buffer), ctypes.c_void_p).value or 0) + start
        status: int = library.scan(self._database, first, end - start, 0, scratch.pointer, library.stop, None)
        library.idle.append(scratch)
        return status != _SUCCESS


class Scratch:
    """What one search at a time needs to work in: large enough for all patterns of its generation and before."""

    def __init__(self, pointer: ctypes.c_void_p, generation: int) -> None:
        self.pointer = pointer
        self.generation = generation


class Library:
    """The loaded library, and the scratch spaces that all its patterns share."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, AttributeError: it cannot be loaded, or is another library."""
        library = ctypes.CDLL(str(path))
        library.hs_version.restype = ctypes.c_char_p
        self.version: bytes = library.hs_version()
        self.fits_processor: bool = library.hs_valid_platform() == _SUCCESS
        pointer, place = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
        number = ctypes.c_uint
        self.scan = _declared(library.hs_scan, pointer, pointer, number, number, pointer, pointer, pointer)
        self.stop = ctypes.cast(ctypes.CDLL(None).ffs, pointer)
        """Called at a match with its pattern's number first, it must not return 0 to end the search: C's `ffs(1)` is 1."""
        self.free_database = _declared(library.hs_free_database, pointer)
        self.idle: list[Scratch] = []
        self._compile = _declared(
            library.hs_compile_multi, pointer, pointer, pointer, number, number, pointer, place, place
        )
        self._free_error = _declared(library.hs_free_compile_error, pointer)
        self._fit_scratch = _declared(library.hs_alloc_scratch, pointer, place)
        self._clone_scratch = _declared(library.hs_clone_scratch, pointer, place)
        self._free_scratch = _declared(library.hs_free_scratch, pointer)
        self._lock = threading.Lock()
        self._model = pointer()
        self._generation = 0

    def compile(self, pattern: bytes) -> Database | None:
        """None: it does not take the pattern, or has no memory for it. Takes no time-out, and the time that it needs."""
        database, error = ctypes.c_void_p(), ctypes.c_void_p()
        status = self._compile(
            (ctypes.c_char_p * 1)(pattern), (ctypes.c_uint * 1)(_FLAGS), (ctypes.c_uint * 1)(_ID), 1,
            _MODE_BLOCK, None, database, error,
        )  # fmt: skip
        if status != _SUCCESS:
            self._free_error(error)
            return None
        with self._lock:
            if self._fit_scratch(database, self._model) != _SUCCESS:
                self.free_database(database)
                return None
            self._generation += 1
            return Database(self, database, self._generation)

    def take_scratch(self, least: int) -> Scratch | None:
        """One that nobody uses, of at least that generation; give it back to `idle`. None: no memory."""
        try:
            scratch = self.idle.pop()
        except IndexError:
            pass
        else:
            if scratch.generation >= least:
                return scratch
            self._free_scratch(scratch.pointer)
        pointer = ctypes.c_void_p()
        with self._lock:
            if self._clone_scratch(self._model, pointer) != _SUCCESS:
                return None
            return Scratch(pointer, self._generation)


def _declared(function: Any, *arguments: Any) -> Any:
    function.argtypes = arguments
    return function


def load() -> Library | None:
    """The library; None: it is not installed, another build than the proven one, or nothing for this processor."""
    try:
        spec = find_spec("hypergrep")  # looks where it is; runs nothing of it
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder, "lib").glob("libhs.so.*"):
            try:
                found = Library(path)
            except (OSError, AttributeError):  # for another processor or C library
                continue
            if found.version == PROVEN_VERSION and found.fits_processor:
                return found
    return None
