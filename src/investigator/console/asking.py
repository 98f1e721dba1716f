"""What a program asks: a module with its parameters as JSON, as the module's own struct, or as MIG's flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from investigator.errors import BadInput, BadParameters
from investigator.modules import get_module
from investigator.modules.flags import module_flags, parse_flags
from investigator.modules.interface import load_parameters
from investigator.protocol.action import MAX_OPERATIONS, Operation

Parameters = Mapping[str, Any] | msgspec.Struct | Sequence[str]
"""JSON's object; the struct that the module declares; or a list of MIG's flags, as `["-path", "/etc", "-name", "^passwd$"]`."""
Asked = Operation | tuple[str, Parameters]
"""An operation, or (module, parameters)."""


def operation(module: str, parameters: Parameters) -> Operation:
    """An operation that agents take, validated by its module.

    Raises:
        BadInput: there is no such module, or a flag that it does not have; `BadParameters`, `BadRegex`: what it does not take.
    """
    known = get_module(module)
    if isinstance(parameters, msgspec.Struct):
        if not isinstance(parameters, known.spec.parameters):
            raise BadParameters(
                f"module {module}: a {type(parameters).__name__}; a {known.spec.parameters.__name__} is expected"
            )
        document = msgspec.to_builtins(parameters)
    elif isinstance(parameters, Mapping):
        document = dict(parameters)
    elif isinstance(parameters, str):  # a text is a sequence of texts, and each letter would be refused as a flag
        raise BadParameters(f"module {module}: its flags are a list of texts, and not one text")
    elif known.spec.flags is None:
        raise BadInput(f"module {module} has no flags: its parameters are given as JSON")
    else:
        flags = module_flags(known.spec.flags)
        document = known.from_flags(parse_flags(parameters, flags, of=f"module {module}"))
    load_parameters(known, document)
    return Operation(module=module, parameters=document)


def operations(asked: Sequence[Asked]) -> tuple[Operation, ...]:
    """All of an action's operations, each validated.

    Raises:
        BadInput: none, too many, or the first that is wrong, with its number where there are several.
    """
    if not 1 <= len(asked) <= MAX_OPERATIONS:
        raise BadInput(f"{len(asked):,} operations; 1 to {MAX_OPERATIONS:,} are asked at a time")
    ready = []
    for number, one in enumerate(asked, start=1):
        try:
            if isinstance(one, Operation):
                load_parameters(get_module(one.module), one.opened())
                ready.append(one)
            else:
                ready.append(operation(*one))
        except BadInput as error:
            if len(asked) > 1:
                error.args = (f"operation {number}: {error}",)
            raise
    return tuple(ready)
