r"""A pattern over bytes that finds every line which RE2 would match, and some more: what makes blocks searchable.

A user's pattern is defined on one line: text, without its newline and a CR before it, each byte that is no UTF-8 read
as U+FFFD. Searching whole blocks with it as it stands would miss lines (bad bytes are matched by nothing, `$` fails
before a CR) and run across lines. `superset` rewrites it for a search in Latin-1 (one character, one byte), multi-line:

- a character or class becomes the set of its ASCII members without the newline, in both cases if `(?i)` is anywhere;
  if others may belong to it, one to four bytes above 7F: a code point's, or those that are no UTF-8;
- `^` and `\A` are the line's start; `$` and `\z` its end, with a CR before it if there is one. What stands behind an end
  and asserts something (`\b`, `^`) is dropped, for the CR may have been taken;
- groups capture nothing, flags are gone.

`raw=True` does the same for text that has no lines, a process's memory: newlines are characters like others, and what
asserts something (`^`, `$`, `\b`) is dropped, for a block of it begins and ends anywhere.

What it does not know it refuses with None; then lines are judged one by one. Engines other than RE2 can take it too.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

import re2

PREFILTER_MEMORY_BYTES: Final = 8 << 20
MAX_PREFILTER_CHARACTERS: Final = 1 << 20

_TOKEN: Final = re.compile(
    r"""
    (?P<quoted> \\Q .*? (?: \\E | \Z ) )
  | (?P<start>  \^ | \\A )
  | (?P<end>    \$ | \\z )
  | (?P<border> \\[bB] )
  | (?P<atom>   \\(?: x\{[0-9A-Fa-f]+\} | x[0-9A-Fa-f]{2} | [0-7]{1,3} | [pP]\{[^}]*\} | [pP]. | [dDsSwWaftnrv] | [^0-9A-Za-z] )
              | \[ \^? \]? (?: \[:\^?[a-z]+:\] | \\. | [^\]\\] )* \]
              | \. )
  | (?P<open>   \( (?: \?P?<[^>]*> )? (?!\?) | \(\?: )
  | (?P<flags>  \(\? [imsU-]* [:)] )
  | (?P<repeat> [*+?]\?? | \{[0-9]+(?:,[0-9]*)?\}\?? )
  | (?P<copy>   [|)] )
  | (?P<char>   [^\\()\[] )
    """,
    re.VERBOSE | re.DOTALL,
)
_PLAIN_CLASS: Final = re.compile(r"\[(?!\^)(?:\[:[a-z]+:\]|\\[dsw]|\\[ -/:-@\[-`{-~]|\\[aftnrv]|[ -Z\]^-~])*\]|\\[dsw]")
"""A class of ASCII characters only, but for what case folding brings in."""

_ITSELF: Final = re.compile(r"[^.]|\\[^0-9A-Za-z_]")
"""A character that stands for itself, as it is or behind a backslash."""
_ASCII: Final = "".join(map(chr, range(128)))
_RUNE: Final = r"[\x80-\xff](?:[\x80-\xbf](?:[\x80-\xbf][\x80-\xbf]?)?)?"
_FOLDED_PARTNERS: Final = ("\u212a", "\u017f")
"""What the ASCII letters k and s fold to beyond ASCII: the Kelvin sign and the long s; the others to nothing."""


class Superset(NamedTuple):
    """A rewritten pattern, in ASCII, for a multi-line engine where one character is one byte."""

    pattern: str
    exact: bool
    """It matches nothing more than the user's pattern does, on lines without a CR at their end."""


def superset(pattern: str, *, cr: bool = True, raw: bool = False) -> Superset | None:
    """The rewritten pattern; None: not possible.

    `cr`: a CR at a line's end does not belong to it. `raw`: the text is no lines, and it may stand anywhere in it.
    """
    fold = bool(re.search(r"\(\?[imsU]*i", pattern))
    dot_nl = raw and bool(re.search(r"\(\?[imsU]*s", pattern))
    if not raw and _end_in_counted_group(pattern):
        return None
    parts: list[str] = ["(?m)"]
    tokens = list(_tokens(pattern))
    ended, exact = False, True
    for index, (kind, text) in enumerate(tokens):
        following = tokens[index + 1][1] if index + 1 < len(tokens) and tokens[index + 1][0] == "repeat" else ""
        match kind:
            case "unknown":
                return None
            case "start" | "border" | "end" if raw or text == r"\B":
                # RE2 finds \B between the bytes of U+FFFD too, which stands for one byte that is no UTF-8
                exact = False
                parts.append("(?:)")
            case "start" | "border":
                exact = exact and not (ended and cr)
                parts.append("(?:)" if ended and cr else "(?:^)" if kind == "start" else f"(?:{text})")
            case "end":
                parts.append(r"(?:\r?$)" if cr else "(?:$)")
                ended = True
            case "atom" | "char":
                in_bytes = _counted_in_bytes(following)
                many = bool(in_bytes) or following[:1] in ("*", "+")
                atom = _atom(text, fold=fold, many=many, raw=raw, dot_nl=dot_nl)
                parts.append(atom.pattern)
                exact = exact and atom.exact
                if in_bytes and atom.pattern.endswith(_ANY_NON_ASCII):
                    tokens[index + 1] = ("copy", in_bytes)
            case "open":
                parts.append("(?:")
            case "flags":
                parts.append("(?:" if text.endswith(":") else "")
            case _:
                parts.append(text)
    rewritten = "".join(parts)
    return Superset(rewritten, exact) if len(rewritten) <= MAX_PREFILTER_CHARACTERS else None


_ANCHORED_LITERAL: Final = re.compile(r"(\(\?m\))\(\?:\^\)((?:\[\\x[0-9a-f]{2}\]){4}(?![*+?{])[^|]*)")


def without_start(rewritten: Superset) -> Superset | None:
    """Without the `^` before at least four literal characters, which an engine finds far faster; None: it has none."""
    found = _ANCHORED_LITERAL.fullmatch(rewritten.pattern)
    return Superset(found[1] + found[2], exact=False) if found else None


def compile_superset(rewritten: Superset | None) -> Any | None:
    """RE2's program for it, for `.search(buffer, start, end)`; None: not possible."""
    if rewritten is None:
        return None
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    options.never_capture = True
    options.max_mem = PREFILTER_MEMORY_BYTES
    try:
        return re2.compile(rewritten.pattern.encode("ascii"), options)
    except re2.error:
        return None  # too large, once classes are spelled out


def is_short(pattern: str, at_most_bytes: int) -> bool:
    """Whether no match of it can be longer than that."""
    lengths = [4 * len(text) for kind, text in _tokens(pattern) if kind in ("atom", "char", "quoted")]
    return sum(lengths) <= at_most_bytes and not any(
        kind == "unknown" or (kind == "repeat" and not text.startswith("?")) for kind, text in _tokens(pattern)
    )


def _tokens(pattern: str) -> list[tuple[str, str]]:
    r"""(kind, text) pairs; `\Q…\E` is taken apart; what is not known ends the list as `unknown`."""
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None or token.lastgroup is None:
            found.append(("unknown", pattern[position:]))
            break
        if token.lastgroup == "quoted":
            literal = token[0].removeprefix("\\Q").removesuffix("\\E")
            found.extend(("char", re.escape(char) if char.isascii() else char) for char in literal)
        else:
            found.append((token.lastgroup, token[0]))
        position = token.end()
    return found


def _end_in_counted_group(pattern: str) -> bool:
    """`(?:^$){2}` needs its second `^` where the first `$` may have taken a CR."""
    return re.search(r"\)\{", pattern) is not None and re.search(r"\$|\\z", pattern) is not None


@lru_cache(maxsize=4096)
def _atom(token: str, *, fold: bool, many: bool, raw: bool, dot_nl: bool) -> Superset:
    """The byte pattern for one character or class; `many`: it stands before a `*` or `+`."""
    members = set(_ASCII if dot_nl and token.startswith(".") else _members(token, _ASCII))
    partners: set[str] = set()
    exact = not fold
    if fold:  # it may stand where `(?i)` holds, or not
        folded = set(_members(f"(?i:{token})", _ASCII))
        partners = set(_members(f"(?i:{token})", "".join(_FOLDED_PARTNERS)))
        exact = not partners and members == folded
        members |= folded
    if not raw:
        members.discard("\n")
    ascii_set = f"[{_byte_ranges(sorted(map(ord, members)))}]" if members else ""
    if _is_ascii_only(token):
        choices = [ascii_set, *map(_utf8, sorted(partners))] if ascii_set else []
        return Superset(f"(?:{'|'.join(choices)})" if partners else ascii_set or _NOTHING, exact)
    if not fold and len(token) == 1 and token not in (".", "\ufffd"):
        return Superset(f"(?:{_utf8(token)})", exact=True)
    if many:
        return Superset(f"[{_byte_ranges([*sorted(map(ord, members)), *range(0x80, 0x100)])}]", exact=False)
    return Superset(f"(?:{ascii_set}|{_RUNE})" if ascii_set else f"(?:{_RUNE})", exact=False)


_ANY_NON_ASCII: Final = r"\xff]"
"""How a class ends that takes characters beyond ASCII byte by byte, which is less work than `_RUNE`."""


def _counted_in_bytes(repeat: str) -> str:
    """`{2,30}` of characters as bytes, `{2,120}`; nothing where that is none, or more than RE2 counts to."""
    found = _COUNTED.fullmatch(repeat)
    if found is None:
        return ""
    least, most = int(found[1]), found[3]
    if most == "":
        return f"{{{least},}}"
    bytes_at_most = 4 * int(most or least)
    return f"{{{least},{bytes_at_most}}}" if bytes_at_most <= _MAX_COUNT else ""


_COUNTED: Final = re.compile(r"\{([0-9]+)(,([0-9]*))?\}\??")
_MAX_COUNT: Final = 1000
_NOTHING: Final = r"[^\x00-\xff]"
"""What matches no byte: a newline asked for within a line."""


def _is_ascii_only(token: str) -> bool:
    """Whether it can match only ASCII, case folding aside."""
    if token.startswith("[") or token[:2] in ("\\d", "\\s", "\\w"):
        return _PLAIN_CLASS.fullmatch(token) is not None
    if token[:1] == "." or token[:2] in ("\\D", "\\S", "\\W", "\\p", "\\P"):
        return False
    return bool(_members(token, _ASCII))  # a single character: one that is ASCII is nothing else


def _members(token: str, among: str) -> str:
    if _ITSELF.fullmatch(token):  # most do: a program for each was a tenth of all that a worker did for a small search
        return token[-1] if token[-1] in among else ""
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    return "".join(re2.compile(token, options).findall(among))


def _utf8(char: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in char.encode())


def _byte_ranges(codes: list[int]) -> str:
    """The inside of a character class, for sorted codes."""
    ranges: list[list[int]] = []
    for code in codes:
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\x{low:02x}" if low == high else f"\\x{low:02x}-\\x{high:02x}" for low, high in ranges)
