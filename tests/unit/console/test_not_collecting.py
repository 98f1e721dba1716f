"""Python's collector is as it was, whatever happens in between, and nothing of this process stays out of its sight."""

from __future__ import annotations

import gc
import weakref
from contextlib import suppress

from investigator.console.not_collecting import not_collecting


class Ring:
    def __init__(self) -> None:
        self.me = self


def test_the_collector_is_on_again_and_finds_what_was_made_meanwhile() -> None:
    with suppress(KeyError), not_collecting():
        assert not gc.isenabled()
        ring = weakref.ref(Ring())
        raise KeyError
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert ring() is None


def test_a_program_that_loads_again_and_again_does_not_keep_its_garbage() -> None:
    rings = []
    for _ in range(5_000):
        rings.append(weakref.ref(Ring()))
        with not_collecting():
            pass
    assert sum(ring() is not None for ring in rings) < 4_000


def test_who_has_it_off_or_has_frozen_something_keeps_it_so() -> None:
    gc.disable()
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with not_collecting():
            pass
        assert not gc.isenabled()
        assert 0 < gc.get_freeze_count() <= frozen
    finally:
        gc.unfreeze()
        gc.enable()
