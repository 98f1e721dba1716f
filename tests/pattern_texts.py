"""Patterns and texts that engines may disagree on: case folding beyond ASCII, bytes that are no UTF-8, CRs, line borders."""

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
