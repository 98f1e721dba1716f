"""The yara module: YARA rules over files, chosen as the file module chooses them, and over the memory of processes.

`parameters` is what may be asked, `rules` the only place that imports yara_x, `files` and `processes` are what rules are
applied to, `report` says what matched. MIG's JSON, flags and printed lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from investigator.modules.interface import MASK, Context, Need, Spec
from investigator.modules.yara.parameters import Parameters, YaraFlags, file_plans, name_pattern, parameters_of_flags
from investigator.modules.yara.report import Report, result_lines
from investigator.modules.yara.rules import MAX_RULES_CHARACTERS, compile_rules
from investigator.modules.yara.scanning import scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.protocol.result import Result

_DETAILS = f"""
The rules are YARA's, as YARA-X reads them (https://virustotal.github.io/yara-x/docs/writing_rules/), with its modules
(pe, elf, math, hash, ...) and without includes; up to {MAX_RULES_CHARACTERS:,} characters. They are compiled at the console
before anything is signed, if yara-x is installed there, and on each agent.

`-files` takes the flags of the file module in one argument, quoted as in a shell; their defaults hold, so that no more than
1,000 files are scanned unless `-matchlimit` says otherwise. A file is given 10 s. One of more than 32 MiB is scanned in
parts of that size, and said so: a rule that asks for several strings has to find them in one part, and `filesize` is the
part's.

`-processes` is a regular expression on the path of the executable. What a process can read is scanned in blocks of up to
16 MiB, its regions one after another: a rule that asks for several strings has to find them in one block, and offsets and
`filesize` mean nothing. The agent's own processes are left out.

A result names the object and the rules, never what matched. Rules that are private are not reported.
"""


class YaraModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="yara",
        summary="apply YARA rules to files and to the memory of processes",
        parameters=Parameters,
        flags=YaraFlags,
        needs=(
            Need(kind="package", name="yara_x", why="compile and apply the rules"),
            Need(
                kind="capability",
                name="CAP_SYS_PTRACE",
                why="scan the memory of other users' processes",
                essential=False,
            ),
        ),
        details=_DETAILS.strip(),
        examples=(
            (
                "what the dynamic loader puts into every program",
                "-rules docs/modules/example-rules.yar -files '-path /etc -name ^ld.so.preload$'",
            ),
            (
                "a rule given in place, on what a program has in memory",
                """-rule 'rule sudoers { strings: $a = "ALL=(ALL:ALL)" condition: $a }' -processes 'bin/sshd?$'""",
            ),
        ),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:
        """Raise `BadParameters` or `BadRegex`, starting with the parameter's path."""
        file_plans(parameters, folder="/", local=local)
        name_pattern(parameters)
        compile_rules(parameters.yara, missing_ok=True)

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The rules that the flags name, read here; MIG's `-files` is `filesearch`."""
        return parameters_of_flags(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Scan files, then processes."""
        report = Report(context)
        scan(parameters, context, report)
        return report.result()

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """See `report.result_lines`."""
        return result_lines(result, everything=everything)

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002 - one signature for all
        """The rules that matched, and how many objects; not which."""
        elements = result.get("elements")
        if elements:
            matches = [{**match, "Object": MASK} for match in elements.get("Matches") or ()]
            elements = {
                **elements,
                "Matches": [{key: match[key] for key in match if key != "Pid"} for match in matches],
            }
        errors = result.get("errors")
        return {**result, "elements": elements, "errors": errors and [MASK for _ in errors]}


MODULE = YaraModule()
