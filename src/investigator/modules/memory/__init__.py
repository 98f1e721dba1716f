"""The memory module: processes by name, by the files that they map, and by what their memory holds.

`parameters` is what may be asked, `checks` makes plans of it, `spans` says which parts of an address space are read and how,
`reading` reads them, `patterns` searches what was read, `hunt` runs it all, `lines` prints. MIG's JSON, flags and lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from investigator.modules.interface import MASK, Context, Need, Spec
from investigator.modules.memory.checks import make_plans
from investigator.modules.memory.hunt import Hunt
from investigator.modules.memory.lines import result_lines
from investigator.modules.memory.parameters import Parameters, SearchFlags
from investigator.modules.processes.report import masked
from investigator.modules.processes.searches import parameters_of_flags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.protocol.result import Result


class MemoryModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="memory",
        summary="find processes by name, by mapped libraries, and by what their memory holds",
        parameters=Parameters,
        flags=SearchFlags,
        platforms=frozenset(("linux",)),
        needs=(
            Need(
                kind="capability",
                name="CAP_SYS_PTRACE",
                why="read the memory of other users' processes",
                essential=False,
            ),
            Need(
                kind="capability",
                name="CAP_SYS_ADMIN",
                why="read what processes map of files and have not touched",
                essential=False,
            ),
        ),
        details=(
            "A process matches when all checks hold, or with -matchany each check reports its own. Names and libraries are "
            "looked at first, and only what they leave is read. The agent, its workers and its ancestors are left out, for "
            "they hold what is searched for.\n\n"
            "All memory is read that the process itself may read. It is read as a file; the process is neither stopped nor "
            "attached to. What it never touched stays untouched: such pages count as zeros, those of mapped files are read from "
            "the file as far as the host has it in memory. What is swapped out is left there, and said, unless -swapped asks for "
            "it. Mapped devices and the kernel's own pages are not read.\n\n"
            "A regular expression is RE2's, on the raw bytes: bytes that are no UTF-8 count as U+FFFD each, ^ and $ hold at "
            "newlines and where readable memory begins or ends, \\A and \\z there alone. Matches may cross from one region into "
            "the next where these are adjacent. Longer than 64 KiB they may be missed.\n\n"
            "For each content or sequence of bytes the result has the address where it was found first, and what is mapped "
            "there; never what it was."
        ),
        examples=(
            ("who has a library mapped that was deleted since", "-lib '\\(deleted\\)$'"),
            ("a sequence of bytes in the web servers", "-name '/(nginx|httpd)$' -bytes 4d5a90000300000004000000"),
            (
                "a host name in the memory of what runs from /tmp",
                "-name '^/tmp/' -content 'evil\\.example\\.(com|net)'",
            ),
            (
                "in one part of an address space",
                "-name '/sshd$' -content 'ssh-rsa' -offset 0x7f0000000000 -maxlength 1048576",
            ),
        ),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:  # noqa: ARG002 - the same here and elsewhere
        """Raise `BadParameters` or `BadRegex`, starting with the parameter's path."""
        make_plans(parameters.searches)

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """One search, labelled `s1`; matchany wins over matchall."""
        return parameters_of_flags(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Run all searches in one look at the processes."""
        return Hunt(make_plans(parameters.searches), context).run()

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """See `lines.result_lines`."""
        return result_lines(result, everything=everything)

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002
        """The result for extra privacy mode: no name, no mapped file's path, no text of an error or failure."""
        shown = masked(result, ("name",))
        for found in shown["elements"].values():
            for element in found or ():
                if element.get("matches"):
                    element["matches"] = [{**match, "region": _masked(match["region"])} for match in element["matches"]]
        statistics = shown.get("statistics")
        if statistics and statistics.get("failures"):
            shown["statistics"] = {**statistics, "failures": [MASK for _ in statistics["failures"]]}
        return shown


def _masked(region: str) -> str:
    """`[heap]` and the like name nobody; what a process calls a part of its memory, `[anon:...]`, may."""
    return region if region in ("", "[heap]", "[stack]", "[vdso]") else MASK


MODULE = MemoryModule()
