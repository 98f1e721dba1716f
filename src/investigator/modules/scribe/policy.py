"""A policy's shape: scribe's JSON names. Objects say where values come from, tests what is asked of them.

An empty object counts as absent, as scribe's own generators write `{}` for every source and evaluator that is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec


class Variable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """`${key}` stands for `value`."""

    key: str
    value: str = ""


class PackageSource(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Installed packages: name -> version."""

    name: str = ""
    collectmatch: Annotated[str, msgspec.Meta(description="regex on names, in place of the name")] = ""
    onlynewest: Annotated[bool, msgspec.Meta(description="of those found, the newest alone")] = False


class FileContentSource(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Lines of files: path -> each capture group of each line that matches."""

    path: Annotated[str, msgspec.Meta(description="folder to search, ten levels deep")] = ""
    file: Annotated[str, msgspec.Meta(description="regex on the file's name")] = ""
    expression: Annotated[str, msgspec.Meta(description="regex on lines, with capture groups")] = ""
    concat: Annotated[str, msgspec.Meta(description="joins all values of one file")] = ""
    import_chain: Annotated[
        list[str],
        msgspec.Meta(
            description="objects evaluated for each file, with ${chain_root} as its folder, and added to its values"
        ),
    ] = msgspec.field(default_factory=list, name="import-chain")


class FileNameSource(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Names of files: path -> the name's first capture group."""

    path: str = ""
    file: Annotated[str, msgspec.Meta(description="regex on the file's name, with a capture group")] = ""


class RawValue(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A value that the policy itself gives."""

    identifier: str = ""
    value: str = ""


class RawSource(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Values that the policy itself gives."""

    identifiers: list[RawValue] = []


class HasLineSource(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether files have a line: path -> `true` or `false`."""

    path: str = ""
    file: Annotated[str, msgspec.Meta(description="regex on the file's name")] = ""
    expression: Annotated[str, msgspec.Meta(description="regex on lines")] = ""


Source = PackageSource | FileContentSource | FileNameSource | RawSource | HasLineSource


class Object(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One source of values, by name."""

    object: str
    package: PackageSource = msgspec.field(default_factory=PackageSource)
    filecontent: FileContentSource = msgspec.field(default_factory=FileContentSource)
    filename: FileNameSource = msgspec.field(default_factory=FileNameSource)
    raw: RawSource = msgspec.field(default_factory=RawSource)
    hasline: HasLineSource = msgspec.field(default_factory=HasLineSource)

    def source(self) -> tuple[str, Source] | None:
        """The one that counts, with its key: scribe's precedence where there are several; None: there is none."""
        if self.package.name or self.package.collectmatch:
            return "package", self.package
        if self.filecontent.path:
            return "filecontent", self.filecontent
        if self.filename.path:
            return "filename", self.filename
        if self.raw.identifiers:
            return "raw", self.raw
        return ("hasline", self.hasline) if self.hasline.path else None


class EvrEvaluator(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The value compared as a version, in its package manager's order."""

    operation: Literal["", "<", ">", "="] = ""
    value: str = ""


class RegexpEvaluator(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The value holds a match."""

    value: str = ""


class ExactMatchEvaluator(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The value is this text."""

    value: str = ""


class Tag(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A note for people and reports."""

    key: str = ""
    value: str = ""


class Test(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A question about one object's values; true if any value passes, and all tests named in `if` are true."""

    test: str
    name: str = ""
    object: str
    description: str = ""
    evr: EvrEvaluator = msgspec.field(default_factory=EvrEvaluator)
    regexp: RegexpEvaluator = msgspec.field(default_factory=RegexpEvaluator)
    exactmatch: ExactMatchEvaluator = msgspec.field(default_factory=ExactMatchEvaluator)
    tags: list[Tag] = []
    requires: list[str] = msgspec.field(default_factory=list, name="if")
    expectedresult: Annotated[
        bool | None, msgspec.Meta(description="what the author expects; another result is among the errors")
    ] = None
    expecterror: Annotated[bool, msgspec.Meta(description="the author expects that it cannot be decided")] = False

    def evaluators(self) -> Iterator[str]:
        """The keys of those that are given."""
        for key in ("evr", "regexp", "exactmatch"):
            if getattr(self, key).value or (key == "evr" and self.evr.operation):
                yield key


class Policy(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A whole document."""

    variables: list[Variable] = []
    objects: list[Object] = []
    tests: list[Test] = []
