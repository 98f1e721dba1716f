"""Reading a policy at the console: JSON if its first character is a brace, else YAML."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

from investigator.errors import BadInput, BadParameters
from investigator.modules.file.opening import reason
from investigator.protocol.codec import strict_loads

MAX_POLICY_BYTES: Final = 32 << 20
MAX_DEPTH: Final = 50
MAX_NODES: Final = 2_000_000
"""Of a YAML document, with every alias counted as what it stands for."""
_BOOLEAN_KEYS: Final = frozenset(("onlynewest", "expectedresult", "expecterror"))
_BOOLEANS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS: Final = frozenset(("", "~", "null", "Null", "NULL"))


def read_policy(path: str) -> dict[str, Any]:
    """The document as JSON has it; its contents are validated with the operation's parameters.

    Raises:
        BadParameters: `path: ...`, with the place of the mistake.
    """
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_POLICY_BYTES + 1)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else str(error)
        raise BadParameters(f"path: {path}: {why}") from None
    if len(text) > MAX_POLICY_BYTES:
        raise BadParameters(f"path: {path}: more than {MAX_POLICY_BYTES:,} bytes")
    return parse_policy(text, what=path)


def parse_policy(text: bytes, *, what: str) -> dict[str, Any]:
    """As `read_policy`, from the text itself; `what` is its name."""
    try:
        if text.lstrip().startswith(b"{"):
            document = strict_loads(text.removeprefix(b"\xef\xbb\xbf"), what=what, max_bytes=MAX_POLICY_BYTES)
        else:
            document = _with_booleans(parse_yaml(text, what=what))
    except BadInput as error:
        raise BadParameters(f"path: {error}") from None
    if not isinstance(document, dict):
        raise BadParameters(f"path: {what}: a policy has variables, objects and tests; this is a {_kind(document)}")
    return document


def parse_yaml(text: bytes, *, what: str) -> Any:
    """A YAML document in which every scalar is text, as it is written (`1.10` stays `1.10`); nulls are left out.

    Built from the parser's events, without recursion. Aliases count as often as they stand for something.

    Raises:
        BadInput: no YAML, a key that stands twice, more than one document, too deep or too large.
    """
    try:
        yaml: Any = importlib.import_module("yaml")  # 4 MB and 20 ms, for those who write YAML
    except ModuleNotFoundError:
        raise BadInput(
            f"{what}: is YAML, which the Python package PyYAML reads; there is none here, but JSON works"
        ) from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        builder = _Builder(what)
        for event in yaml.parse(text, Loader=loader):
            builder.take(type(event).__name__, event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read"
        raise BadInput(f"{what}: no YAML: {place}{problem}") from None
    except RecursionError:
        raise BadInput(f"{what}: nested deeper than {MAX_DEPTH}") from None
    return builder.document


class _Builder:
    """Puts YAML's events together."""

    def __init__(self, what: str) -> None:
        self.document: Any = None
        self._what = what
        self._open: list[_Collection] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        """What is complete: its value, how many values are in it, and how deep it is."""
        self._documents = self._nodes = 0

    def take(self, kind: str, event: Any) -> None:
        """One event, by the name of its class."""
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                raise self._wrong(event, "a second document")
        elif kind == "ScalarEvent":
            if not _is_text(event.value):
                raise self._wrong(event, "a text with half of a surrogate pair")
            plain_null = not event.style and event.tag is None and event.value in _NULLS
            self._put(None if plain_null else event.value, event, anchor=event.anchor)
        elif kind == "AliasEvent":
            if event.anchor not in self._anchors:
                raise self._wrong(event, f"*{event.anchor} stands for nothing that is complete")
            value, nodes, depth = self._anchors[event.anchor]
            if len(self._open) + depth > MAX_DEPTH:
                raise self._wrong(event, f"nested deeper than {MAX_DEPTH}")
            self._put(value, event, nodes=nodes, depth=depth)
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            if len(self._open) >= MAX_DEPTH:
                raise self._wrong(event, f"nested deeper than {MAX_DEPTH}")
            self._open.append(_Collection([] if kind == "SequenceStartEvent" else {}, event.anchor, self._nodes))
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            done = self._open.pop()
            inside = self._nodes - done.nodes_before
            self._put(done.value, event, anchor=done.anchor, inside=inside, depth=done.depth)

    def _put(
        self, value: Any, event: Any, *, nodes: int = 1, anchor: str | None = None, inside: int = 0, depth: int = 0
    ) -> None:
        """Add a complete value, which counts as `nodes`, with `inside` more counted already, and is so deep."""
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            raise self._wrong(event, f"more than {MAX_NODES:,} values")
        if anchor is not None:
            self._anchors[anchor] = (value, nodes + inside, depth)
        if not self._open:
            self.document = value
            return
        self._open[-1].depth = max(self._open[-1].depth, depth + 1)
        problem = self._open[-1].add(value)
        if problem:
            raise self._wrong(event, problem)

    def _wrong(self, event: Any, problem: str) -> BadInput:
        mark = event.start_mark
        return BadInput(f"{self._what}: line {mark.line + 1}, column {mark.column + 1}: {problem}")


class _Collection:
    """A list or mapping that is not complete."""

    def __init__(self, value: list[Any] | dict[str, Any], anchor: str | None, nodes_before: int) -> None:
        self.value = value
        self.anchor = anchor
        self.nodes_before = nodes_before
        self.depth = 1
        self._key: str | None = None

    def add(self, value: Any) -> str:
        """The next item, key or value; what is wrong with it, or nothing."""
        if isinstance(self.value, list):
            self.value.append(value)
        elif self._key is None:
            if not isinstance(value, str):
                return "a key that is no text"
            if value in self.value:
                return f"the key {value[:80]!r} stands twice in one mapping"
            self._key = value
        else:
            self.value[self._key] = value
            self._key = None
        return ""


def _is_text(value: str) -> bool:
    """Whether JSON can hold it."""
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def _with_booleans(value: Any) -> Any:
    """YAML's `true` and `false` where a policy has a boolean; all else is text there."""
    if isinstance(value, dict):
        return {
            key: _BOOLEANS.get(item, item) if key in _BOOLEAN_KEYS and isinstance(item, str) else _with_booleans(item)
            for key, item in value.items()
        }
    return [_with_booleans(item) for item in value] if isinstance(value, list) else value


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "single value"
