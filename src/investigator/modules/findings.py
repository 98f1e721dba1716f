"""What a module found, on its way into the result: no more than a result may hold, and in pieces where it is much.

A module makes a `Slot` for each list in its `elements`, puts what it finds into them in the order in which it is to be
reported, and has `rest` as the result's elements. How much that is, and whether anybody takes pieces, is settled here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from investigator.protocol.result import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from investigator.modules.interface import Context

_NAMES_BYTES: Final = 8 << 10
"""What the names of all lists may take in the first piece."""
_NEVER: Final = float("inf")


class Slot:
    """A list of findings within `elements`, under these keys; slots of the same keys are one list, in the order of the slots."""

    __slots__ = ("found", "head_bytes", "nothing", "order", "path", "waiting")

    def __init__(self, path: tuple[str, ...], nothing: Any, order: Callable[[Any], Any] | None) -> None:
        self.path = path
        self.nothing = nothing
        self.order = order
        self.waiting: list[Any] = []
        self.found = 0
        """How many findings it was given and took, those on their way included."""
        self.head_bytes = sum(len(orjson.dumps(key)) + len(":{},") for key in path)


class Findings:
    """For one run of a module, and for its own thread alone."""

    def __init__(self, context: Context, *, room_bytes: int, beside: Mapping[str, Any] | None = None) -> None:
        """`room_bytes` of the result are for all but the findings; `beside` are members that elements have besides."""
        self._hand_over = context.hand_over
        self._left = max(context.result_bytes - room_bytes, 0)
        self._until_piece: float = PIECE_BYTES - _NAMES_BYTES
        """Bytes that still fit into the present piece."""
        self._names_bytes = 0
        self._beside = dict(beside or {})
        self._slots: list[Slot] = []
        self._any_sent = False

    def slot(self, *path: str, nothing: Any = None, order: Callable[[Any], Any] | None = None) -> Slot:
        """A list, at its place among the others. `nothing` stands in it where nothing is found.

        `order` is a key to sort by, for what is found in no order: that holds within a piece, and within the rest.
        """
        slot = Slot(path, nothing, order)
        self._slots.append(slot)
        self._names_bytes += slot.head_bytes
        return slot

    def add(self, slot: Slot, element: Any, *, size: int | None = None) -> bool:
        """Take a finding, whose JSON has `size` bytes; False: the result can hold no more, neither this nor what follows."""
        size = (len(orjson.dumps(element)) if size is None else size) + len(",")
        if self._left >= size > self._until_piece - slot.head_bytes:
            self._send_waiting()
        if not slot.waiting:
            size += slot.head_bytes
        self._left -= size
        if self._left < 0:
            return False
        self._until_piece -= size
        slot.waiting.append(element)
        slot.found += 1
        return True

    def rest(self, *, empty: Any = None) -> dict[str, Any]:
        """The result's elements: all that nobody took; `empty` stands for a list without any."""
        elements: dict[str, Any] = {}
        for slot in self._slots:
            _sort(slot)
            nothing = [] if slot.found or slot.nothing is None else [slot.nothing]
            _put(elements, slot.path, slot.waiting or nothing, empty)
        return elements | self._beside

    def _send_waiting(self) -> None:
        """Hand over what is here: at once, or in halves where masking made it too large.

        What is not taken stays, and so does all that follows: whoever does not take it is not asked again.
        """
        count = sum(len(slot.waiting) for slot in self._slots)
        if count == 0:
            return
        half = count // 2
        taken = self._send(count) or (half > 0 and self._send(half) and self._send(count - half))
        self._until_piece = PIECE_BYTES if taken else _NEVER

    def _send(self, count: int) -> bool:
        """Hand over the first of what waits; the first piece names every list, so that they keep their order, if they are few."""
        names_all = not self._any_sent and self._names_bytes <= _NAMES_BYTES
        elements: dict[str, Any] = {}
        some: list[tuple[Slot, list[Any]]] = []
        for slot in self._slots:
            _sort(slot)
            first = slot.waiting[:count]
            count -= len(first)
            if first or names_all:
                _put(elements, slot.path, first, None)
                some.append((slot, first))
        if not self._hand_over(elements | self._beside):
            return False
        self._any_sent = True
        for slot, first in some:
            del slot.waiting[: len(first)]
        return True


def _sort(slot: Slot) -> None:
    if slot.order is not None:
        slot.waiting.sort(key=slot.order)


def _put(elements: dict[str, Any], path: tuple[str, ...], items: list[Any], empty: Any) -> None:
    """Append to the list at this place; without items it is `empty` as long as nothing else is there."""
    *outer, last = path
    for key in outer:
        elements = elements.setdefault(key, {})
    if items:
        elements[last] = [*(elements.get(last) or ()), *items]
    else:
        elements.setdefault(last, empty)
