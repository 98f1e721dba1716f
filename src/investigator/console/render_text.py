"""`--output text`: results on stdout as MIG prints them (agent, space, line); all else on stderr.

An agent that did not answer what was asked is always named, with the reason: `-show` chooses among answers only.

Of many agents, equal findings are told as a group at the end, the rarest first. On a terminal only the first of a group are
printed as they come: a pipe or a file gets every line.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, Literal, TextIO

from investigator.console.audience import Shown, Summary
from investigator.console.grouping import GROUPED_FROM, IN_FULL, Groups, Names
from investigator.console.render_parts import ModuleLines, Quiet, why
from investigator.printable import printable
from investigator.protocol.action import Action
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, Result
from investigator.protocol.tally import STATES

MAX_REASONS: Final = 500
MAX_REASONS_TOLD: Final = 20
"""Of one state, each with the first names; `-show all` has a line for each agent."""
_OTHER_REASONS: Final = "for other reasons"
_ANSWERED: Final = ("found", "notfound")
_COLOURS: Final[dict[Shown, str]] = {
    "found": "32",
    "failed": "31",
    "timeout": "31",
    "refused": "31",
    "cancelled": "33",
    "expired": "33",
    "offline": "33",
    "working": "33",
}
_TOLD: Final[tuple[Shown, ...]] = (*STATES, "working")


class TextRenderer(Quiet):
    """For people, and for what they pipe it into."""

    def __init__(
        self, stdout: TextIO, stderr: TextIO, *, show: Literal["found", "notfound", "all"], lines: ModuleLines
    ) -> None:
        super().__init__(stdout, stderr)
        self._show = show
        self._lines = lines
        self._shown = 0
        self._fleet = True
        self._others: dict[tuple[Shown, str], Names] = {}
        self._groups = Groups()
        self._brief = stdout.isatty()
        self._unprinted = 0
        self._nothing = 0
        self._ahead: set[str] = set()
        """Agents of which findings were printed that came ahead of the rest."""
        self._soft_errors = SoftErrors()
        self._coloured = stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def started(self, action: Action, *, targeted: int, expected: int) -> None:
        """How many agents are asked, and how many of them are there; nothing where this machine alone is asked."""
        self._fleet = action.target != "local"
        if not self._fleet:
            return
        are = "agent is" if targeted == 1 else "agents are"
        self.say(f"{targeted} {are} targeted, {expected} expected to answer. Following action ID {action.id}.")

    def piece(self, agent: str, name: str, piece: Piece) -> bool:
        """Its lines, where only findings are wanted: all else is about the whole result."""
        if self._show != "found":
            return False
        found = Result(foundanything=True, success=True, elements=piece.elements)
        self._ahead.add(agent)
        self._print(printable(name), list(self._lines.of(piece.operation, found, everything=False)))
        return True

    def outcome(
        self,
        agent: str,
        name: str,
        state: Shown,
        outcome: Outcome | None,
        *,
        unfinished: bool = False,  # noqa: ARG002 - its state or its errors say it
    ) -> None:
        """An agent's lines, by `-show`; or a place among those that are named at the end."""
        shown = printable(name)
        if self._wants(state):
            self._shown += 1
        if outcome is not None:
            self._results(agent, shown, state, outcome)
        self._nothing += state == "notfound"
        if state in _ANSWERED:
            if self._show != "found" and self._wants(state):
                self.put(f"{shown} command success\n")
        elif self._show == "all":
            reason = why(outcome)
            self.say(f"{shown} command did not succeed. status={state}" + (f" ({reason})" if reason else ""))
        else:
            key = (state, why(outcome))
            if key not in self._others and len(self._others) >= MAX_REASONS:
                key = (state, _OTHER_REASONS)
            self._others.setdefault(key, Names()).add(shown)

    def summary(self, summary: Summary) -> None:
        """Who did not answer and why, how many have results, and one line with the counts."""
        self._tell_groups(summary.action)
        for state in _TOLD:
            self._tell_others(state)
        if self._soft_errors.agents:
            self.say(str(self._soft_errors))
        agents = "agents have" if self._shown > 1 else "agent has"
        self.say(f"{self._shown} {agents} {self._show} results")
        self.say(self._counts(summary))

    def _wants(self, state: Shown) -> bool:
        return self._show in ("all", state)

    def _results(self, agent: str, name: str, state: Shown, outcome: Outcome) -> None:
        """Findings are shown even where another operation of the same agent failed."""
        everything = self._show != "found"
        if not everything and state in _ANSWERED:
            self._soft_errors.note(name, outcome)
        if everything and not self._wants(state):
            return
        lines = [
            line
            for number, result in enumerate(outcome.results)
            if everything or result.foundanything
            for line in self._lines.of(number, result, everything=everything)
        ]
        if self._is_repetition(agent, name, state, lines):
            self._unprinted += 1
        else:
            self._print(name, lines)

    def _is_repetition(self, agent: str, name: str, state: Shown, lines: list[str]) -> bool:
        """Whether a person has read the same often enough; of what was printed ahead nobody can tell."""
        ahead = agent in self._ahead
        self._ahead.discard(agent)
        if self._show != "found" or state != "found" or ahead:
            return False
        return self._groups.add(name, lines) > IN_FULL and self._brief

    def _print(self, name: str, lines: list[str]) -> None:
        if lines:
            self.put("".join(f"{name} {line}\n" for line in lines))

    def _tell_groups(self, action: str) -> None:
        told = self._groups.told()
        for line in told:
            self.say(line)
        if self._unprinted:
            self.say(
                f"{self._unprinted:,} of these are not printed; `investigator results {action} | less` has every line"
            )
        if self._show == "found" and self._nothing >= GROUPED_FROM:
            self.say(f"{self._nothing:,} agents: found nothing")

    def _tell_others(self, state: Shown) -> None:
        """Of one state: who, by reason, the rarest first."""
        found = [(names.count, reason, names) for (of, reason), names in self._others.items() if of == state]
        found.sort(key=lambda one: one[:2])
        for _, reason, names in found[:MAX_REASONS_TOLD]:
            self.say(self._colour(state, state) + f": {_named(names)}" + (f" ({reason})" if reason else ""))
        left = found[MAX_REASONS_TOLD:]
        if left:
            agents = sum(count for count, _, _ in left)
            self.say(f"{self._colour(state, state)}: {agents:,} more, for {len(left):,} more reasons")

    def _counts(self, summary: Summary) -> str:
        states = ", ".join(
            self._colour(state, f"{summary.states[state]:,} {state}") for state in STATES if summary.states.get(state)
        )
        if summary.working:
            states += f"{', ' if states else ''}{summary.working} still working"
        if summary.sealed:
            states += f"{', ' if states else ''}{summary.sealed} sealed to another key"
        line = f"{summary.targeted:,} targeted" + (f": {states}" if states else "") + f" in {summary.elapsed_s:.2f} s"
        if summary.dropped:
            line += f"; {summary.dropped} answers dropped, since they did not verify"
        if summary.interrupted:
            line += "; interrupted" + (", agents may still be running" if self._fleet else "")
        return line

    def _colour(self, state: Shown, text: str) -> str:
        return f"\x1b[{_COLOURS[state]}m{text}\x1b[0m" if self._coloured and state in _COLOURS else text


@dataclass(slots=True)
class SoftErrors:
    """What agents that answered could not read: the findings alone would hide that a search was incomplete."""

    agents: int = 0
    errors: int = 0
    example: str = ""

    def note(self, name: str, outcome: Outcome) -> None:
        """Count one agent's."""
        texts = [text for result in outcome.results for text in result.errors or ()]
        if texts:
            self.agents += 1
            self.errors += len(texts)
            cut = next((text for text in texts if text.startswith("warning:")), "")  # says more than a file unread
            if cut or not self.example:
                self.example = f"{name}: {printable(cut or texts[0])}"

    def __str__(self) -> str:
        agents, errors = ("agent" if self.agents == 1 else "agents"), ("error" if self.errors == 1 else "errors")
        return f"{self.agents} {agents} reported {self.errors} {errors}, such as {self.example} (-show all tells all)"


def _named(names: Names) -> str:
    more = f" and {names.more():,} more (-show all names each)" if names.more() else ""
    return ", ".join(names.first()) + more
