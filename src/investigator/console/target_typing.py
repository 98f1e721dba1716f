"""From the syntax of a target to nodes: PostgreSQL's rules for operators, and for literals whose type is still unknown.

A quoted literal is of unknown type until what stands beside it decides (`pid = '5'`, `starttime > '2026-01-01'`), and is then read
at once, so a bad one is refused here with its place. What has no operator in PostgreSQL (`name = 5`) is refused in its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from investigator.console.postgres_regex import translate
from investigator.console.target_literals import literal_node, read_array, usual_escape
from investigator.console.target_tokens import refuse
from investigator.errors import BadRegex, BadTarget
from investigator.nearest import nearest
from investigator.protocol.nodes.like import compile_like
from investigator.protocol.nodes.moments import INT4, INT8, BadValue
from investigator.protocol.nodes.values import CASTS, EXACT, NAMES
from investigator.protocol.target import COLUMNS, Node, NoVerdict, evaluate_constant

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.console.target_grammar import Syntax

NUMBERS: Final = ("int4", "int8", "numeric", "float8")
"""From narrow to wide: of two, PostgreSQL compares as the wider one."""
UNKNOWN: Final = "unknown"
_COMPARISONS: Final = ("=", "<>", "<", "<=", ">", ">=")
_LIKES: Final = {"~~": "like", "~~*": "ilike", "!~~": "like", "!~~*": "ilike"}
_TO_TEXT: Final = ("int4", "int8", "numeric", "bool", "timestamptz")
"""What `||` turns into text by itself."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A node and the type of its value; of unknown type while only `literal` is known (None: NULL)."""

    node: Node
    type: str
    start: int
    constant: bool = False
    literal: str | None = None


def compile_syntax(syntax: Syntax, text: str) -> Node:
    """The node tree of a whole condition.

    Raises:
        BadTarget: PostgreSQL has no such operator, function or column, or it is one that targets do not take.
    """
    compiler = _Compiler(text)
    return compiler.truth(compiler.compile(syntax), "argument of WHERE").node


def _name(kind: str) -> str:
    return NAMES.get(kind, kind)


