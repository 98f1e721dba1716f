"""Stage 6: what a module answers, and what an agent says about a whole action."""

from __future__ import annotations

from typing import Any

import msgspec


class Result(msgspec.Struct, kw_only=True):
    """One operation's result: MIG's JSON, its five keys always present and in this order (MIG's modules contract).

    `elements` are findings (metadata, never content) in the module's own shape; `statistics` likewise, or None;
    `errors` are texts: soft ones, or with `success=False` the fatal one.
    """

    foundanything: bool = False
    success: bool = False
    elements: Any = None
    statistics: Any = None
    errors: list[str] | None = None

    @classmethod
    def failed(cls, *errors: str) -> Result:
        """The result of an operation that could not be done."""
        return cls(errors=list(errors))
