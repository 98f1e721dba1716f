"""The words of a target: sqlglot's PostgreSQL tokens, each checked against what PostgreSQL's own lexer would make of it.

sqlglot drops comments, takes other databases' spellings for PostgreSQL's and knows fewer operators, so a token counts only as what
its piece of the text is, nothing but white space may stand between tokens, and operators are cut as PostgreSQL cuts them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from investigator.errors import BadTarget
from investigator.protocol.nodes.moments import SPACE

MAX_TARGET_CHARACTERS: Final = 2_048
"""MIG's limit."""
_SHAPES: Final = (
    ("word", re.compile(r"[A-Za-z_\u0080-\U0010ffff][A-Za-z_0-9$\u0080-\U0010ffff]*")),
    ("quoted", re.compile(r'"(?:[^"]|"")+"')),
    ("string", re.compile(r"'(?:[^']|'')*'")),
    ("number", re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")),
    ("operator", re.compile(r"[+*/<>=~!@#%^&|`?-]+")),
    ("sign", re.compile(r"::|[()\[\],.;:]")),
)
_LONG_OPERATOR_SIGNS: Final = set("~!@#%^&|`?")


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is word, quoted, string, number, operator, sign or end; `text` is the value: words in lower case, quotes undone."""

    kind: str
    text: str
    start: int
    end: int


def refuse(text: str, position: int, problem: str) -> BadTarget:
    """What is wrong, and where."""
    return BadTarget(f"target: {problem}, at character {position + 1}", text=text, position=position)


def read_tokens(text: str) -> list[Token]:
    """The tokens of a target, the last one of kind end.

    Raises:
        BadTarget: it is too long, or something in it is no SQL of a condition.
    """
    if len(text) > MAX_TARGET_CHARACTERS:
        raise refuse(text[:80], 80, f"{len(text):,} characters are too long (MIG's limit is {MAX_TARGET_CHARACTERS:,})")
    strange = re.search(r"[\0\ud800-\udfff]", text)
    if strange:
        raise refuse(text, strange.start(), "U+0000 or a lone surrogate is no text")
    tokens: list[Token] = []
    place = 0
    for start, end in _pieces(text):
        _check_gap(text, place, start)
        tokens += _classify(text, start, end, glued=bool(tokens) and place == start and tokens[-1].kind == "number")
        place = end
    _check_gap(text, place, len(text))
    return [*_cut_operators(text, tokens), Token("end", "", len(text), len(text))]


def _pieces(text: str) -> list[tuple[int, int]]:
    """Where sqlglot's tokens begin and end."""
    from sqlglot.dialects.postgres import Postgres
    from sqlglot.errors import SqlglotError

    try:
        return [(token.start, token.end + 1) for token in Postgres().tokenize(text)]
    except SqlglotError:
        rest = re.match(r"""(?:[^'"]|'(?:[^']|'')*'|"(?:[^"]|"")*")*""", text)
        position = min(rest.end() if rest else 0, max(len(text) - 1, 0))
        raise refuse(text, position, "a quote or a comment is not closed") from None


def _check_gap(text: str, start: int, end: int) -> None:
    gap = text[start:end]
    foreign = gap.lstrip(SPACE)
    if foreign:
        position = start + len(gap) - len(foreign)
        raise refuse(text, position, "comments are not taken" if foreign[:1] in "-/" else f"{foreign[:1]!r} is no SQL")


def _classify(text: str, start: int, end: int, *, glued: bool) -> list[Token]:
    """A piece as a token, or several words that sqlglot takes together (`DOUBLE PRECISION`)."""
    piece = text[start:end]
    for kind, shape in _SHAPES:
        if shape.fullmatch(piece):
            if glued and kind in ("word", "number"):
                raise refuse(text, start, "trailing junk after a number")
            return [Token(kind, _value(kind, piece), start, end)]
    words = list(re.finditer(rf"[^{SPACE}]+", piece))
    if len(words) > 1 and all(_SHAPES[0][1].fullmatch(word[0]) for word in words):
        return [Token("word", _fold(word[0]), start + word.start(), start + word.end()) for word in words]
    if "'" in piece or piece.startswith("$"):
        raise refuse(text, start, f"strings are written '…', with '' for a quote; {piece[:8]} is not taken")
    raise refuse(text, start, f"{piece[:20]!r} has no place in a target")


def _value(kind: str, piece: str) -> str:
    if kind == "word":
        return _fold(piece)
    if kind == "quoted":
        return piece[1:-1].replace('""', '"')
    return piece[1:-1].replace("''", "'") if kind == "string" else piece


def _fold(word: str) -> str:
    """Lower case, of ASCII letters only: as PostgreSQL does it in UTF-8."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in word)


def _cut_operators(text: str, tokens: list[Token]) -> list[Token]:
    """Neighbouring signs joined, then cut by PostgreSQL's rule: as long as can be, a last `+` or `-` only after a sign like `~`."""
    result: list[Token] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        place += 1
        if token.kind != "operator":
            result.append(token)
            continue
        start, end = token.start, token.end
        while place < len(tokens) and tokens[place].kind == "operator" and tokens[place].start == end:
            end = tokens[place].end
            place += 1
        while start < end:
            stop = end
            while (
                stop - start > 1 and text[stop - 1] in "+-" and not _LONG_OPERATOR_SIGNS & set(text[start : stop - 1])
            ):
                stop -= 1
            result.append(Token("operator", text[start:stop], start, stop))
            start = stop
    return result