class _Compiler:
    """One walk over the syntax; `text` is for error messages."""

    def __init__(self, text: str) -> None:
        self.text = text

    def error(self, problem: str, start: int) -> BadTarget:
        return refuse(self.text, start, problem)

    def compile(self, syntax: Syntax) -> Typed:
        return _COMPILERS[syntax.kind](self, syntax)

    # --- types

    def settle(self, value: Typed, kind: str) -> Typed:
        """A literal of unknown type, read as that type; all else as it is."""
        if value.type != UNKNOWN:
            return value
        if value.literal is None:
            return Typed(["null", kind], kind, value.start, constant=True)
        if ("text", kind) not in CASTS:
            raise self.error(f"a literal of type {_name(kind)} is not supported", value.start)
        try:
            read = CASTS["text", kind](value.literal)
        except BadValue as error:
            raise self.error(str(error), value.start) from None
        return Typed(literal_node(kind, read, value.literal), kind, value.start, constant=True)

    def settle_both(self, left: Typed, right: Typed) -> tuple[Typed, Typed]:
        """An unknown literal takes the other side's type; two of them are texts."""
        kind = left.type if left.type != UNKNOWN else right.type if right.type != UNKNOWN else "text"
        return self.settle(left, kind), self.settle(right, kind)

    def truth(self, value: Typed, what: str) -> Typed:
        settled = self.settle(value, "bool")
        if settled.type != "bool":
            raise self.error(f"{what} must be of type boolean, not {_name(settled.type)}", value.start)
        return settled

    def cast(self, value: Typed, kind: str, start: int) -> Typed:
        if value.type == UNKNOWN:
            return self.settle(value, kind)
        if value.type == kind:
            return value
        if (value.type, kind) not in CASTS:
            raise self.error(f"cannot cast type {_name(value.type)} to {_name(kind)} here", start)
        return self.checked(["cast", kind, value.node], kind, start, constant=value.constant)

    def checked(self, node: Node, kind: str, start: int, *, constant: bool) -> Typed:
        """What needs no row and no clock is worked out now, so that its errors have a place."""
        if constant:
            try:
                evaluate_constant(node)
            except NoVerdict as error:
                raise self.error(str(error), start) from None
        return Typed(node, kind, start, constant=constant)

    def common(self, values: list[Typed], what: str, start: int) -> list[Typed]:
        """PostgreSQL's common type of several values; unknown literals follow, numbers widen."""
        kinds = {value.type for value in values} - {UNKNOWN}
        if not kinds:
            kind = "text"
        elif kinds <= set(NUMBERS):
            kind = max(kinds, key=NUMBERS.index)
        elif len(kinds) == 1:
            kind = kinds.pop()
        else:
            raise self.error(f"{what} types {' and '.join(sorted(map(_name, kinds)))} cannot be matched", start)
        return [self.cast(value, kind, value.start) for value in values]

    def no_operator(self, operator: str, left: Typed, right: Typed, start: int) -> BadTarget:
        hint = ""
        if "json" in (left.type, right.type):
            hint = " (->> and #>> give texts, -> and #> give JSON)"
        return self.error(f"operator does not exist: {_name(left.type)} {operator} {_name(right.type)}{hint}", start)

    def comparable(self, operator: str, left: Typed, right: Typed, start: int) -> tuple[Typed, Typed]:
        """Both sides of a comparison, of types that compare."""
        if "json" in (left.type, right.type):
            raise self.no_operator(operator, left, right, start)
        one, other = self.settle_both(left, right)
        if {one.type, other.type} <= set(NUMBERS):
            if not {one.type, other.type} <= EXACT:
                return self.cast(one, "float8", one.start), self.cast(other, "float8", other.start)
            return one, other
        if one.type != other.type:
            raise self.no_operator(operator, one, other, start)
        return one, other

    # --- leaves

    def string(self, syntax: Syntax) -> Typed:
        return Typed([], UNKNOWN, syntax.start, constant=True, literal=syntax.value)

    def null(self, syntax: Syntax) -> Typed:
        return Typed([], UNKNOWN, syntax.start, constant=True)

    def number(self, syntax: Syntax, sign: str = "") -> Typed:
        written = sign + syntax.value
        if syntax.value.isdigit() and len(syntax.value) < 30 and int(written) in INT8:
            kind = "int4" if int(written) in INT4 else "int8"
            return Typed(["int", int(written)], kind, syntax.start, constant=True)
        return self.settle(Typed([], UNKNOWN, syntax.start, constant=True, literal=written), "numeric")

    def bool(self, syntax: Syntax) -> Typed:
        return Typed(["bool", syntax.value == "true"], "bool", syntax.start, constant=True)

    def now(self, syntax: Syntax) -> Typed:
        return Typed(["now"], "timestamptz", syntax.start)

    def column(self, syntax: Syntax) -> Typed:
        if syntax.value in COLUMNS:
            return Typed(["column", syntax.value], COLUMNS[syntax.value], syntax.start)
        near = nearest(syntax.value.lower(), COLUMNS, cutoff=0.5)
        meant = f"; did you mean {near}?" if near else "; the columns are " + ", ".join(COLUMNS)
        if self.text[syntax.start] == '"':
            meant = "; texts stand in single quotes"
        if syntax.value in ("all", "local"):
            meant = f"; {syntax.value!r} stands alone"
        raise self.error(f"column {syntax.value[:60]!r} does not exist{meant}", syntax.start)

    def outcome(self, syntax: Syntax) -> Typed:
        return Typed([syntax.kind, syntax.value], "bool", syntax.start)

    # --- logic

    def junction(self, syntax: Syntax) -> Typed:
        parts = [self.truth(self.compile(part), f"argument of {syntax.kind.upper()}") for part in syntax.parts]
        return Typed(
            [syntax.kind, *(part.node for part in parts)], "bool", syntax.start, all(p.constant for p in parts)
        )

    def negation(self, syntax: Syntax) -> Typed:
        part = self.truth(self.compile(syntax.parts[0]), "argument of NOT")
        return Typed(["not", part.node], "bool", syntax.start, part.constant)

    def is_test(self, syntax: Syntax) -> Typed:
        part = self.compile(syntax.parts[0])
        if syntax.value == "null":
            part, kind = self.settle(part, "text"), "is null"
        else:
            part = self.truth(part, f"argument of IS {syntax.value.upper()}")
            kind = "is null" if syntax.value == "unknown" else f"is {syntax.value}"
        return Typed([kind, part.node], "bool", syntax.start, part.constant)

    # --- comparisons

    def distinct(self, syntax: Syntax) -> Typed:
        left, right = self.comparable("=", self.compile(syntax.parts[0]), self.compile(syntax.parts[1]), syntax.start)
        return Typed(["is distinct", left.node, right.node], "bool", syntax.start, left.constant and right.constant)

    def between(self, syntax: Syntax) -> Typed:
        value, low, high = map(self.compile, syntax.parts)
        kinds = {part.type for part in (value, low, high)}
        if "float8" in kinds and len(kinds - {UNKNOWN}) > 1:
            raise self.error("BETWEEN of double precision and other numbers is not supported; cast them", syntax.start)
        if value.type == UNKNOWN and low.type != high.type:
            raise self.error("BETWEEN of a literal needs its type, as in 'x'::text", syntax.start)
        first, least = self.comparable(">=", value, low, syntax.start)
        second, most = self.comparable("<=", value, high, syntax.start)
        constant = first.constant and least.constant and second.constant and most.constant
        kind = "between symmetric" if syntax.value else "between"
        return Typed([kind, first.node, least.node, most.node], "bool", syntax.start, constant)

    def membership(self, syntax: Syntax) -> Typed:
        """Items without columns are first brought to one type, as PostgreSQL does where there are several."""
        value, *items = map(self.compile, syntax.parts)
        plain = [item for item in items if not _has_column(item.node)]
        if len(plain) > 1:
            kinds = {part.type for part in (value, *plain)} - {UNKNOWN}
            if len(kinds) <= 1 or kinds <= set(NUMBERS):
                value, *settled = self.common([value, *plain], "IN", syntax.start)
                by_place = {item.start: item for item in settled}
                items = [by_place.get(item.start, item) for item in items]
        pairs = [self.comparable("=", value, item, syntax.start) for item in items]
        if len({pair[0].type for pair in pairs}) > 1:
            raise self.error("IN of items of several types is not supported; cast them", syntax.start)
        nodes = [pairs[0][0].node, *(pair[1].node for pair in pairs)]
        constant = all(one.constant and other.constant for one, other in pairs)
        return Typed(["in", *nodes], "bool", syntax.start, constant)

    def operator(self, syntax: Syntax) -> Typed:
        left, right = map(self.compile, syntax.parts)
        operator = "<>" if syntax.value == "!=" else syntax.value
        if operator in _COMPARISONS:
            one, other = self.comparable(operator, left, right, syntax.start)
            return Typed([operator, one.node, other.node], "bool", syntax.start, one.constant and other.constant)
        if operator in _LIKES:
            return self.negated(operator, self.like_of(_LIKES[operator], left, right, None, syntax))
        if operator in ("~", "~*", "!~", "!~*"):
            return self.negated(operator, self.regex(operator, left, right, syntax))
        if operator in ("->", "->>"):
            return self.member(operator, left, right, syntax)
        if operator in ("#>", "#>>"):
            return self.path(operator, left, right, syntax)
        return self.concatenation(left, right, syntax) if operator == "||" else self.arithmetic(left, right, syntax)

    @staticmethod
    def negated(operator: str, value: Typed) -> Typed:
        return Typed(["not", value.node], "bool", value.start, value.constant) if operator[0] == "!" else value

    # --- texts

    def texts(self, operator: str, left: Typed, right: Typed, start: int) -> tuple[Typed, Typed]:
        one, other = self.settle(left, "text"), self.settle(right, "text")
        if (one.type, other.type) != ("text", "text"):
            raise self.no_operator(operator, left, right, start)
        return one, other

    def like(self, syntax: Syntax) -> Typed:
        left, right, *escape = map(self.compile, syntax.parts)
        if not escape:
            return self.like_of(syntax.value, left, right, None, syntax)
        if escape[0].type != UNKNOWN or escape[0].literal is None or right.type != UNKNOWN or right.literal is None:
            raise self.error("ESCAPE is only supported between literals", escape[0].start)
        if len(escape[0].literal) > 1:
            raise self.error("invalid escape string: it must be empty or one character", escape[0].start)
        return self.like_of(syntax.value, left, right, escape[0].literal, syntax)

    def like_of(self, word: str, left: Typed, right: Typed, escape: str | None, syntax: Syntax) -> Typed:
        """ILIKE is LIKE of the lower-case texts, as it is in PostgreSQL."""
        value, pattern = self.texts("~~" if word == "like" else "~~*", left, right, syntax.start)
        if pattern.node[0] == "text":
            written = pattern.node[1]
            written = written if escape is None else usual_escape(written, escape)
            try:
                compile_like(written)
            except BadValue as error:
                raise self.error(str(error), right.start) from None
            if word == "ilike" and any(sign > "\x7f" and sign.lower() != sign.upper() for sign in written):
                raise self.error(
                    "ILIKE with a letter outside ASCII depends on the database; use LIKE or ~", right.start
                )
            pattern = Typed(["text", written], "text", right.start, constant=True)
        if word == "ilike":
            value, pattern = _lower(value), _lower(pattern)
        return Typed(["like", value.node, pattern.node], "bool", syntax.start, value.constant and pattern.constant)

    def regex(self, operator: str, left: Typed, right: Typed, syntax: Syntax) -> Typed:
        value, pattern = self.texts(operator, left, right, syntax.start)
        if pattern.node[0] == "null":
            return Typed(["null", "bool"], "bool", syntax.start, constant=True)
        if pattern.node[0] != "text":
            raise self.error("a regular expression must be a literal", right.start)
        written = pattern.node[1]
        try:
            node = ["~", value.node, translate(written, ignore_case=operator.endswith("*"))]
            evaluate_constant(["~", ["text", ""], node[2]])
        except BadRegex as error:
            place = right.start + 1 + error.position + written[: error.position].count("'")
            raise self.error(str(error).rsplit(", at character", 1)[0], place) from None
        except BadTarget as error:
            raise self.error(str(error), right.start) from None
        return Typed(node, "bool", syntax.start, value.constant)

    def concatenation(self, left: Typed, right: Typed, syntax: Syntax) -> Typed:
        kinds = {left.type, right.type}
        if not kinds & {"text", UNKNOWN} or not kinds <= {"text", UNKNOWN, *_TO_TEXT}:
            raise self.no_operator("||", left, right, syntax.start)
        one, other = (self.cast(self.settle(side, "text"), "text", side.start) for side in (left, right))
        return Typed(["||", one.node, other.node], "text", syntax.start, one.constant and other.constant)

    # --- JSON

    def member(self, operator: str, left: Typed, right: Typed, syntax: Syntax) -> Typed:
        key = self.settle(right, "text")
        if left.type != "json" or key.type not in ("text", "int4"):
            raise self.no_operator(operator, left, right, syntax.start)
        return Typed([operator, left.node, key.node], "text" if operator == "->>" else "json", syntax.start)

    def path(self, operator: str, left: Typed, right: Typed, syntax: Syntax) -> Typed:
        if left.type != "json" or right.type != UNKNOWN:
            raise self.no_operator(operator, left, right, syntax.start)
        kind = "text" if operator == "#>>" else "json"
        if right.literal is None:
            return Typed(["null", kind], kind, syntax.start, constant=True)
        steps = read_array(right.literal)
        if steps is None:
            raise self.error(f"a path is written '{{a,b}}', not {right.literal[:60]!r}", right.start)
        return Typed([operator, left.node, steps], kind, syntax.start)

    # --- arithmetic, casts, functions

    def arithmetic(self, left: Typed, right: Typed, syntax: Syntax) -> Typed:
        operator = syntax.value
        kinds = (left.type, right.type)
        if kinds == (UNKNOWN, UNKNOWN):
            raise self.error(f"operator is not unique: unknown {operator} unknown", syntax.start)
        if operator == "+" and "timestamptz" in kinds:
            left, right = self.settle(left, "interval"), self.settle(right, "interval")
        else:
            left, right = self.settle_both(left, right)
        result = _RESULTS.get((operator, left.type, right.type))
        if {left.type, right.type} <= {"int4", "int8"}:
            result = max(left.type, right.type)
        if not result:
            numbers = {left.type, right.type} <= {*NUMBERS, "interval"}
            problem = f"{operator} of {_name(left.type)} and {_name(right.type)} is not supported: whole numbers only"
            raise (
                self.error(problem, syntax.start) if numbers else self.no_operator(operator, left, right, syntax.start)
            )
        constant = left.constant and right.constant
        return self.checked([operator, left.node, right.node], result, syntax.start, constant=constant)

    def sign(self, syntax: Syntax) -> Typed:
        inner = syntax.parts[0]
        if inner.kind == "number":
            return self.number(inner, syntax.value.removeprefix("+"))
        value = self.compile(inner)
        zero: dict[str, Node] = {"int4": ["int", 0], "int8": ["int", 0], "interval": ["interval", 0, 0, 0]}
        if value.type not in zero or (value.type == "interval" and syntax.value == "+"):
            raise self.error(f"operator does not exist: {syntax.value} {_name(value.type)}", syntax.start)
        if syntax.value == "+":
            return value
        return self.checked(["-", zero[value.type], value.node], value.type, syntax.start, constant=value.constant)

    def cast_to(self, syntax: Syntax) -> Typed:
        return self.cast(self.compile(syntax.parts[0]), syntax.value, syntax.start)

    def call(self, syntax: Syntax) -> Typed:
        arguments = [self.compile(part) for part in syntax.parts]
        known = {"lower": 1, "upper": 1, "length": 1, "char_length": 1, "now": 0, "nullif": 2, "coalesce": None}
        name = syntax.value
        if name not in known:
            raise self.error(f"function {name[:60]!r} is not supported, only {', '.join(known)}", syntax.start)
        wanted = known[name]
        if (not arguments and wanted is None) or (wanted is not None and len(arguments) != wanted):
            raise self.error(f"{name} takes {'some' if wanted is None else wanted} arguments", syntax.start)
        if name == "now":
            return self.now(syntax)
        if name == "coalesce":
            return self.coalesce(arguments, syntax)
        if name == "nullif":
            return self.nullif(arguments, syntax)
        value = self.settle(arguments[0], "text")
        if value.type != "text":
            raise self.error(f"function {name}({_name(value.type)}) does not exist", syntax.start)
        kind = "length" if name == "char_length" else name
        return Typed([kind, value.node], "int4" if kind == "length" else "text", syntax.start, value.constant)

    def coalesce(self, arguments: list[Typed], syntax: Syntax) -> Typed:
        values = self.common(arguments, "COALESCE", syntax.start)
        constant = all(value.constant for value in values)
        return Typed(["coalesce", *(value.node for value in values)], values[0].type, syntax.start, constant)

    def nullif(self, arguments: list[Typed], syntax: Syntax) -> Typed:
        left, right = self.comparable("=", arguments[0], arguments[1], syntax.start)
        if arguments[0].type not in (left.type, UNKNOWN) or (arguments[0].type == UNKNOWN and left.type != "text"):
            raise self.error("NULLIF of two types is not supported; cast them", syntax.start)
        return Typed(["nullif", left.node, right.node], left.type, syntax.start, left.constant and right.constant)


