"""The grammar of a target: PostgreSQL's own ladder of precedence (its `gram.y`), for expressions only.

What comes out is a tree of `Syntax`, without types yet (`target_typing`). What is not in this file is refused by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from investigator.console.target_tokens import Token, read_tokens, refuse
from investigator.errors import BadTarget

MAX_DEPTH: Final = 40
OR, AND, NOT, IS, COMPARISON, LIKE, OPERATOR, ADD, MULTIPLY, MINUS, CAST = range(1, 12)
"""From loose to tight; what PostgreSQL has between is refused here. IS, COMPARISON and LIKE do not chain."""
_CHAINLESS: Final = (IS, COMPARISON, LIKE)
_OPERATORS: Final = {
    **dict.fromkeys(("<", ">", "=", "<=", ">=", "<>", "!="), COMPARISON),
    **dict.fromkeys(("->", "->>", "#>", "#>>", "||", "~", "~*", "!~", "!~*", "~~", "~~*", "!~~", "!~~*"), OPERATOR),
    **dict.fromkeys(("+", "-"), ADD),
    **dict.fromkeys(("*", "/", "%"), MULTIPLY),
}
_WORDS: Final = {
    "or": OR,
    "and": AND,
    **dict.fromkeys(("isnull", "notnull"), IS),
    **dict.fromkeys(("in", "like", "ilike", "between"), LIKE),
}
TYPE_NAMES: Final = {
    ("text",): "text",
    ("varchar",): "text",
    ("character", "varying"): "text",
    ("int",): "int4",
    ("integer",): "int4",
    ("int4",): "int4",
    ("bigint",): "int8",
    ("int8",): "int8",
    ("numeric",): "numeric",
    ("decimal",): "numeric",
    ("float8",): "float8",
    ("float",): "float8",
    ("double", "precision"): "float8",
    ("bool",): "bool",
    ("boolean",): "bool",
    ("timestamptz",): "timestamptz",
    ("timestamp", "with", "time", "zone"): "timestamptz",
    ("interval",): "interval",
    ("json",): "json",
}
_INTERVAL_FIELDS: Final = ("year", "month", "day", "hour", "minute", "second")
_CONSTANTS: Final = {"true": "bool", "false": "bool", "null": "null", "current_timestamp": "now"}
_LEFT_OUT: Final = ("select", "case", "exists", "array", "row", "with", "values", "any", "some")


@dataclass(frozen=True, slots=True)
class Syntax:
    """`kind` with its parts; `value` is an operator, a name or a literal; `start` is the place for a caret."""

    kind: str
    start: int
    parts: tuple[Syntax, ...] = ()
    value: str = ""
    depth: int = 1


def read_condition(text: str) -> Syntax:
    """The syntax of a whole target.

    Raises:
        BadTarget: it is no expression, or one that targets do not take.
    """
    reader = _Reader(text, read_tokens(text))
    condition = reader.expression(OR)
    if reader.token.kind != "end":
        several = reader.token.text == ";"
        raise reader.error("one condition only, without ';'" if several else f"syntax error at {reader.shown()}")
    return condition


class _Reader:
    """Precedence climbing over the tokens."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self.text = text
        self.tokens = tokens
        self.place = 0
        self.depth = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.place]

    def shown(self) -> str:
        return "the end" if self.token.kind == "end" else repr(self.text[self.token.start : self.token.end])

    def error(self, problem: str, position: int | None = None) -> BadTarget:
        return refuse(self.text, self.token.start if position is None else position, problem)

    def next(self) -> Token:
        token = self.token
        self.place += 1
        return token

    def sees(self, *texts: str, kind: str = "word") -> bool:
        """Whether these tokens come next."""
        coming = self.tokens[self.place : self.place + len(texts)]
        return [(token.kind, token.text) for token in coming] == [(kind, text) for text in texts]

    def takes(self, *texts: str, kind: str = "word") -> bool:
        """Move past these tokens if they come next."""
        seen = self.sees(*texts, kind=kind)
        self.place += len(texts) if seen else 0
        return seen

    def expect(self, text: str, *, kind: str = "sign") -> Token:
        if not self.sees(text, kind=kind):
            raise self.error(f"syntax error at {self.shown()}: {text.upper()!r} is needed")
        return self.next()

    def make(self, kind: str, start: int, *parts: Syntax, value: str = "") -> Syntax:
        depth = 1 + max((part.depth for part in parts), default=0)
        if depth > MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} levels deep", start)
        return Syntax(kind, start, parts, value, depth)

    # --- operators

    def expression(self, loosest: int, *, narrow: bool = False) -> Syntax:
        """An expression of operators that bind at least so tightly; `narrow` is what may stand before BETWEEN's AND."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.error(f"nested more than {MAX_DEPTH} levels deep")
        left = self.prefix(narrow=narrow)
        unchained = 0
        while (tightness := self.tightness(narrow=narrow)) >= loosest:
            if tightness == unchained:
                raise self.error(f"syntax error at {self.shown()}: this does not chain, use parentheses")
            left, open_ended = self.infix(left, tightness, narrow=narrow)
            unchained = tightness if open_ended and tightness in _CHAINLESS else 0
        self.depth -= 1
        return left

    def prefix(self, *, narrow: bool) -> Syntax:
        token = self.token
        if not narrow and self.takes("not"):
            return self.make("not", token.start, self.expression(NOT))
        if token.kind == "operator" and token.text in ("+", "-"):
            self.next()
            return self.make("sign", token.start, self.expression(MINUS, narrow=narrow), value=token.text)
        return self.primary()

    def tightness(self, *, narrow: bool) -> int:
        """How tightly the coming operator binds; 0 where none comes."""
        token = self.token
        if token.kind == "operator":
            if token.text not in _OPERATORS:
                raise self.error(f"the operator {token.text} is not supported")
            return _OPERATORS[token.text]
        if token.kind != "word":
            return CAST if (token.kind, token.text) == ("sign", "::") else 0
        if token.text == "is":
            distinct = self.sees("is", "distinct") or self.sees("is", "not", "distinct")
            return IS if distinct or not narrow else 0
        if narrow:
            return 0
        negated = self.sees("not") and any(self.sees("not", word) for word in ("in", "like", "ilike", "between"))
        return LIKE if negated else _WORDS.get(token.text, 0)

    def infix(self, left: Syntax, tightness: int, *, narrow: bool) -> tuple[Syntax, bool]:
        """The operator that comes, and whether it ends in an operand of its own."""
        if self.token.kind == "word":
            return self.word_operator(left, tightness, narrow=narrow)
        token = self.next()
        if token.text == "::":
            return self.make("cast", token.start, left, value=self.type_name()), False
        right = self.expression(tightness + 1, narrow=narrow)
        return self.make("operator", token.start, left, right, value=token.text), True

    def word_operator(self, left: Syntax, tightness: int, *, narrow: bool) -> tuple[Syntax, bool]:
        start = self.token.start
        if tightness in (AND, OR):
            return self.junction(left, tightness), True
        if tightness == IS:
            return self.is_test(left, start, narrow=narrow)
        negated = self.takes("not")
        word = self.next().text
        open_ended = word != "in"
        if word == "in":
            made = self.membership(left, start)
        elif word == "between":
            made = self.between(left, start)
        else:
            made = self.like(left, start, word)
        return (self.make("not", start, made) if negated else made), open_ended

    def junction(self, left: Syntax, tightness: int) -> Syntax:
        """All parts of a chain of AND, or of OR, at once: it nests no deeper for being long."""
        word, start = self.token.text, self.token.start
        parts = [left]
        while self.takes(word):
            parts.append(self.expression(tightness + 1))
        return self.make(word, start, *parts)

    def is_test(self, left: Syntax, start: int, *, narrow: bool) -> tuple[Syntax, bool]:
        word = self.next().text
        negated = word == "notnull" or (word == "is" and self.takes("not"))
        if word != "is" or self.takes("null"):
            made, open_ended = self.make("is", start, left, value="null"), False
        elif self.takes("distinct"):
            self.expect("from", kind="word")
            made, open_ended = self.make("distinct", start, left, self.expression(IS + 1, narrow=narrow)), True
        elif self.sees("true") or self.sees("false") or self.sees("unknown"):
            made, open_ended = self.make("is", start, left, value=self.next().text), False
        else:
            raise self.error(f"syntax error at {self.shown()}: NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM is needed")
        return (self.make("not", start, made) if negated else made), open_ended

    def membership(self, left: Syntax, start: int) -> Syntax:
        self.expect("(")
        if self.sees("select"):
            try:
                return self.outcomes(left, start)
            except BadTarget as error:
                raise self.error(_SUBSELECT, error.position) from None
        items = [self.expression(OR)]
        while self.takes(",", kind="sign"):
            items.append(self.expression(OR))
        self.expect(")")
        return self.make("in", start, left, *items)

    def between(self, left: Syntax, start: int) -> Syntax:
        symmetric = self.takes("symmetric")
        if not symmetric:
            self.takes("asymmetric")
        low = self.expression(IS, narrow=True)
        self.expect("and", kind="word")
        high = self.expression(LIKE + 1)
        return self.make("between", start, left, low, high, value="symmetric" if symmetric else "")

    def like(self, left: Syntax, start: int, word: str) -> Syntax:
        parts = [left, self.expression(LIKE + 1)]
        if self.takes("escape"):
            parts.append(self.expression(LIKE + 1))
        return self.make("like", start, *parts, value=word)

    def outcomes(self, left: Syntax, start: int) -> Syntax:
        """MIG's sub-select on commands, the only one: agents by what an earlier action found with them."""
        sought = {"actionid": "", "foundanything": ""}
        if left.kind != "column" or left.value != "id":
            raise self.error(_SUBSELECT, left.start)
        self.next()
        self.qualified("agentid")
        for words, sign in ((("from", "commands"), ","), (("json_array_elements",), "(")):
            for word in words:
                self.expect(word, kind="word")
            self.expect(sign)
        self.qualified("results")
        self.expect(")")
        self.takes("as")
        alias = self.next().text
        self.expect("where", kind="word")
        for number in range(2):
            if number:
                self.expect("and", kind="word")
            name = "foundanything" if self.sees(alias) else "actionid"
            sought[name] = self.found_value(alias) if name == "foundanything" else self.action_id()
        self.expect(")")
        if not all(sought.values()):
            raise self.error(_SUBSELECT, start)
        return self.make("found" if sought["foundanything"] == "true" else "notfound", start, value=sought["actionid"])

    def qualified(self, name: str) -> None:
        """A column of commands, with or without the table's name."""
        if self.takes("commands"):
            self.expect(".")
        self.expect(name, kind="word")

    def action_id(self) -> str:
        self.qualified("actionid")
        self.expect("=", kind="operator")
        if self.token.kind not in ("number", "string") or not self.token.text.isalnum():
            raise self.error("an action's id is needed")
        return self.next().text

    def found_value(self, alias: str) -> str:
        self.expect(alias, kind="word")
        if not self.takes("#>>", kind="operator") or not self.takes("{foundanything}", kind="string"):
            self.expect("->>", kind="operator")
            self.expect("foundanything", kind="string")
        self.expect("=", kind="operator")
        if self.token.kind != "string" or self.token.text not in ("true", "false"):
            raise self.error("'true' or 'false' is needed")
        return self.next().text

    # --- operands

    def primary(self) -> Syntax:
        token = self.token
        if token.kind in ("string", "number"):
            self.next()
            return self.make(token.kind, token.start, value=token.text)
        if self.takes("(", kind="sign"):
            inner = self.expression(OR)
            self.expect(")")
            return inner
        if token.kind == "quoted":
            return self.column()
        if token.kind != "word":
            raise self.error(f"syntax error at {self.shown()}")
        if token.text in _CONSTANTS:
            self.next()
            return self.make(_CONSTANTS[token.text], token.start, value=token.text)
        if token.text in _LEFT_OUT:
            raise self.error(f"{token.text.upper()} has no place in a target" + self.allowed_subselect(token.text))
        if self.takes("cast"):
            return self.cast_call(token.start)
        return self.typed_literal() or self.call() or self.column()

    @staticmethod
    def allowed_subselect(word: str) -> str:
        return f" ({_SUBSELECT})" if word == "select" else ""

    def cast_call(self, start: int) -> Syntax:
        self.expect("(")
        inner = self.expression(OR)
        self.expect("as", kind="word")
        kind = self.type_name()
        self.expect(")")
        return self.make("cast", start, inner, value=kind)

    def typed_literal(self) -> Syntax | None:
        """`interval '30 days'` and the like, or `interval '30' day`."""
        start = self.token.start
        for words, kind in TYPE_NAMES.items():
            if self.sees(*words) and self.tokens[self.place + len(words)].kind == "string":
                self.place += len(words)
                token = self.next()
                value = token.text
                if kind == "interval" and self.token.text in _INTERVAL_FIELDS and self.token.kind == "word":
                    if not value.isascii() or not value.removeprefix("-").isdigit():
                        raise self.error(
                            "before a field's name the interval is a whole number, as in '30' DAY", token.start
                        )
                    value = f"{value} {self.next().text}"
                    if self.sees("to"):
                        raise self.error("intervals of several fields are not supported")
                return self.make("cast", start, self.make("string", token.start, value=value), value=kind)
        if self.tokens[self.place + 1].kind == "string":
            raise self.error(f"{self.shown()} before a string: no such type is supported")
        return None

    def call(self) -> Syntax | None:
        """A function with its arguments."""
        following = self.tokens[self.place + 1]
        if (following.kind, following.text) != ("sign", "("):
            return None
        name = self.next()
        self.next()
        arguments = []
        if not self.sees(")", kind="sign"):
            arguments.append(self.expression(OR))
            while self.takes(",", kind="sign"):
                arguments.append(self.expression(OR))
        self.expect(")")
        return self.make("call", name.start, *arguments, value=name.text)

    def column(self) -> Syntax:
        token = self.next()
        if self.takes(".", kind="sign"):
            if token.text != "agents":
                hint = "; for what is within JSON write tags->>'key'" if token.text in ("tags", "environment") else ""
                raise self.error(f"there is no table {token.text!r}, only agents{hint}", token.start)
            token = self.next()
        if token.kind not in ("word", "quoted"):
            raise self.error("syntax error: a column's name is needed", token.start)
        return self.make("column", token.start, value=token.text)

    def type_name(self) -> str:
        for words, kind in TYPE_NAMES.items():
            if self.takes(*words):
                if self.sees("(", kind="sign") or self.sees("[", kind="sign"):
                    raise self.error("types with a size, and arrays, are not supported")
                return kind
        raise self.error(
            f"casts to {self.shown()} are not supported, only to " + ", ".join(sorted(set(TYPE_NAMES.values())))
        )


_SUBSELECT: Final = (
    "the only sub-select is MIG's: id IN (SELECT agentid FROM commands, json_array_elements(commands.results) AS r"
    " WHERE commands.actionid = ID AND r#>>'{foundanything}' = 'true')"
)
