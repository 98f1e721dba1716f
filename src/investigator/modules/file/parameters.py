"""What a file search may ask: MIG's JSON names and flags, and their validation.

The structs are the wire shape; `SearchFlags` is the same with the two flags that only a command line has. What a value
must look like is in `checks`: a search is valid when its checks can be made.
"""

from __future__ import annotations

import ntpath
import posixpath
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from investigator.errors import BadParameters
from investigator.modules.interface import flag

if TYPE_CHECKING:
    from collections.abc import Mapping

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Kind = Literal["name", "size", "mode", "mtime", "content", "md5", "sha1", "sha2", "sha3"]

MAX_LABEL_CHARACTERS: Final = 64
CLI_LABEL: Final = "s1"


class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How a search combines its checks, and where it ends."""

    matchall: Annotated[bool, flag("matchall", "a file matches when all checks hold", default=True)] = False
    macroal: Annotated[bool, flag("macroal", "content must hold on all lines")] = False
    maxdepth: Annotated[
        Count, flag("maxdepth", "how many levels of folders to enter; 0: no limit", value="N", default=1000)
    ] = 0
    matchlimit: Annotated[
        Count, flag("matchlimit", "stop at that many matches; 0: no limit", value="N", default=1000)
    ] = 0
    maxerrors: Annotated[Count, flag("maxerrors", "how many errors to return; 0: no limit", value="N", default=30)] = 0
    mismatch: Annotated[
        list[Kind],
        flag("mismatch", "invert all checks of a kind: name size mode mtime content md5 sha1 sha2 sha3", value="KIND"),
    ] = []
    returnsha256: Annotated[bool, flag("returnsha256", "return the sha256 of matched files")] = False
    decompress: Annotated[bool, flag("decompress", "gunzip before content and hash checks")] = False
    debug: Annotated[
        Literal["", "print"],
        msgspec.Meta(description="`print`: the worker says on stderr which folders it enters and what it decides"),
    ] = ""
    remotefs: Annotated[bool, msgspec.Meta(description="does nothing, as in MIG, whose published actions carry it")] = (
        False
    )


class OptionsFlags(Options, kw_only=True, forbid_unknown_fields=True):
    """The options with the flags that are not in the JSON."""

    matchany: Annotated[bool, flag("matchany", "each check reports its own files; wins over matchall")] = False
    verbose: Annotated[bool, flag("verbose", "say on the host's stderr what is being done")] = False


class Search(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where to look and what must hold; only `paths` is required."""

    description: Annotated[str, msgspec.Meta(description="for people")] = ""
    paths: Annotated[list[str], flag("path", "file or folder to search in; no globs", value="PATH")] = []
    contents: Annotated[
        list[str], flag("content", "regex on the file's lines; a leading ! inverts", value="REGEX")
    ] = []
    names: Annotated[list[str], flag("name", "regex on the file's name; a leading ! inverts", value="REGEX")] = []
    sizes: Annotated[
        list[str], flag("size", "[<>]N[kmgt]: at most, at least, or exactly; powers of 1024", value="SIZE")
    ] = []
    modes: Annotated[
        list[str], flag("mode", "regex on the mode, as -rw-r--r--; a leading ! inverts", value="REGEX")
    ] = []
    mtimes: Annotated[
        list[str], flag("mtime", "<N or >N and d, h, m: modified since, or before, that long ago", value="PERIOD")
    ] = []
    md5: Annotated[list[str], flag("md5", "MD5 of the content, in hex", value="HEX")] = []
    sha1: Annotated[list[str], flag("sha1", "SHA-1 of the content, in hex", value="HEX")] = []
    sha2: Annotated[list[str], flag("sha2", "SHA-256, SHA-384 or SHA-512 of the content, in hex", value="HEX")] = []
    sha3: Annotated[list[str], flag("sha3", "SHA3-224, -256, -384 or -512 of the content, in hex", value="HEX")] = []
    regexes: Annotated[
        list[str], msgspec.Meta(description="`contents`, under the name that MIG's oldest published actions use")
    ] = []
    options: Options = msgspec.field(default_factory=Options)


class SearchFlags(Search, kw_only=True, forbid_unknown_fields=True):
    """A search as the command line writes it."""

    options: OptionsFlags = msgspec.field(default_factory=OptionsFlags)


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Searches by label; all of them share one walk."""

    searches: Annotated[
        dict[str, Search],
        msgspec.Meta(description="what is searched for, each search under a label of 1 to 64 characters"),
    ]


def parameters_of_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of one search, labelled `s1`, from the JSON of a `SearchFlags`."""
    search = {key: value for key, value in values.items() if key != "options"}
    options = dict(values.get("options", {}))
    if options.pop("matchany", False):
        options["matchall"] = False
    if options.pop("verbose", False):
        options["debug"] = "print"
    return {"searches": {CLI_LABEL: search | {"options": options}}}


def validate_places(searches: Mapping[str, Search], *, local: bool) -> None:
    """Labels and paths; what the checks ask is validated by making them.

    Raises:
        BadParameters: an empty, long or broken label; no path; a path that is empty, or relative for another host.
    """
    for label, search in searches.items():
        if not label or len(label) > MAX_LABEL_CHARACTERS or "\n" in label:
            raise BadParameters(
                f"searches: label {label[:80]!r} must have 1 to {MAX_LABEL_CHARACTERS} characters and no newline"
            )
        where = f"searches.{label}.paths"
        if not search.paths:
            raise BadParameters(f"{where}: a search needs at least one path", hint="-path PATH says where to look.")
        for path in search.paths:
            if not path or "\0" in path:
                raise BadParameters(f"{where}: {path!r} is no path")
            if not local and not is_absolute(path):
                raise BadParameters(
                    f"{where}: {path!r} is relative; other hosts have no current folder",
                    hint="Give an absolute path, or ask this machine with -t local.",
                )


def is_absolute(path: str) -> bool:
    """Whether it is absolute on some platform, the shell's quotes of `opening.path_text` included."""
    return path.startswith("$'/") or posixpath.isabs(path) or bool(ntpath.splitdrive(path)[0] and ntpath.isabs(path))
