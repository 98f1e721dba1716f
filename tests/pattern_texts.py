"""Patterns and texts that engines may disagree on: case folding beyond ASCII, bytes that are no UTF-8, CRs, line borders."""

import random
import re
import re._parser as regex_parser  # type: ignore[import-not-found] # private, and the only parser at hand
import warnings
from typing import Any

from hypothesis import strategies as st

ATOMS = st.sampled_from(
    ["a", "b", "k", "S", "é", "ſ", "\u212a", "�", "\U0001f600", ".", r"\d", r"\w", r"\W", r"\s", r"\S", r"\D", "[ab]", "[^a]", "[^ab\\s]",
     "[a-é]", "[^é]", "[[:alpha:]]", "[[:^alpha:]]", r"\pL", r"\PL", r"\p{Greek}", "[k-s]", r"\x6b", r"\x{17f}", r"\xe9", r"\n", r"\r", r"\t",
     r"\Qa.\E", "[]a]", "[^]a]", r"[\]x]", "-", "{", r"\.", "^", "$", r"\A", r"\z", r"\b", r"\B", r"[\n]", r"[^\r]", r"\101", r"\C", ""]
)  # fmt: skip
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map("|".join),
        inner.map("({})".format),
        inner.map("(?:{})".format),
        inner.map("(?P<n>{})".format),
        inner.map("(?i){}".format),
        inner.map("(?i:{})".format),
        inner.map("(?s-i:{})".format),
        inner.map("(?m){}".format),
        inner.map("(?-m:{})".format),
        inner.map("(?U){}".format),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,2}", "{0,2}?", "{2,}"])).map(
            lambda pair: f"(?:{pair[0]}){pair[1]}"
        ),
        st.tuples(ATOMS, st.sampled_from(["*", "+", "?", "{2}"])).map("".join),
    ),
    max_leaves=7,
)
PIECES = st.sampled_from(
    [b"a", b"b", b"k", b"K", b"s", b"S", "é".encode(), "ſ".encode(), "\u212a".encode(), "�".encode(), "\U0001f600".encode(), b"\xe9", b"\xff", b"\xc3",
     b"\xe2\x84", b"\xf0\x9f\x98", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b"]", b"x", b".", b"-", b"{", b"1", b"_", "α".encode()]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=14).map(b"".join)
FILLERS = st.sampled_from(
    [b"x" * 40, b"x" * 95, b"a" * 31, b"\xff" * 50, "é".encode() * 30, "\U0001f600".encode() * 20, b"y"]
)


def lines_of(data: bytes) -> list[bytes]:
    """MIG's lines: ended by a newline, the last may lack it, one CR before it dropped."""
    pieces = data.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    return [piece.removesuffix(b"\r") for piece in pieces]


# Drawn by a seed instead of by hypothesis, which makes too few and too short texts for engines that work in registers.

_CLASSES = ["[a-z]", "[a-z0-9]", "[0-9a-f]", "[0-9A-Za-z]", "[^a]", "[^ ]", ".", r"\d", r"\w", r"\s", r"\S", r"\W", "[ab]", "[kK]", r"\pL", "é", "[ \\t]",
            "[.,;]", "[a-c1-3]", "(?:ab|cd)", "(?:ab*|k)?", "(?:a|)"]  # fmt: skip
_REPEATS = ["", "", "", "*", "+", "?", "{2}", "{1,3}", "{3,}", "{8}", "{16}", "{0,4}", "{2,30}", "{31}", "+?"]
_ALPHABETS = ["ab", "abk1", "abcdefghijklmnopqrstuvwxyz", "0123456789abcdef", "aAkKsS", "ABCxyz019_./-"]
_SIZES = [
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    17,
    30,
    31,
    32,
    33,
    34,
    47,
    48,
    49,
    63,
    64,
    65,
    95,
    96,
    97,
    127,
    128,
    129,
    191,
    192,
    255,
    256,
    257,
    511,
    512,
]


def _word(draw: random.Random, least: int, most: int) -> str:
    alphabet = draw.choice(_ALPHABETS)
    return re.escape("".join(draw.choice(alphabet) for _ in range(draw.randint(least, most))))


def drawn_pattern(draw: random.Random) -> str:
    """Literals, lists of them, classes first, counted repeats, mixtures."""
    before = draw.choice(["", "", "", "(?i)", "^", r"\b"])
    match draw.randrange(4):
        case 0:
            return before + _word(draw, 1, 40) + draw.choice(["", "", "$", r"\b"])
        case 1:
            least = draw.choice([1, 2, 4, 6])
            most = least + draw.choice([0, 1, 4, 20])
            words = "|".join(
                _word(draw, least, most) for _ in range(draw.choice([2, 5, 8, 9, 16, 17, 33, 64, 65, 97, 200]))
            )
            return before + f"(?:{words})" + draw.choice(["", "", "$", r"\b", "[0-9a-f]{4}", r"\s*="])
        case 2:
            return before + draw.choice(_CLASSES) + draw.choice(_REPEATS) + _word(draw, 1, 8) + draw.choice(["", "$"])
        case _:
            parts = [
                draw.choice(_CLASSES) + draw.choice(_REPEATS) if draw.random() < 0.7 else _word(draw, 1, 5)
                for _ in range(draw.randint(1, 5))
            ]
            return before + "".join(parts) + draw.choice(["", "", "$", r"\b"])


def parsed(rewritten: str) -> Any:
    """A superset's pattern as `drawn_block` wants it."""
    with warnings.catch_warnings(action="ignore"):  # of sets that look nested
        return regex_parser.parse(rewritten)


def drawn_block(draw: random.Random, tree: Any) -> bytes:
    """A text that matches the parsed pattern (as a rule, for nothing is asserted), amid others that resemble it."""
    text = _sample(draw, tree)
    used = text[:20] or b"ab"
    if draw.random() < 0.3:
        text = _sample(draw, tree)[: draw.randint(0, len(text))] + text
    text = draw.choice([b"", b"", b"\n"]) + text + draw.choice([b"", b"", b"\n", b"\r\n", b"\r"])
    return _filler(draw, used) + text + (_filler(draw, used) if draw.random() < 0.6 else b"")


def _filler(draw: random.Random, used: bytes) -> bytes:
    size = draw.choice(_SIZES)
    choices = [used[:1], b"zqZ~", used, bytes(range(256)), b"\0", b"ab k1\n\r\xe9x"]
    return bytes(draw.choices(draw.choice(choices), k=size))


def _sample(draw: random.Random, tree: Any) -> bytes:
    text = bytearray()
    for kind, value in tree:
        match str(kind):
            case "LITERAL":
                text.append(value)
            case "IN":
                text.append(_member(draw, value))
            case "MAX_REPEAT" | "MIN_REPEAT":
                least, most, inner = value
                most = min(int(most), least + draw.choice([0, 1, 2, 15, 31]))
                for _ in range(draw.choice([least, draw.randint(least, most)])):
                    text += _sample(draw, inner)
            case "BRANCH":
                text += _sample(draw, draw.choice(value[1]))
            case "SUBPATTERN":
                text += _sample(draw, value[3])
            case "AT":
                pass
            case unknown:
                raise AssertionError(unknown)
    return bytes(text)


def _member(draw: random.Random, items: Any) -> int:
    kind, value = draw.choice(items)
    match str(kind):
        case "LITERAL":
            return int(value)
        case "RANGE":
            return draw.randint(*value)
        case "NEGATE":  # the class that no byte is in
            return 0
        case unknown:
            raise AssertionError(unknown)
