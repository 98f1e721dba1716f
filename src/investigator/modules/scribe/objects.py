"""An object's values on this host: (identifier, value) pairs, each with the kind of version order that it has.

Prepared when a test first asks, and once; what looks for files in the same folder shares one walk.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from investigator.errors import BadInput
from investigator.modules.file.names import NamePattern
from investigator.modules.file.opening import path_bytes, path_text, split
from investigator.modules.packages import NO_DATABASE, Inventory, Package, installed
from investigator.modules.scribe.locating import MAX_FILES, Undecided, locate
from investigator.modules.scribe.matching import Expression
from investigator.modules.scribe.policy import (
    FileContentSource,
    FileNameSource,
    HasLineSource,
    Object,
    PackageSource,
    Policy,
    RawSource,
    Source,
)
from investigator.modules.scribe.validation import CHAIN_ROOT, expand, is_chain_only
from investigator.modules.versions import compare
from investigator.protocol.regex import compile_regex, tolerant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from investigator.modules.notes import Notes

MAX_VALUES: Final = 100_000
MAX_VALUE_BYTES: Final = 32 << 20
"""Of all the values of one object, and of all objects together."""
MAX_VALUES_IN_ALL: Final = 500_000
MAX_CHAINED: Final = 10_000
"""How often a policy's chain objects are evaluated in all."""
TEXT: Final = "text"
"""The kind of a value that is no package's version; its order is rpm's, which any text has."""


class Value(NamedTuple):
    """One of an object's values."""

    identifier: str
    value: str
    kind: str = TEXT


