"""Stage 5, in the worker: findings on their way to the agent while the module still runs, masked like the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from investigator.agent.channel import FRAME_HEAD, MORE, Request
from investigator.agent.privacy import as_dict, masked
from investigator.protocol.result import MAX_PIECE_BYTES, MAX_PIECES, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.modules.interface import Module


class Pieces:
    """What one operation handed over, by `send`, which waits until the agent reads."""

    def __init__(self, send: Callable[[bytes], None], request: Request) -> None:
        self.bytes = 0
        self._number = 0
        self._send = send
        self._request = request

    def hand_over(self, module: Module[Any], parameters: Any, elements: Any) -> bool:
        """See `Context.hand_over`; false for what is too large for one piece, or in one too many.

        Raises whatever the module's masking raises, and TypeError for what is no JSON: then nothing was sent.
        """
        if self._number >= MAX_PIECES:
            return False
        if self._request.private:
            found = Result(foundanything=True, success=True, elements=elements)
            elements = masked(module, found, parameters).elements
        body = orjson.dumps(elements, default=as_dict)
        if len(body) > MAX_PIECE_BYTES or self.bytes + len(body) > self._request.limits.output_bytes:
            return False
        self._send(FRAME_HEAD.pack(len(body) | MORE) + body)
        self._number += 1
        self.bytes += len(body)
        return True
