"""One operation of an action file: a known module, keys in the module's own case, parameters that it takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import inspect

from investigator.errors import BadInput
from investigator.modules import get_module
from investigator.modules.interface import load_parameters
from investigator.protocol.action import AskedLimits, Operation, compressed
from investigator.protocol.codec import convert

_KEYS: Final = ("module", "parameters", "is_compressed", "want_compressed", "limits")
_SUCCESSORS: Final = {"connected": "netstat"}
"""MIG's modules of before 2014, which some of its published files still name."""


class _Written(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    module: Annotated[str, msgspec.Meta(min_length=1)]
    parameters: Any = None
    is_compressed: bool = False
    want_compressed: bool = False
    limits: AskedLimits | None = None


def read_operation(document: Mapping[str, Any], *, what: str, local: bool, notes: list[str]) -> Operation:
    """An operation as MIG's files write it, ready to be signed; what was taken otherwise is added to `notes`.

    Raises:
        BadInput: `what`, and the first thing that is wrong; also for a module that is not there.
    """
    written = convert(in_our_case(document, _KEYS, what=what), _Written, what=what)
    try:
        module = get_module(written.module)
    except BadInput as error:
        successor = _SUCCESSORS.get(written.module)
        hint = f"It was MIG's before 2014; {successor} does that now." if successor else error.hint
        raise BadInput(f"{what}: {error}", hint=hint) from None
    given = Operation(
        module=written.module,
        parameters=written.parameters,
        is_compressed=written.is_compressed,
        limits=written.limits,
    )
    try:
        parameters = _declared_case(given.opened(), inspect.type_info(module.spec.parameters), what="parameters")
        parameters = _before_searches(written.module, parameters, what, notes)
        load_parameters(module, parameters, local=local)
    except BadInput as error:
        error.args = (f"{what}: {error}",)
        raise
    if written.is_compressed and parameters == given.opened():
        return given
    operation = Operation(module=written.module, parameters=parameters, limits=written.limits)
    return compressed(operation) if written.is_compressed or written.want_compressed else operation


def in_our_case(mapping: Mapping[str, Any], names: Collection[str], *, what: str) -> dict[str, Any]:
    """The same object with each key that is one of these names, in whatever case, written as ours; others unchanged.

    Raises:
        BadInput: two keys come to the same.
    """
    ours = {name.lower(): name for name in names}
    settled: dict[str, Any] = {}
    for key, value in mapping.items():
        name = key if key in names else ours.get(key.lower(), key)
        if name in settled:
            raise BadInput(f"{what}: the key {name[:60]!r} stands there twice, in different cases")
        settled[name] = value
    return settled


def _declared_case(value: Any, info: inspect.Type, *, what: str) -> Any:
    """The value with the keys of declared objects in their declared case; what fits nowhere stays, to be refused."""
    if isinstance(info, inspect.Metadata):
        return _declared_case(value, info.type, what=what)
    if isinstance(info, inspect.UnionType):
        wanted = (inspect.StructType, inspect.DictType) if isinstance(value, dict) else (inspect.ListType,)
        fitting = next((one for one in info.types if isinstance(one, wanted)), None)
        return value if fitting is None else _declared_case(value, fitting, what=what)
    if isinstance(value, dict) and isinstance(info, inspect.StructType):
        types = {item.encode_name: item.type for item in info.fields}
        settled = in_our_case(value, types, what=what)
        return {
            key: _declared_case(inner, types[key], what=f"{what}.{key}") if key in types else inner
            for key, inner in settled.items()
        }
    if isinstance(value, dict) and isinstance(info, inspect.DictType):
        return {key: _declared_case(inner, info.value_type, what=f"{what}.{key}") for key, inner in value.items()}
    if isinstance(value, list) and isinstance(info, inspect.ListType):
        return [_declared_case(inner, info.item_type, what=what) for inner in value]
    return value


def _before_searches(module: str, parameters: Any, what: str, notes: list[str]) -> Any:
    """`file`'s labels stood at the top before MIG had `searches`, and some of its published files still do that."""
    old = (
        module == "file"
        and isinstance(parameters, dict)
        and parameters
        and "searches" not in parameters
        and all(isinstance(search, dict) and "paths" in search for search in parameters.values())
    )
    if not old:
        return parameters
    notes.append(f"{what}: its searches stand at the top, as before MIG had 'searches'; taken as such")
    return {"searches": parameters}
