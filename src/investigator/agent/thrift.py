"""Give back what starting took."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back() -> None:
    """Return what the start left unused to the system, and look no more at what was loaded to stay.

    The C library keeps freed memory for later (malloc_trim(3) returns it: 1 to 2 MB after the imports); the collector
    of garbage would read, and so keep in memory, every object that the imports made, each time it looks at all.
    """
    gc.collect()
    gc.freeze()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl gives back by itself
        if trim is not None:
            trim(0)
