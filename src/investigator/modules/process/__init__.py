"""The process module: running processes by name, arguments, executable and its hash, user, parent, open files, start.

`parameters` is what may be asked, `checks` makes plans of it, `looking` knows what there is to know of a process,
`on_linux` and `elsewhere` how a system tells it, `hashing` hashes executables, `hunt` judges, `lines` prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from investigator.modules.interface import Context, Need, Spec
from investigator.modules.process.checks import make_plans
from investigator.modules.process.hunt import search, this_host
from investigator.modules.process.lines import result_lines
from investigator.modules.process.parameters import Parameters, SearchFlags
from investigator.modules.processes.report import masked
from investigator.modules.processes.searches import parameters_of_flags

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.protocol.result import Result

_NAMING = ("name", "exe", "user", "realuser", "parent")


class ProcessModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="process",
        summary="find running processes by name, command line, executable and its hash, user, parent, open files, start",
        parameters=Parameters,
        flags=SearchFlags,
        needs=(
            Need(
                kind="capability",
                name="CAP_SYS_PTRACE",
                why="look at the executables and open files of other users' processes",
                essential=False,
            ),
        ),
        details=(
            "A process matches when all checks hold, or with -matchany each check reports its own. A regular expression with "
            "a leading ! holds where it does not match; of what could not be read, or is not there (a kernel thread has no "
            "executable), neither holds, and the result says what could not be read.\n\n"
            "Arguments are matched and never returned, for they hold passwords: a result has name, pid, executable, user, "
            "parent, start time, and of the open files those that matched. With -cmdline, the processes of this run that were "
            "given the pattern themselves do not match.\n\n"
            "The name is what the process calls itself (15 characters, or more where its executable's name continues them), in "
            "brackets for kernel threads; the executable is what it really runs. An executable that was deleted or replaced "
            "is hashed all the same, and its path is where it was. Open files are descriptors (paths, or such as socket:[7]) "
            "and the current folder.\n\n"
            "On macOS and Windows a deleted executable cannot be told and cannot be hashed."
        ),
        examples=(
            ("what runs from a deleted executable", "-deleted -returnsha256"),
            ("what runs from places where programs do not belong", "-exe '^/(tmp|var/tmp|dev/shm|home)/'"),
            ("a known bad binary, by hash, whatever it calls itself", f"-sha2 {'0' * 63}1"),
            ("what root started in the last two hours", "-user '^root$' -started '<2h'"),
            ("a tool that is hidden behind another name", "-cmdline 'nc .*-e' -name '!^nc$'"),
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
        return search(make_plans(parameters.searches), context, this_host())

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """See `lines.result_lines`."""
        return result_lines(result, everything=everything)

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002
        """The result for extra privacy mode: no name, path, user, user id or error's text."""
        shown = masked(result, _NAMING, ("openfiles",))
        for found in shown["elements"].values():
            for element in found or ():
                element["process"].pop("uid", None)
        return shown


MODULE = ProcessModule()