def _has_column(node: Any) -> bool:
    return isinstance(node, list) and (node[:1] == ["column"] or any(map(_has_column, node)))


def _lower(value: Typed) -> Typed:
    """Lower case of ASCII letters; a literal's at once."""
    if value.node[0] == "text":
        folded = "".join(sign.lower() if sign.isascii() else sign for sign in value.node[1])
        return Typed(["text", folded], "text", value.start, constant=True)
    return Typed(["lower", value.node], "text", value.start, value.constant)


_RESULTS: Final = {
    ("+", "timestamptz", "interval"): "timestamptz",
    ("+", "interval", "timestamptz"): "timestamptz",
    ("-", "timestamptz", "interval"): "timestamptz",
    ("-", "timestamptz", "timestamptz"): "interval",
    ("+", "interval", "interval"): "interval",
    ("-", "interval", "interval"): "interval",
}
_COMPILERS: Final[dict[str, Callable[[_Compiler, Syntax], Typed]]] = {
    "string": _Compiler.string,
    "number": _Compiler.number,
    "null": _Compiler.null,
    "bool": _Compiler.bool,
    "now": _Compiler.now,
    "column": _Compiler.column,
    "found": _Compiler.outcome,
    "notfound": _Compiler.outcome,
    "and": _Compiler.junction,
    "or": _Compiler.junction,
    "not": _Compiler.negation,
    "is": _Compiler.is_test,
    "distinct": _Compiler.distinct,
    "between": _Compiler.between,
    "in": _Compiler.membership,
    "like": _Compiler.like,
    "operator": _Compiler.operator,
    "sign": _Compiler.sign,
    "cast": _Compiler.cast_to,
    "call": _Compiler.call,
}
