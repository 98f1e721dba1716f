"""Flags as Go's `flag` package reads them, which MIG's users know: `-x v`, `-x=v`, `--x v`; built from declarations.

A module's flags come from its `Spec.flags`: each annotated field is one, and its value goes where the field stands in
the nested JSON. Differences to Go: a word that is no flag is an error instead of the silent end of all flags, and an
unknown flag names the nearest known one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec
from msgspec import inspect

from investigator.errors import BadInput
from investigator.nearest import nearest

Kind = Literal["switch", "integer", "number", "text"]
_TRUE: Final = frozenset(("1", "t", "T", "true", "TRUE", "True"))
_FALSE: Final = frozenset(("0", "f", "F", "false", "FALSE", "False"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag: how it is written, what it takes, and where its value goes."""

    name: str
    help: str
    kind: Kind = "text"
    many: bool = False
    """Given several times, it appends."""
    path: tuple[str, ...]
    """The keys that lead to its place in the nested JSON."""
    value: str = ""
    """The placeholder in help."""
    default: Any = None
    """What is set where the flag is absent; None sets nothing."""
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()


class Flags:
    """The flags of one owner (a module, or the command), by every name that they have."""

    def __init__(self, flags: Iterable[Flag]) -> None:
        self.all = tuple(flags)
        self._by_name: dict[str, Flag] = {}
        for item in self.all:
            for name in (item.name, *item.aliases):
                if self._by_name.setdefault(name, item) is not item:
                    raise ValueError(f"two flags are called -{name}")

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Flag:
        return self._by_name[name]

    def names(self) -> list[str]:
        """All names, aliases included."""
        return sorted(self._by_name)


def module_flags(flags: type[msgspec.Struct]) -> Flags:
    """The flags that a struct's annotated fields declare, those of nested structs included."""
    return Flags(_walk(inspect.type_info(flags), ()))


def _walk(info: inspect.Type, path: tuple[str, ...]) -> Iterable[Flag]:
    if not isinstance(info, inspect.StructType):
        return
    for item in info.fields:
        here = (*path, item.encode_name)
        plain, declared, text = _bare(item.type)
        if declared is None:
            yield from _walk(plain, here)
            continue
        many = isinstance(plain, (inspect.ListType, inspect.VarTupleType, inspect.SetType))
        element = _bare(plain.item_type)[0] if many else plain  # type: ignore[attr-defined]
        yield Flag(
            name=declared["flag"],
            help=text,
            kind=_kind(element),
            many=many,
            path=here,
            value=declared["value"],
            default=declared["default"],
            aliases=tuple(declared["aliases"]),
            choices=tuple(str(value) for value in element.values) if isinstance(element, inspect.LiteralType) else (),
        )


def _bare(info: inspect.Type) -> tuple[inspect.Type, Mapping[str, Any] | None, str]:
    """The type without annotations and without `| None`, the flag's declaration, and its help."""
    declared: Mapping[str, Any] | None = None
    text = ""
    while True:
        if isinstance(info, inspect.Metadata):
            if info.extra and "flag" in info.extra:
                declared = info.extra
            text = text or (info.extra_json_schema or {}).get("description", "")
            info = info.type
        elif isinstance(info, inspect.UnionType):
            rest = [one for one in info.types if not isinstance(one, inspect.NoneType)]
            if len(rest) != 1:
                return info, declared, text
            info = rest[0]
        else:
            return info, declared, text


def _kind(info: inspect.Type) -> Kind:
    if isinstance(info, inspect.BoolType):
        return "switch"
    if isinstance(info, inspect.IntType):
        return "integer"
    return "number" if isinstance(info, inspect.FloatType) else "text"


def split_flag(word: str) -> tuple[str, str | None] | None:
    """A word's flag name and the value after `=`, if any; None for a word that is no flag.

    Raises:
        BadInput: it starts like a flag and is none (`-=x`, `---x`).
    """
    if len(word) < 2 or word[0] != "-":
        return None
    body = word[2:] if word[1] == "-" else word[1:]
    if not body or body[0] in "-=":
        raise BadInput(f"bad flag syntax: {word!r}")
    name, equals, value = body.partition("=")
    return name, value if equals else None


def take_value(flag: Flag, written: str, inline: str | None, following: Sequence[str]) -> tuple[Any, int]:
    """A flag's value, and how many of the words that follow it used up (0 or 1).

    The next word is the value whatever it starts with, as in Go.

    Raises:
        BadInput: there is none, or it is none of the flag's kind.
    """
    if inline is None and flag.kind == "switch":
        return True, 0
    if inline is None and not following:
        raise BadInput(f"flag -{written} needs a value")
    text = following[0] if inline is None else inline
    return _converted(flag, written, text), int(inline is None)


def _converted(flag: Flag, written: str, text: str) -> Any:
    if flag.choices and text not in flag.choices:
        raise BadInput(f"flag -{written}: {text!r} is none of {', '.join(flag.choices)}")
    if flag.kind == "text":
        return text
    if flag.kind == "switch":
        if text in _TRUE:
            return True
        if text in _FALSE:
            return False
        raise BadInput(f"flag -{written}: {text!r} is neither true nor false")
    try:
        return int(text, 0) if flag.kind == "integer" else float(text)
    except ValueError:
        what = "whole number" if flag.kind == "integer" else "number"
        raise BadInput(f"flag -{written}: {text[:60]!r} is no {what}") from None


class Values:
    """What flags were given, on the way to nested JSON."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, ...], Any] = {}

    def __bool__(self) -> bool:
        return bool(self._given)

    def set(self, flag: Flag, value: Any) -> None:
        """Take one occurrence: lists append, scalars keep the last."""
        if flag.many:
            self._given.setdefault(flag.path, []).append(value)
        else:
            self._given[flag.path] = value

    def nested(self, flags: Flags) -> dict[str, Any]:
        """The JSON, with the defaults of the flags that were not given."""
        result: dict[str, Any] = {}
        for flag in flags.all:
            value = self._given.get(flag.path, flag.default)
            if value is None:
                continue
            place = result
            for key in flag.path[:-1]:
                place = place.setdefault(key, {})
            place[flag.path[-1]] = value
        return result


def unknown_flag(name: str, *known: Flags, of: str) -> BadInput:
    """The error for a flag that nobody has; it names the nearest."""
    names = [candidate for flags in known for candidate in flags.names()]
    near = nearest(name, names)
    return BadInput(f"unknown flag -{name[:60]} of {of}" + (f"; did you mean -{near}?" if near else ""))


def parse_flags(words: Sequence[str], flags: Flags, *, of: str) -> dict[str, Any]:
    """The nested JSON that a list of words sets, with the defaults of what it does not.

    Raises:
        BadInput: a word that is no flag, a flag that `of` does not have, or a value that is none.
    """
    values = Values()
    at = 0
    while at < len(words):
        named = split_flag(words[at])
        if named is None:
            raise BadInput(f"{of}: {words[at][:60]!r} is no flag, and belongs to none")
        name, inline = named
        if name not in flags:
            raise unknown_flag(name, flags, of=of)
        value, used = take_value(flags[name], name, inline, words[at + 1 :])
        values.set(flags[name], value)
        at += 1 + used
    return values.nested(flags)
