"""What a memory search may ask: MIG's JSON names and flags."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from investigator.modules.interface import flag

Address = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
LISTS: Final = ("names", "libraries", "contents", "bytes")
"""A search's lists, in the order in which they are reported."""


class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How a search combines its checks, and what it reads."""

    offset: Annotated[
        Address,
        flag("offset", "the address from which on memory is read", value="ADDRESS", aliases=("maxdepth",)),
    ] = 0
    maxlength: Annotated[
        Address,
        flag("maxlength", "how many bytes of a process to read; 0: no limit", value="N", aliases=("matchlimit",)),
    ] = 0
    matchall: Annotated[bool, flag("matchall", "a process matches when all checks hold", default=True)] = False
    logfailures: Annotated[bool, flag("logfailures", "report each region that could not be read")] = False
    swapped: Annotated[
        bool, flag("swapped", "read what is swapped out too, which brings it back into the host's memory")
    ] = False


class OptionsFlags(Options, kw_only=True, forbid_unknown_fields=True):
    """The options with the flag that is not in the JSON."""

    matchany: Annotated[bool, flag("matchany", "each check reports its own processes; wins over matchall")] = False


class Search(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What must hold; at least one value."""

    description: str = ""
    names: Annotated[
        list[str],
        flag("name", "regex on the executable's full path, or [name] where there is none", value="REGEX"),
    ] = []
    libraries: Annotated[
        list[str], flag("lib", "regex on the paths of mapped files, the executable's aside", value="REGEX")
    ] = []
    contents: Annotated[list[str], flag("content", "regex on the memory", value="REGEX")] = []
    bytes: Annotated[list[str], flag("bytes", "bytes in the memory, in hex without 0x", value="HEX")] = []
    options: Options = msgspec.field(default_factory=Options)


class SearchFlags(Search, kw_only=True, forbid_unknown_fields=True):
    """A search as the command line writes it."""

    options: OptionsFlags = msgspec.field(default_factory=OptionsFlags)


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Searches by label; all of them share one look at the processes."""

    searches: dict[str, Search]
