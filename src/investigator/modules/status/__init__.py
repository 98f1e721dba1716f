"""The status module: what an agent counts of itself. The agent answers it, not a worker: only it has the numbers.

`report` is the answer's shape, and its text. An operation that asks it is signed, weighed, judged and sealed like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from investigator.errors import BadParameters
from investigator.modules.interface import MASK, Context, Spec
from investigator.modules.status.report import read_report, report_lines
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAME = "status"


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """None: it tells all there is."""


class StatusModule:
    """See the package's docstring."""

    spec = Spec(
        name=NAME,
        summary="tell how an agent fares: counts, queues, version, last errors",
        parameters=Parameters,
        flags=Parameters,
        help_when_bare=False,
        details=(
            "The agent itself answers, from what it counts since it was started: actions it admitted, refused and ended, by "
            "state and code; operations by module, with their time; slots busy and waiting; what its outbox holds; the size of "
            "its ledger and audit; connections to the broker; processor time, memory and open files of the agent's own "
            "process; and the last warnings and errors of its log, each once, with how often it came.\n\n"
            "`investigator status AGENT ...` asks it of agents by name or id. On the host itself `investigator agent status` "
            "asks without a broker and without a key. Agents in extra privacy mode tell numbers and no texts. With -t local "
            "it cannot be asked."
        ),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:  # noqa: ARG002 - there are none
        """Raise `BadParameters` where there is no agent to ask."""
        if local:
            raise BadParameters(
                "status: it tells of a running agent, and -t local asks none",
                hint="`investigator agent status` asks this machine's.",
            )

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - the interface's
        """Nothing."""
        return {}

    def run(self, parameters: Parameters, context: Context) -> Result:  # noqa: ARG002 - the interface's
        """In a worker there is nobody to tell of."""
        return Result.failed("an agent answers this itself, and here is none")

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:  # noqa: ARG002 - it is one
        """The numbers, a few lines."""
        elements = result.get("elements")
        if isinstance(elements, dict):
            report = read_report(elements)
            yield from report_lines(report) if report is not None else ["a report of another version: --output json"]

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002 - likewise
        """The numbers; texts of errors may name anything."""
        elements = dict(result["elements"] or {})
        if "problems" in elements:
            elements["problems"] = [{**one, "text": MASK} for one in elements["problems"]]
        if "name" in elements:
            elements["name"] = MASK
        return {**result, "elements": elements}


MODULE = StatusModule()
