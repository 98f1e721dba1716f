"""Python's collector, kept from looking again and again through the rows of a whole fleet, which are no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_collecting() -> Iterator[None]:
    """What is made within is looked through once, afterwards, and not each time that more of it is made.

    Only around what awaits nothing, and afterwards the collector is as it was: the process may be somebody else's. Nothing
    is frozen: `gc.freeze` sets the collector's counts to zero, so that a process which does so now and then never again looks
    at what is old.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
