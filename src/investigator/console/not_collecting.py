"""Python's collector, kept from looking again and again through the rows of a whole fleet, which are no garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_collecting() -> Iterator[None]:
    """What is made within is old at once: it is looked through when all is, and not each time that more is made.

    Only around what awaits nothing, and afterwards the collector is as it was: the process may be somebody else's.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else somebody froze what he does not want thawed
            gc.freeze()
            gc.unfreeze()  # both take no time; what was young is in the oldest generation now
        if was_on:
            gc.enable()
