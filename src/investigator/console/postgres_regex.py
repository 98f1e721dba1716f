r"""PostgreSQL's regular expressions (`~`, `~*`) as RE2's, for the question whether a text matches.

The two read some of the same signs differently: in PostgreSQL `\b` is a backspace, `\s` knows the vertical tab, `.` takes line
feeds, `a**` is an error, `{,5}` is text. Each construct is translated to what RE2 takes for the same, or refused:
back-references, look-around, `\m \M \y`'s kin without an equal, collating elements, most embedded options. Letters are
folded and classed as under collation "C": ASCII only, so folding others is refused.
"""

from __future__ import annotations

import re
from typing import Final

from investigator.errors import BadRegex

MAX_REPEAT: Final = 255
_SETS: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x{7F}-\x{9F}",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": r"\t-\r ",
    "upper": "A-Z",
    "word": "0-9A-Z_a-z",
    "xdigit": "0-9A-Fa-f",
}
_SHORTHAND: Final = {"d": "digit", "s": "space", "w": "word"}
_ANCHORS: Final = {"A": r"\A", "Z": r"\z", "y": r"\b", "Y": r"\B"}
_CONTROLS: Final = {"a": "\a", "e": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_BOUNDS: Final = re.compile(r"\{([0-9]{1,3})(,([0-9]{1,3})?)?\}")
_REFUSED_ESCAPES: Final = {
    "b": r"\b is a backspace in PostgreSQL; a word boundary is \y",
    "B": r"\B is a backslash in PostgreSQL; the opposite of \y is \Y",
    "m": r"\m (start of a word) is not supported; \y is any word boundary",
    "M": r"\M (end of a word) is not supported; \y is any word boundary",
}


def translate(pattern: str, *, ignore_case: bool) -> str:
    """The RE2 pattern, for a search in which `.` takes line feeds and `^`, `$` are the text's ends.

    Raises:
        BadRegex: PostgreSQL refuses the pattern, or it has a construct without an equal in RE2.
    """
    options = re.match(r"\(\?([a-z]+)\)", pattern)
    if options:
        for option in options[1]:
            if option not in "ics":
                raise _bad(pattern, 0, f"the embedded option {option!r} is not supported")
            ignore_case = {"i": True, "c": False}.get(option, ignore_case)
    if pattern.startswith("***"):
        raise _bad(pattern, 0, "*** is not supported")
    return _Translation(pattern, ignore_case).run(options.end() if options else 0)


def _bad(pattern: str, position: int, problem: str) -> BadRegex:
    return BadRegex(
        f"regular expression {pattern!r}: {problem}, at character {position + 1}", pattern=pattern, position=position
    )


def _literal(character: str) -> str:
    """One character as RE2 takes it, within brackets or not."""
    if character.isalnum() or character in " _" or character > "\x7f":
        return character
    return "\\" + character if character.isprintable() else f"\\x{ord(character):02X}"


class _Translation:
    """One pass over a pattern."""

    def __init__(self, pattern: str, ignore_case: bool) -> None:  # only translate() makes it
        self.pattern = pattern
        self.ignore_case = ignore_case
        self.place = 0
        self.written: list[str] = []
        self.opened: list[int] = []
        self.repeatable = False

    def run(self, start: int) -> str:
        self.place = start
        while self.place < len(self.pattern):
            self._step(self.pattern[self.place])
        if self.opened:
            raise self._error("parentheses () not balanced", self.opened[-1])
        return "".join(self.written)

    def _error(self, problem: str, position: int | None = None) -> BadRegex:
        return _bad(self.pattern, self.place if position is None else position, problem)

    def _write(self, piece: str, *, length: int = 1, repeatable: bool) -> None:
        self.written.append(piece)
        self.place += length
        self.repeatable = repeatable

    def _step(self, character: str) -> None:
        bounds = character == "{" and self.pattern[self.place + 1 : self.place + 2].isdecimal()
        if character in "*+?" or bounds:
            self._repeat(character)
        elif character == "(":
            self._open()
        elif character == ")":
            if not self.opened:
                raise self._error("parentheses () not balanced")
            self.opened.pop()
            self._write(")", repeatable=True)
        elif character in "|^$":
            self._write(character, repeatable=False)
        elif character == ".":
            self._write(".", repeatable=True)
        elif character == "[":
            self._brackets()
        elif character == "\\":
            self._escape()
        else:
            self._write(self._one(character), repeatable=True)

    def _repeat(self, character: str) -> None:
        if not self.repeatable:
            raise self._error("quantifier operand invalid")
        quantifier = character
        if character == "{":
            bounds = _BOUNDS.match(self.pattern, self.place)
            least, most = (int(bounds[1]), int(bounds[3] or bounds[1])) if bounds else (0, MAX_REPEAT + 1)
            if not bounds or not least <= most <= MAX_REPEAT:
                raise self._error("invalid repetition count(s)")
            quantifier = bounds[0]
        greedy = self.pattern[self.place + len(quantifier) : self.place + len(quantifier) + 1] != "?"
        self._write(quantifier, length=len(quantifier) + (not greedy), repeatable=False)

    def _open(self) -> None:
        special = self.pattern[self.place + 1 : self.place + 2] == "?"
        if special and self.pattern[self.place + 2 : self.place + 3] != ":":
            raise self._error("look-around, comments and options within a pattern are not supported")
        self.opened.append(self.place)
        self._write("(?:", length=3 if special else 1, repeatable=False)

    def _one(self, character: str) -> str:
        """A literal character, in both cases where case is ignored."""
        if not self.ignore_case or character.lower() == character.upper():
            return _literal(character)
        self._only_ascii(character)
        return f"[{character.lower()}{character.upper()}]"

    def _only_ascii(self, characters: str) -> None:
        if any(character > "\x7f" and character.lower() != character.upper() for character in characters):
            raise self._error("ignoring the case of a letter outside ASCII depends on the database; use ~ and [éÉ]")

    def _escape(self) -> None:
        escaped = self.pattern[self.place + 1 : self.place + 2]
        if escaped in _ANCHORS and escaped:
            self._write(_ANCHORS[escaped], length=2, repeatable=False)
        elif escaped.lower() in _SHORTHAND:
            inverse = "^" if escaped.isupper() else ""
            self._write(f"[{inverse}{_SETS[_SHORTHAND[escaped.lower()]]}]", length=2, repeatable=True)
        else:
            character, length = self._escaped_character()
            self._write(self._one(character), length=length, repeatable=True)

    def _escaped_character(self) -> tuple[str, int]:
        """The character that an escape stands for, and the escape's length."""
        escaped = self.pattern[self.place + 1 : self.place + 2]
        if escaped == "u" and re.fullmatch("[0-9A-Fa-f]{4}", self.pattern[self.place + 2 : self.place + 6]):
            code = int(self.pattern[self.place + 2 : self.place + 6], 16)
            if code and not 0xD800 <= code < 0xE000:
                return chr(code), 6
        if escaped in _CONTROLS:
            return _CONTROLS[escaped], 2
        if escaped and not (escaped.isascii() and escaped.isalnum()):
            return escaped, 2
        raise self._error(_REFUSED_ESCAPES.get(escaped, f"the escape \\{escaped} is not supported"))

    # --- brackets

    def _brackets(self) -> None:
        opening = self.place
        self.place += 1
        inverse = self.pattern.startswith("^", self.place)
        self.place += inverse
        members: list[str] = []
        while not self.pattern.startswith("]", self.place) or not members:
            if self.place >= len(self.pattern):
                raise self._error("brackets [] not balanced", opening)
            members.append(self._member(first=not members))
        self._write(f"[{'^' if inverse else ''}{''.join(members)}]", repeatable=True)

    def _member(self, *, first: bool) -> str:
        """One character, range or class within brackets."""
        start = self.place
        named = self._class()
        if named:
            if self.pattern.startswith("-", self.place) and not self.pattern.startswith("-]", self.place):
                raise self._error("invalid character range")
            return _SETS["alpha" if self.ignore_case and named in ("lower", "upper") else named]
        if self.pattern[start] == "-" and not first and not self.pattern.startswith("-]", start):
            raise self._error("invalid character range")
        low = self._end_of_range()
        if not self.pattern.startswith("-", self.place) or self.pattern.startswith("-]", self.place):
            return self._range(low, low)
        self.place += 1
        if self.place >= len(self.pattern) or self._class():
            raise self._error("invalid character range", start)
        high = self._end_of_range()
        if low > high:
            raise self._error("invalid character range", start)
        return self._range(low, high)

    def _class(self) -> str:
        """The name of a class of characters that begins here, or nothing."""
        if self.pattern[self.place : self.place + 2] in ("[.", "[="):
            raise self._error("collating elements are not supported")
        named = re.compile(r"\[:(.*?):\]").match(self.pattern, self.place)
        if named:
            if named[1] not in _SETS:
                raise self._error("invalid character class")
            self.place = named.end()
            return named[1]
        if self.pattern.startswith("[:", self.place):
            raise self._error("brackets [] not balanced")
        escaped = self.pattern[self.place + 1 : self.place + 2]
        if self.pattern.startswith("\\", self.place) and escaped in _SHORTHAND:
            self.place += 2
            return _SHORTHAND[escaped]
        return ""

    def _end_of_range(self) -> str:
        """A single character within brackets."""
        if self.pattern[self.place] != "\\":
            self.place += 1
            return self.pattern[self.place - 1]
        character, length = self._escaped_character()
        self.place += length
        return character

    def _range(self, low: str, high: str) -> str:
        """A range, with the other case of its ASCII letters where case is ignored."""
        span = _literal(low) if low == high else f"{_literal(low)}-{_literal(high)}"
        if not self.ignore_case:
            return span
        if high > "\x7f":
            self._only_ascii("".join(map(chr, range(max(ord(low), 128), min(ord(high), 0x2FFFF) + 1))))
        for first, last, shift in (("a", "z", -32), ("A", "Z", 32)):
            begin, end = max(low, first), min(high, last)
            if begin <= end:
                span += f"{chr(ord(begin) + shift)}-{chr(ord(end) + shift)}"
        return span
