"""Stage 3: the condition that says which agents an action is for, and its one evaluator.

A condition is a JSON tree of nodes inside the signed bytes: a node is a list, its first item the kind. The console compiles
SQL to it (`console.condition`), agents and the inventory judge it (`judge`); each kind means what PostgreSQL's construct
means in a database with UTF-8, collation "C" and time zone UTC.

    literals      ["text", "linux"]  ["int", 5]  ["numeric", "1.5"]  ["bool", true]  ["null", TYPE]
                  ["timestamptz", "2026-11-24T03:00:00Z"]  ["interval", months, days, microseconds]
    facts         ["column", "os"]  ["now"]  ["found", ACTION]  ["notfound", ACTION]
    logic         ["and", n, n…]  ["or", n, n…]  ["not", n]  ["is null", n]  ["is true", n]  ["is false", n]
    comparisons   ["=", n, n]  <>  <  <=  >  >=  ["between", n, low, high]  ["between symmetric", n, low, high]
                  ["in", n, item…]  ["is distinct", n, n]
    texts         ["like", n, pattern]  ["~", n, "RE2 pattern"]  ["||", n, n]  ["lower", n]  ["upper", n]  ["length", n]
    JSON          ["->", n, key]  ["->>", n, key]  ["#>", n, ["a", "b"]]  ["#>>", n, ["a", "b"]]
    the rest      ["cast", TYPE, n]  ["+", n, n]  -  *  /  %  ["coalesce", n…]  ["nullif", n, n]

Types are text, int4, int8, numeric, float8, bool, timestamptz, interval and json, and never convert but by a cast; int4, int8
and numeric compare with one another. NULL, three-valued logic and JSON's null are SQL's. Texts compare by code point;
`lower` and `upper` change ASCII letters only. LIKE's escape is the backslash. In `~`, `.` takes line feeds too and `^`, `$` are the text's ends.
A JSON value's text is its compact form.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from investigator.errors import BadRegex
from investigator.protocol.nodes.documents import MEMBERS, PATHS
from investigator.protocol.nodes.expression import Expression, Ledger, Moment, NoVerdict, bad
from investigator.protocol.nodes.leaves import COLUMNS, LEAVES
from investigator.protocol.nodes.logic import LOGIC
from investigator.protocol.nodes.sums import SUMS, cast
from investigator.protocol.nodes.texts import TEXTS, regex
from investigator.protocol.target_routes import routes_of
from investigator.protocol.target_rows import row_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from investigator.protocol.subjects import Route

__all__ = [
    "ALL",
    "COLUMNS",
    "Condition",
    "Ledger",
    "NoVerdict",
    "Node",
    "both",
    "evaluate_constant",
    "judge",
    "parse_condition",
    "routes",
    "row_from_json",
]

Node = list[Any]
ALL: Final[Node] = ["bool", True]
"""The condition that every agent meets."""

MAX_NODES: Final = 2_000
MAX_DEPTH: Final = 64
MAX_TEXT_CHARACTERS: Final = 32_768
"""Of all literals together."""
MAX_PATTERNS: Final = 32
"""Regular expressions: each may take memory."""
_KINDS: Final = {**LOGIC, **TEXTS, **MEMBERS, **SUMS}


class Condition:
    """A condition that has been checked, node by node; made only by `parse_condition`."""

    __slots__ = ("_last", "_root", "tree")

    def __init__(self, tree: Node, *, _root: Expression, _by: object) -> None:
        if _by is not _PARSER:
            raise TypeError("only parse_condition makes conditions")
        self.tree = tree
        self._root = _root
        self._last: tuple[datetime, Ledger | None, Callable[[Mapping[str, Any]], bool | None]] | None = None

    def at(self, now: datetime, ledger: Ledger | None = None) -> Callable[[Mapping[str, Any]], bool | None]:
        """The function that judges rows at that moment; see `judge`. Without a ledger it is kept until another moment is asked for."""
        last = self._last
        if last is None or last[0] != now or last[1] is not ledger or ledger is not None:
            last = self._last = now, ledger, self._root.at(Moment(now, ledger))
        return last[2]


_PARSER: Final = object()


def judge(condition: Condition, row: Mapping[str, Any], now: datetime, ledger: Ledger | None = None) -> bool | None:
    """SQL's verdict on one agent: true, false, or None for unknown, which does not match either.

    The row's keys are columns; texts are `str`, pid `int`, times aware `datetime` or RFC 3339 text, addresses, environment
    and tags plain JSON; what is missing is NULL. `ledger(action, found)` says whether the agent's own outcome of that action
    is known and found something, or nothing; without one, none is known. `now` must be aware.

    Raises:
        NoVerdict: PostgreSQL would end the query with an error at this row (a cast that fails, an overflow, a
            division by zero), or a value of the row has the wrong type. As in SQL, AND and OR stop at the first
            part that decides.
    """
    return condition.at(now, ledger)(row)


def routes(condition: Condition) -> tuple[Route, ...]:
    """The fewest subjects that reach every agent for which the condition can be true: see `target_routes`."""
    return routes_of(condition.tree)


def both(one: Node, other: Node) -> Node:
    """The tree of `(one) AND (other)`."""
    return other if one == ALL else one if other == ALL else ["and", one, other]


def parse_condition(tree: Any) -> Condition:
    """Check a tree that came with an action.

    Raises:
        BadTarget: an unknown kind, a wrong number or type of arguments, a pattern that does not compile, or one of the
            caps on nodes, depth, texts and patterns is passed.
    """
    try:
        root = _Parser().expression(tree, 0)
    except BadRegex as error:
        raise bad(str(error)) from None
    if root.type != "bool":
        raise bad(f"it must be true or false, and is {root.type}")
    return Condition(tree, _root=root, _by=_PARSER)


def evaluate_constant(tree: Any) -> Any:
    """The value of a tree that needs no row.

    Raises:
        BadTarget: as `parse_condition`, but it may be of any type.
        NoVerdict: PostgreSQL would end the query with an error.
    """
    try:
        return _Parser().expression(tree, 0).at(Moment(datetime.fromtimestamp(0, UTC)))({})
    except BadRegex as error:
        raise bad(str(error)) from None


class _Parser:
    """One walk over a tree, counting."""

    def __init__(self) -> None:
        self.nodes = 0
        self.characters = 0
        self.patterns = 0

    def expression(self, node: Any, depth: int) -> Expression:
        if type(node) is not list or not node or type(node[0]) is not str:
            raise bad("a node is a list that starts with its kind")
        self.nodes += 1
        if self.nodes > MAX_NODES or depth >= MAX_DEPTH:
            raise bad(f"more than {MAX_NODES:,} nodes, or more than {MAX_DEPTH} levels of them")
        kind, arguments = node[0], node[1:]
        if kind in LEAVES:
            make, count = LEAVES[kind]
            self._count(kind, arguments, count)
            self._add_texts(arguments)
            return make(*arguments)
        if kind in _KINDS:
            maker, number = _KINDS[kind]
            self._count(kind, arguments, number)
            return maker(*(self.expression(argument, depth + 1) for argument in arguments))
        return self._mixed(kind, arguments, depth)

    def _mixed(self, kind: str, arguments: list[Any], depth: int) -> Expression:
        """The kinds that take a node and plain JSON."""
        if kind not in ("~", "cast", *PATHS):
            raise bad(f"there is no kind of node {kind[:40]!r}")
        self._count(kind, arguments, 2)
        if kind == "cast":
            return cast(arguments[0], self.expression(arguments[1], depth + 1))
        inner = self.expression(arguments[0], depth + 1)
        if kind == "~":
            self.patterns += 1
            if self.patterns > MAX_PATTERNS:
                raise bad(f"more than {MAX_PATTERNS} regular expressions")
            self._add_texts(arguments[1:])
            return regex(inner, arguments[1])
        if isinstance(arguments[1], list):
            self._add_texts(arguments[1])
        return PATHS[kind](inner, arguments[1])

    def _add_texts(self, arguments: list[Any]) -> None:
        self.characters += sum(len(argument) for argument in arguments if isinstance(argument, str))
        if self.characters > MAX_TEXT_CHARACTERS:
            raise bad(f"texts of more than {MAX_TEXT_CHARACTERS:,} characters")

    @staticmethod
    def _count(kind: str, arguments: list[Any], wanted: int | None) -> None:
        if (wanted is not None and len(arguments) != wanted) or (wanted is None and not arguments):
            raise bad(f"[{kind!r}, …] has {len(arguments)} arguments, and needs {'some' if wanted is None else wanted}")
