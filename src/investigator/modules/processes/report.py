"""What was found among processes, as JSON within the bytes that a result may have; and what could not be read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from investigator.modules.findings import Findings
from investigator.modules.interface import MASK
from investigator.modules.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from investigator.modules.interface import Context
    from investigator.modules.processes.searches import Check, Plan

_ERROR_ROOM_BYTES: Final = 1 << 20
_SHOWN_PIDS: Final = 10
_MAX_TEXT_CHARACTERS: Final = 8192
_NOBODY: Final = {"name": "", "pid": 0}


class Report:
    """Collects hits and problems; hits are given in the order in which they are to be reported."""

    def __init__(self, plans: list[Plan], context: Context) -> None:
        self._notes = Notes()
        self._hits: dict[Plan, int] = dict.fromkeys(plans, 0)
        self._unreturned: dict[Plan, int] = {}
        self._findings = Findings(context, room_bytes=_ERROR_ROOM_BYTES)
        self._slots = {
            (plan, check): self._findings.slot(plan.label, nothing={"process": _NOBODY, "search": _search(plan, check)})
            for plan in plans
            for check in ((None,) if plan.matchall else plan.checks)
        }

    def hit(
        self, plan: Plan, check: Check | None, process: Mapping[str, Any], more: Mapping[str, Any] | None = None
    ) -> None:
        """A process that all checks (None) or one check of a search hold for; beyond the search's limit it is not taken.

        `more` are further keys of the element.
        """
        if self._hits[plan] >= plan.matchlimit:
            return
        self._hits[plan] += 1
        element = {"process": process, "search": _search(plan, check), **(more or {})}
        if plan in self._unreturned or not self._findings.add(self._slots[plan, check], element):
            self._unreturned[plan] = self._unreturned.get(plan, 0) + 1

    def error(self, text: str) -> None:
        """A soft error, the same one once."""
        self._notes.error(text[:_MAX_TEXT_CHARACTERS])

    def could_not(self, doing: str, why: str, pids: Iterable[int]) -> None:
        """The same thing could not be done for these processes: one line for all of them."""
        numbers = sorted(pids)
        shown = ", ".join(map(str, numbers[:_SHOWN_PIDS])) + (", ..." if len(numbers) > _SHOWN_PIDS else "")
        many = f"{len(numbers)} processes ({shown})" if len(numbers) > 1 else f"process {shown}"
        self.error(f"could not {doing} of {many}: {why}")

    def note(self, text: str) -> None:
        """Something that must be said in any case: what was left out, and why."""
        self._notes.note(text)

    @property
    def total(self) -> int:
        """How many hits there were, over all searches."""
        return sum(self._hits.values())

    def errors(self) -> list[str] | None:
        """The texts for the result."""
        for plan, hits in self._hits.items():
            if hits >= plan.matchlimit:
                self.note(f"search '{plan.label}' reached its limit of {hits} matches; there may be more")
        for plan, count in self._unreturned.items():
            self.note(
                f"search '{plan.label}' found {count} more than a result can hold; they are counted, not returned"
            )
        return self._notes.texts()

    def elements(self) -> dict[str, Any]:
        """By label; where a search, or a check that reports its own, found nothing, one element says so."""
        return self._findings.rest()


def _search(plan: Plan, check: Check | None) -> dict[str, Any]:
    return plan.search if check is None else plan.one(check)


def masked(result: Mapping[str, Any], names: tuple[str, ...], listed: tuple[str, ...] = ()) -> dict[str, Any]:
    """The result for extra privacy mode: of each process these texts, and the texts in these lists, and all errors."""

    def of_process(process: Mapping[str, Any]) -> dict[str, Any]:
        hidden = {name: MASK for name in names if process.get(name)}
        return {**process, **hidden, **{name: [MASK for _ in process[name]] for name in listed if process.get(name)}}

    elements = result.get("elements") or {}
    return {
        **result,
        "elements": {
            label: found and [{**element, "process": of_process(element["process"])} for element in found]
            for label, found in elements.items()
        },
        "errors": result.get("errors") and [MASK for _ in result["errors"]],
    }
