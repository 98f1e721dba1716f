"""The scribe module: vulnerability and compliance policies, in the language of mozilla/scribe.

`policy` is a document's shape, `policy_file` reads it at the console, `validation` refuses mistakes; `objects` finds values
on the host (`locating` files, `matching` lines, packages through their databases), `evaluation` runs the tests on them,
`report` writes MIG's JSON and lines. No value is ever part of a result: only where it was found, and what it came to.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from investigator.modules.durations import duration_text
from investigator.modules.findings import Findings
from investigator.modules.interface import MASK, Context, Spec
from investigator.modules.notes import Notes
from investigator.modules.packages import installed
from investigator.modules.processes.crew import end_before
from investigator.modules.scribe.evaluation import evaluate
from investigator.modules.scribe.objects import Objects
from investigator.modules.scribe.parameters import Parameters, ScribeFlags, parameters_of_flags
from investigator.modules.scribe.report import complaints, result_lines, verdict_json, within
from investigator.modules.scribe.validation import in_order, validate
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ROOM_BYTES: Final = 512 << 10
"""Of a result, what is left for all but the tests' results: the errors."""


class ScribeModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="scribe",
        summary="evaluate a vulnerability or compliance policy",
        parameters=Parameters,
        flags=ScribeFlags,
        details=(
            "A policy is a document in the language of mozilla/scribe, JSON or YAML: objects say where values come from "
            "(versions of packages, lines and names of files, values that the policy gives), tests compare them (evr, regexp, "
            "exactmatch) and may depend on each other. It is read and checked at the console and travels in the signed "
            "action; a large one wants -z.\n\n"
            "Versions of packages are compared in their package manager's own order: dpkg's, rpm's, apk's, pacman's. Any "
            "other value that evr is used on is compared as rpm does. What cannot be told is an error of that test, never "
            "false: a host without a package database, say, or one where a folder's files took too long to search. A file or folder that cannot be read is skipped, and "
            "is among the errors.\n\n"
            "A policy with a mistake is refused with its place: an unknown key, a missing object or test, two evaluators in "
            "one test, an id that stands twice, a cycle. Results hold identifiers (paths, names of packages), never values."
        ),
        examples=(("the tests of a policy, each with its result", "-path docs/modules/example-policy.yaml"),),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:
        """Raise `BadParameters` or `BadRegex`, starting with the parameter's path."""
        validate(parameters.scribedoc, local=local)

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Reads the policy that `-path` names."""
        return parameters_of_flags(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Evaluate all tests; what cannot be decided is said test by test."""
        started_ns = time.monotonic_ns()
        policy, notes = parameters.scribedoc, Notes()
        deadline_s = end_before(context.deadline_s)
        objects = Objects(policy, deadline_s, notes, partial(installed, deadline_s=deadline_s), context.folder)
        verdicts = evaluate(in_order(policy), objects)
        ordered = [verdicts[test.test] for test in policy.tests]
        wanted = [one for one in ordered if one.master or not parameters.onlytrue]
        shown, left_out = within(wanted, context.result_bytes - _ROOM_BYTES)
        form = {"humanoutput": parameters.humanoutput, "jsonoutput": parameters.jsonoutput}
        findings = Findings(context, room_bytes=_ROOM_BYTES // 2, beside=form)  # all that is `within` fits
        results = findings.slot("results")
        for one in shown:
            findings.add(results, verdict_json(one))
        errors = [*complaints(ordered), *(notes.texts() or ()), *left_out]
        return Result(
            foundanything=any(one.master for one in ordered),
            success=True,
            elements=findings.rest(),
            statistics={"execruntime": duration_text(time.monotonic_ns() - started_ns)},
            errors=errors or None,
        )

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """See `report.result_lines`."""
        return result_lines(result, everything=everything)

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002 - the interface
        """The result for extra privacy mode: identifiers and all errors; what the policy itself says stays."""
        elements = result.get("elements") or {}
        shown = elements.get("results")
        errors = result.get("errors")
        return {
            **result,
            "elements": elements and {**elements, "results": shown and [_masked(one) for one in shown]},
            "errors": errors and [MASK for _ in errors],
        }


def _masked(one: Mapping[str, Any]) -> dict[str, Any]:
    results = one["results"] and [{**inner, "identifier": MASK} for inner in one["results"]]
    return {**one, "error": one["error"] and MASK, "results": results}


MODULE = ScribeModule()