@dataclass(slots=True)
class Objects:
    """The objects of one policy, on this host, for one run."""

    policy: Policy
    deadline_s: float
    notes: Notes
    packages: Callable[[], Inventory] = field(default=installed)
    folder: str = "/"
    """What relative paths start from, with `-t local`."""
    _objects: dict[str, Object] = field(default_factory=dict)
    _prepared: dict[str, list[Value] | Undecided] = field(default_factory=dict)
    _installed: Inventory | None = None
    _by_name: dict[str, list[Package]] = field(default_factory=dict)
    _patterns: dict[str, NamePattern] = field(default_factory=dict)
    _expressions: dict[str, Expression] = field(default_factory=dict)
    _located: dict[bytes, dict[str, list[bytes] | None]] = field(default_factory=dict)
    _wanted: dict[bytes, set[str]] | None = None
    _chained: int = 0
    _kept: int = 0
    _kept_bytes: int = 0

    def __post_init__(self) -> None:
        self._objects = {one.object: one for one in self.policy.objects}

    def values(self, name: str) -> list[Value]:
        """The values of the object of that name.

        Raises:
            Undecided: they cannot be told.
        """
        prepared = self._prepared.get(name)
        if prepared is None:
            try:
                prepared = self._kept_too(self._prepare(self._objects[name]))
            except Undecided as error:
                prepared = error
            self._prepared[name] = prepared
        if isinstance(prepared, Undecided):
            raise Undecided(str(prepared))
        return prepared

    def _kept_too(self, values: list[Value]) -> list[Value]:
        """The same, unless with all that is kept already they are too many: every object may meet what one may have."""
        size = sum(len(one.value) for one in values)
        if self._kept + len(values) > MAX_VALUES_IN_ALL or self._kept_bytes + size > MAX_VALUE_BYTES:
            raise Undecided(
                f"objects have more than {MAX_VALUES_IN_ALL:,} values, or {MAX_VALUE_BYTES:,} characters, in all"
            )
        self._kept += len(values)
        self._kept_bytes += size
        return values

    def _prepare(self, one: Object) -> list[Value]:
        if is_chain_only(one):
            raise Undecided(
                f"object not prepared: it has ${{{CHAIN_ROOT}}}, so it is only for the import-chain of others"
            )
        found = one.source()
        return self._of_source(found[1], chain_root=None) if found else []

    def _of_source(self, source: Source, *, chain_root: str | None) -> list[Value]:
        """The values of any source; `chain_root` is the folder that an import chain is at."""
        if isinstance(source, PackageSource):
            return self._of_packages(source, chain_root)
        if isinstance(source, RawSource):
            return [Value(one.identifier, one.value) for one in source.identifiers]
        if isinstance(source, FileContentSource):
            return self._of_contents(source, chain_root)
        return list(_limited(self._of_files(source, chain_root)))

    def _of_packages(self, source: PackageSource, chain_root: str | None) -> list[Value]:
        self._list_packages()
        if source.collectmatch:
            found = self._collected(source.collectmatch)
        else:
            found = self._by_name.get(self._expand(source.name, chain_root), [])
        if not found and self._installed and not self._installed.complete:
            raise Undecided(next(iter(self._installed.errors), NO_DATABASE))
        if source.onlynewest and found:
            found = [_newest(found)]
        return [Value(one.name, one.version, one.type) for one in found]

    def _list_packages(self) -> None:
        """Read the databases, once; `libc6` and `libc6:amd64` both find the latter."""
        if self._installed is None:
            self._installed = self.packages()
            for text in self._installed.errors:
                self.notes.error(text)
            for package in self._installed.packages:
                for name in {package.name, package.bare_name}:
                    self._by_name.setdefault(name, []).append(package)

    def _collected(self, pattern: str) -> list[Package]:
        matches = self._name_pattern(pattern).matches
        packages = self._installed.packages if self._installed else []
        return [one for one in packages if matches(one.name.encode()) or matches(one.bare_name.encode())]

    def _of_contents(self, source: FileContentSource, chain_root: str | None) -> list[Value]:
        found = list(_limited(self._captured(source, chain_root)))
        return _concatenated(found, source.concat) if source.concat else found

    def _captured(self, source: FileContentSource, chain_root: str | None) -> Iterator[Value]:
        expression = self._expression(source.expression)
        for path in self._files(source, chain_root):
            matched, shown = False, path_text(path)
            for groups in expression.captures(path, self.deadline_s, self.notes):
                matched = True
                for group in groups:
                    yield Value(shown, group)
            if matched:
                yield from self._of_chain(source.import_chain, path)

    def _of_chain(self, names: list[str], path: bytes) -> Iterator[Value]:
        """The values of the chained objects at a file, under the file's identifier."""
        for name in names:
            self._chained += 1
            if self._chained > MAX_CHAINED:
                raise Undecided(f"import-chain: more than {MAX_CHAINED:,} evaluations")
            found = self._objects[name].source()
            for one in self._of_source(found[1], chain_root=os.fsdecode(split(path)[0])) if found else ():
                yield Value(path_text(path), one.value, one.kind)

    def _of_files(self, source: FileNameSource | HasLineSource, chain_root: str | None) -> Iterator[Value]:
        files = self._files(source, chain_root)
        if isinstance(source, HasLineSource):
            expression = self._expression(source.expression)
            for path in files:
                occurs = expression.occurs(path, self.deadline_s, self.notes)
                if occurs is not None:
                    yield Value(path_text(path), "true" if occurs else "false")
            return
        search = compile_regex(source.file).search
        for path in files:
            match = search(tolerant(split(path)[1]))
            if match is not None:
                yield Value(path_text(path), (match[1] or b"").decode("utf-8", "replace"))

    def _files(self, source: FileContentSource | FileNameSource | HasLineSource, chain_root: str | None) -> list[bytes]:
        """The files that a source means; the first source to look below a folder looks for all that do."""
        root = self._root(source.path, chain_root)
        pattern = self._file_pattern(source, chain_root)
        located = self._located.setdefault(root, {})
        if pattern not in located:
            wanted = {pattern} | (self._patterns_below(root) if chain_root is None else set())
            judges = self._judges(pattern, wanted - located.keys())
            found = locate(root, list(judges.values()), self.deadline_s, self.notes)
            located.update(zip(judges, found, strict=True))
        files = located[pattern]
        if files is None:
            raise Undecided(f"more than {MAX_FILES:,} files match in {path_text(root)}")
        return files

    def _patterns_below(self, root: bytes) -> set[str]:
        """All expressions that the policy's objects look for there."""
        if self._wanted is None:
            self._wanted = {}
            for one in self.policy.objects:
                found = one.source()
                if found and not isinstance(found[1], PackageSource | RawSource) and not is_chain_only(one):
                    place = self._root(found[1].path, None)
                    self._wanted.setdefault(place, set()).add(self._file_pattern(found[1], None))
        return self._wanted.get(root, set())

    def _judges(self, asked: str, patterns: set[str]) -> dict[str, NamePattern]:
        """The patterns compiled; of those with a variable in them some may not."""
        judges: dict[str, NamePattern] = {}
        for pattern in sorted(patterns):
            try:
                judges[pattern] = self._name_pattern(pattern)
            except BadInput as error:
                if pattern == asked:
                    raise Undecided(str(error)) from None
        return judges

    def _file_pattern(self, source: FileContentSource | FileNameSource | HasLineSource, chain_root: str | None) -> str:
        """The expression on base names; variables stand for something in all but a filename's."""
        if isinstance(source, FileNameSource):
            return source.file
        quoted = None if chain_root is None else re.escape(chain_root)
        return self._expand(source.file, quoted)

    def _expand(self, text: str, chain_root: str | None) -> str:
        """Variables first, the chain's folder last: no host can name a folder so that it stands for a variable."""
        text = expand(text, self.policy.variables)
        return text if chain_root is None else text.replace(f"${{{CHAIN_ROOT}}}", chain_root)

    def _root(self, path: str, chain_root: str | None) -> bytes:
        root = path_bytes(self._expand(path, chain_root))
        return os.path.join(os.fsencode(self.folder), root)  # noqa: PTH118 - paths are bytes here

    def _name_pattern(self, pattern: str) -> NamePattern:
        if pattern not in self._patterns:
            self._patterns[pattern] = NamePattern(pattern)
        return self._patterns[pattern]

    def _expression(self, pattern: str) -> Expression:
        if pattern not in self._expressions:
            self._expressions[pattern] = Expression(pattern)
        return self._expressions[pattern]


def _newest(found: list[Package]) -> Package:
    """The newest; of equals the first, as scribe has it."""
    newest = found[0]
    for one in found[1:]:
        try:
            if compare(one.type, newest.version, one.version) < 0:
                newest = one
        except BadInput as error:
            raise Undecided(str(error)) from None
    return newest


def _concatenated(found: list[Value], joint: str) -> list[Value]:
    """One value for each identifier, in the order in which these came; an empty start is not joined to."""
    joined: dict[str, list[str]] = {}
    for one in found:
        parts = joined.setdefault(one.identifier, [])
        if one.value or parts:
            parts.append(one.value)
    return [Value(identifier, joint.join(parts)) for identifier, parts in joined.items()]


def _limited(values: Iterator[Value]) -> Iterator[Value]:
    """The same, unless they are too many or too large."""
    size = 0
    for count, one in enumerate(values, 1):
        size += len(one.value)
        if count > MAX_VALUES or size > MAX_VALUE_BYTES:
            raise Undecided(f"more than {MAX_VALUES:,} values, or {MAX_VALUE_BYTES:,} characters of them")
        yield one
