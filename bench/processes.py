"""So many alike processes, each with a share of the work, and a pipe on which it says how far it is."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Self


class Processes:
    """A context manager: started in it, and killed at its end, since what a farewell costs is not what is measured."""

    def __init__(self, target: Callable[..., None], size: int, count: int, *words: Any) -> None:
        """Each of `count` processes calls `target(numbers, pipe, *words)` with its share of the numbers below `size`."""
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._children: list[Any] = []
        for number in range(count):
            ours, theirs = context.Pipe()
            share = range(number, size, count)
            self._children.append(context.Process(target=target, args=(share, theirs, *words), daemon=True))
            self._pipes.append(ours)

    def __enter__(self) -> Self:
        for child in self._children:
            child.start()
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.kill()
            child.join(20)

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self._children]

    def heard(self, what: str, *, within_s: float) -> list[Any]:
        """What each says next; the bench ends with `what` did not happen if one is silent for so long."""
        said = []
        for pipe in self._pipes:
            try:
                if not pipe.poll(within_s):
                    sys.exit(f"not within {within_s:.0f} s: {what}")
                said.append(pipe.recv())
            except EOFError:
                sys.exit(f"a process ended before: {what}")
        return said
