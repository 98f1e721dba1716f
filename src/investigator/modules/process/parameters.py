"""What a search for processes may ask: JSON names and flags in the manner of MIG's file and memory modules."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from investigator.modules.interface import flag

Limit = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
LISTS: Final = (
    "names", "cmdlines", "exes", "users", "parents", "pids", "openfiles", "started", "md5", "sha1", "sha2", "sha3",
)  # fmt: skip
"""A search's lists, in the order in which they are reported."""


class Options(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How a search combines its checks, and where it ends."""

    matchall: Annotated[bool, flag("matchall", "a process matches when all checks hold", default=True)] = False
    matchlimit: Annotated[
        Limit, flag("matchlimit", "return at most that many matches; 0: no limit", value="N", default=1000)
    ] = 0
    returnsha256: Annotated[bool, flag("returnsha256", "return the sha256 of each match's executable")] = False


class OptionsFlags(Options, kw_only=True, forbid_unknown_fields=True):
    """The options with the flag that is not in the JSON."""

    matchany: Annotated[bool, flag("matchany", "each check reports its own processes; wins over matchall")] = False


class Search(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What must hold; at least one value, or `deleted`."""

    description: str = ""
    names: Annotated[
        list[str], flag("name", "regex on the process's name; a leading ! inverts, here and below", value="REGEX")
    ] = []
    cmdlines: Annotated[
        list[str], flag("cmdline", "regex on the arguments, joined by blanks; they are never returned", value="REGEX")
    ] = []
    exes: Annotated[list[str], flag("exe", "regex on the path of the executable", value="REGEX")] = []
    users: Annotated[
        list[str], flag("user", "regex on the user's name, or a user id; real or effective", value="REGEX|UID")
    ] = []
    parents: Annotated[
        list[str], flag("parent", "regex on the parent's name or executable, or its pid", value="REGEX|PID")
    ] = []
    pids: Annotated[list[str], flag("pid", "a process id", value="PID")] = []
    openfiles: Annotated[
        list[str], flag("openfile", "regex on the paths of open files and the current folder", value="REGEX")
    ] = []
    started: Annotated[
        list[str], flag("started", "<N or >N and d, h, m: started since, or before, that long ago", value="PERIOD")
    ] = []
    md5: Annotated[list[str], flag("md5", "MD5 of the executable, in hex", value="HEX")] = []
    sha1: Annotated[list[str], flag("sha1", "SHA-1 of the executable, in hex", value="HEX")] = []
    sha2: Annotated[list[str], flag("sha2", "SHA-256, SHA-384 or SHA-512 of the executable, in hex", value="HEX")] = []
    sha3: Annotated[list[str], flag("sha3", "SHA3-224, -256, -384 or -512 of the executable, in hex", value="HEX")] = []
    deleted: Annotated[bool, flag("deleted", "the executable has been deleted or replaced since it was started")] = (
        False
    )
    options: Options = msgspec.field(default_factory=Options)


class SearchFlags(Search, kw_only=True, forbid_unknown_fields=True):
    """A search as the command line writes it."""

    options: OptionsFlags = msgspec.field(default_factory=OptionsFlags)


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Searches by label; all of them share one look at the processes."""

    searches: dict[str, Search]
