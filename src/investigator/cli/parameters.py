"""A module's JSON parameters, told from its declaration: as JSON Schema, and flat, a row for each key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from investigator.modules.interface import Spec

_KINDS: Final = {
    "string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "object",
    "null": "null", None: "any JSON",
}  # fmt: skip
_PLURALS: Final = {"text": "texts", "whole number": "whole numbers", "number": "numbers", "object": "objects"}
_LARGE: Final = 1 << 53
"""From here on a limit is that of JSON numbers, and says nothing of the module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key, and what may stand there."""

    path: str
    """`searches.LABEL.options.maxdepth`: `LABEL` is any key, `[]` any item."""
    kind: str
    default: str
    """As JSON; empty where there is none, or where it is an empty object or list."""
    required: bool
    text: str


def schema_of(spec: Spec) -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the parameters, with the module's name and summary."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": spec.name, "description": spec.summary}
    return {**head, **msgspec.json.schema(spec.parameters)}


def parameter_rows(spec: Spec) -> list[Row]:
    """Every key that the parameters may have, in the order of the declaration."""
    return struct_rows(spec.parameters)


def struct_rows(struct: type[msgspec.Struct]) -> list[Row]:
    """Every key that a struct's JSON, or TOML, may have."""
    schema = msgspec.json.schema(struct)
    return list(_rows(schema, schema.get("$defs", {}), "", ()))


def _rows(shape: Mapping[str, Any], known: Mapping[str, Any], path: str, within: tuple[str, ...]) -> Iterator[Row]:
    name = shape.get("$ref", "").rpartition("/")[2]
    if name in within:
        return  # it holds itself
    if name:
        shape, within = known[name], (*within, name)
    required = shape.get("required", ())
    for key, item in shape.get("properties", {}).items():
        here = f"{path}.{key}" if path else key
        yield Row(
            path=here,
            kind=_kind(item, known),
            default=_default(item),
            required=key in required,
            text=" ".join(item.get("description", "").split()),
        )
        inner, suffix = _within(item, known)
        yield from _rows(inner, known, here + suffix, within)


def _within(item: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Where the keys of what stands here are declared, and how they are written behind its path."""
    for choice in item.get("anyOf", ()):
        if "$ref" in choice:
            return choice, ""
    if item.get("type") == "array":
        inner, suffix = _within(item.get("items") or {}, known)
        return inner, "[]" + suffix
    if isinstance(item.get("additionalProperties"), dict):
        inner, suffix = _within(item["additionalProperties"], known)
        return inner, ".LABEL" + suffix
    return item, ""


def _kind(item: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    if "anyOf" in item:
        return " or ".join(dict.fromkeys(_kind(choice, known) for choice in item["anyOf"]))
    if "enum" in item:
        return "one of " + ", ".join(f"`{value}`" if value != "" else "empty" for value in item["enum"])
    if "$ref" in item:
        return _kind({**known[item["$ref"].rpartition("/")[2]]}, known)
    if item.get("type") == "array":
        inner = _kind(item.get("items") or {}, known)
        return f"list of {_PLURALS.get(inner, inner)}"
    if isinstance(item.get("additionalProperties"), dict):
        inner = _kind(item["additionalProperties"], known)
        return f"object of {_PLURALS.get(inner, inner)}"
    return _KINDS.get(item.get("type"), "any JSON") + _limits(item)


def _limits(item: Mapping[str, Any]) -> str:
    low, high = item.get("minimum"), item.get("maximum")
    if high is not None and high < _LARGE:
        return f", {low or 0} to {high}"
    return f", at least {low}" if low else ""


def _default(item: Mapping[str, Any]) -> str:
    value = item.get("default")
    return "" if value in (None, "", [], {}) else msgspec.json.encode(value).decode()
