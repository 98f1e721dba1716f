"""Extra privacy mode, in the worker: what names a file, person, peer or host is masked before it leaves the process.

A host's agent.toml says so (`extraprivacymode`), never an action. What is left are counts, sizes, times, hashes and the
asker's own words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

from investigator.modules.interface import MASK
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from investigator.modules.interface import Module

MASKED_FAILURE: Final = f"({MASK}: this host is in extra privacy mode)"
"""In place of the text of a failure, which may name anything."""


def masked(module: Module[Any], result: Result, parameters: Any) -> Result:
    """The result as its module masks it; of errors only their number is left, whatever the module does.

    Raises whatever the module's masking raises, and TypeError or ValueError for a result that is no JSON.
    """
    document = orjson.loads(orjson.dumps(result, default=as_dict))
    shown = module.masked(document, parameters)
    errors = document["errors"]
    return Result(
        foundanything=result.foundanything,
        success=result.success,
        elements=shown["elements"],
        statistics=shown["statistics"],
        errors=errors and [MASK for _ in errors],
    )


def as_dict(value: object) -> dict[str, Any]:
    """One struct, shallowly: what hangs on it (dataclasses, plain JSON) orjson writes itself, without a copy of it all."""
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")
