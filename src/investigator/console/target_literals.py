"""Literals of a target as nodes: typed ones, LIKE patterns with another escape, text[] paths."""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING, Any

from investigator.protocol.nodes.moments import INT4
from investigator.protocol.nodes.values import read_numeric

if TYPE_CHECKING:
    from investigator.protocol.target import Node


def literal_node(kind: str, read: Any, written: str) -> Node:
    """The node of a literal that was read as that type."""
    if kind in ("text", "bool"):
        return [kind, read]
    if kind in ("int4", "int8"):
        return ["int", read] if kind == "int4" or read not in INT4 else ["cast", "int8", ["int", read]]
    if kind == "numeric":
        return ["numeric", format(read_numeric(written), "f")]
    if kind == "interval":
        return ["interval", *read]
    if kind == "timestamptz":
        return ["timestamptz", read.astimezone(UTC).isoformat().replace("+00:00", "Z")]
    return ["cast", kind, ["text", written]]


def usual_escape(pattern: str, escape: str) -> str:
    r"""The same pattern with `\` as its escape; the empty escape is none."""
    written, signs = [], iter(pattern)
    for sign in signs:
        if sign == escape:
            taken = next(signs, "")
            written.append("\\" + taken)
        else:
            written.append("\\\\" if sign == "\\" else sign)
    return "".join(written)


def read_array(literal: str) -> list[str] | None:
    """The elements of a one-dimensional text[] literal of plain or quoted texts; None where it is none, or holds a NULL."""
    bare = literal.strip(" \t\n\r\f\v")
    if re.fullmatch(r"\{\s*\}", bare, re.ASCII):
        return []
    element = r'\s*(?:"(?:[^"\\]|\\.)*"|[^\s",{}\\][^",{}\\]*)\s*'
    if not re.fullmatch(rf"\{{{element}(?:,{element})*\}}", bare, re.DOTALL | re.ASCII):
        return None
    found = [part.strip(" \t\n\r\f\v") for part in re.findall(element, bare[1:-1], re.DOTALL | re.ASCII)]
    if any(part.upper() == "NULL" for part in found):
        return None
    return [re.sub(r"\\(.)", r"\1", part[1:-1], flags=re.DOTALL) if part[0] == '"' else part for part in found]
