"""`--output json` and `ndjson`, for programs: `render` documents the shapes."""

from __future__ import annotations

from typing import Any, TextIO

import msgspec

from investigator.console.audience import Shown, Summary
from investigator.console.render_parts import Quiet, json_text
from investigator.protocol.action import Action
from investigator.protocol.result import Outcome


class JsonRenderer(Quiet):
    """`json` and `ndjson`."""

    def __init__(self, stdout: TextIO, stderr: TextIO, *, one_document: bool) -> None:
        super().__init__(stdout, stderr)
        self._one_document = one_document
        self._action = ""
        self._outcomes = 0

    def started(self, action: Action, *, targeted: int, expected: int) -> None:  # noqa: ARG002 - the protocol's
        """It was published."""
        self._action = action.id
        if self._one_document:
            self.put(f'{{"type":"investigation","action":{self._text(action.id)},"outcomes":[\n')

    def outcome(
        self, agent: str, name: str, state: Shown, outcome: Outcome | None, *, unfinished: bool = False
    ) -> None:
        """One object."""
        document: dict[str, Any] = {
            "type": "outcome",
            "action": self._action,
            "agent": {"id": agent, "name": name},
            "state": state,
            "code": outcome.code if outcome is not None else "",
            "reason": outcome.reason if outcome is not None else "",
            "results": msgspec.to_builtins(outcome.results) if outcome is not None else [],
        }
        if unfinished:
            document["unfinished"] = True
        between = ",\n" if self._outcomes else ""
        self._outcomes += 1
        self.put(between + self._text(document) if self._one_document else self._text(document) + "\n")

    def summary(self, summary: Summary) -> None:
        """The last object."""
        document: dict[str, Any] = {
            "type": "summary",
            "action": summary.action,
            "targeted": summary.targeted,
            "states": summary.states,
            "elapsed_s": round(summary.elapsed_s, 3),
        }
        if summary.working:
            document["working"] = summary.working
        if summary.interrupted:
            document["interrupted"] = True
        if summary.dropped:
            document["dropped"] = summary.dropped
        if summary.sealed:
            document["sealed"] = summary.sealed
        text = self._text(document)
        self.put(f'\n],"summary":{text}}}\n' if self._one_document else text + "\n")

    def _text(self, value: Any) -> str:
        return json_text(value, encoding=self.stdout.encoding)
