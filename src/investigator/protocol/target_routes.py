"""Stage 3: the fewest subjects that reach every agent which a condition can be true for.

Subjects only route: a route too many costs messages, one too few would lose agents, so what is not understood here is for
all. A condition that no agent can meet has no routes. `environment->>'os'` is the column os in every agent's row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from investigator.protocol.subjects import Route

_MAX_ROUTES: Final = 16
"""More subjects than that cost more than they spare."""
_EVERYONE: Final[frozenset[Route]] = frozenset((("all",),))
_NOBODY: Final[frozenset[Route]] = frozenset()
_REACH: Final = {"agent": 1, "tag": 1_000, "os": 10_000, "all": 10_000_000}
"""How many agents a route is taken to reach, to choose between the parts of an AND."""


def routes_of(tree: list[Any]) -> tuple[Route, ...]:
    """The routes for a tree that `parse_condition` took, sorted."""
    return tuple(sorted(_cover(tree)))


def _cover(node: list[Any]) -> frozenset[Route]:
    """Routes that together reach all agents whose verdict on this node is true."""
    kind, *arguments = node
    if kind == "and":
        return min((_cover(argument) for argument in arguments), key=_reach)
    if kind == "or":
        return _union(_cover(argument) for argument in arguments)
    if kind == "=":
        return min(_equal(*arguments), _equal(*reversed(arguments)), key=_reach)
    if kind == "in":
        return _union(_equal(arguments[0], item) for item in arguments[1:])
    if kind == "is true":
        return _cover(arguments[0])
    return _NOBODY if node == ["bool", False] or kind == "null" else _EVERYONE


def _reach(cover: frozenset[Route]) -> int:
    return sum(_REACH[route[0]] for route in cover)


def _union(covers: Iterable[frozenset[Route]]) -> frozenset[Route]:
    union = _NOBODY.union(*covers)
    return _EVERYONE if len(union) > _MAX_ROUTES or union >= _EVERYONE else union


def _equal(fact: list[Any], literal: list[Any]) -> frozenset[Route]:
    """Those whose fact is that text; nothing equals NULL."""
    if literal[0] == "null":
        return _NOBODY
    if literal[0] == "text":
        name = _fact(fact)
        if name:
            return frozenset(((*name, literal[1]),))
    return _EVERYONE


def _fact(node: list[Any]) -> tuple[str, ...]:
    """The start of the route that a fact leads to: `("agent",)`, `("os",)`, `("tag", key)`, or nothing."""
    if node == ["column", "id"]:
        return ("agent",)
    if node == ["column", "os"]:
        return ("os",)
    key = None
    if node[0] == "->>" and node[2][0] == "text":
        key = node[2][1]
    elif node[0] == "#>>" and len(node[2]) == 1:
        key = node[2][0]
    if key is None:
        return ()
    if node[1] == ["column", "tags"]:
        return ("tag", key)
    return ("os",) if node[1] == ["column", "environment"] and key == "os" else ()
