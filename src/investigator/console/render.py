"""Stage 7, what people and programs see of an investigation, as it comes in.

`--output ndjson`: a line of JSON for each agent as it reaches its final state, and one at the end. Stable:

    {"type":"outcome","action":ID,"agent":{"id":…,"name":…},"state":…,"code":…,"reason":…,"results":[…]}
    {"type":"summary","action":ID,"targeted":3,"states":{"found":2,"notfound":1},"elapsed_s":0.41}

`state` is one of `protocol.tally.STATES`; `code` and `reason` are empty where there is nothing to say; `results` are
MIG's result JSON, one per operation that ran, and empty for an agent that said nothing. The summary also has
`"working":N` where N agents had no state yet when it was cut short, `"interrupted":true` after Ctrl-C, and `"dropped":N` where N answers did not verify. `--output json` is one document of the same, written as it grows:

    {"type":"investigation","action":ID,"outcomes":[…],"summary":{…}}

Both hold every agent whatever `-show` says; that is for text and csv (`render_text`, `render_csv`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, TextIO

import msgspec
import orjson

from investigator.console.progress import ProgressLine, progress_wanted
from investigator.errors import BadInput
from investigator.modules import get_module
from investigator.printable import UNSAFE, printable
from investigator.protocol.action import Action
from investigator.protocol.result import Outcome, Result, State

Output = Literal["text", "json", "ndjson", "csv"]
Show = Literal["found", "notfound", "all"]
MAX_REASON_CHARACTERS: Final = 300


@dataclass(frozen=True, slots=True)
class Summary:
    """An investigation that is over."""

    action: str
    targeted: int
    states: dict[State, int]
    elapsed_s: float
    working: int = 0
    """Agents that had no state yet when it was cut short: after Ctrl-C, or when the broker went away."""
    interrupted: bool = False
    dropped: int = 0
    """Answers that did not verify."""


class Renderer(Protocol):
    """Whoever shows an investigation; the calls come in this order, `outcome` once per agent, when it is final."""

    def started(self, action: Action, *, targeted: int, expected: int) -> None:
        """It was published; an answer is expected of so many of the targeted."""

    def outcome(self, agent: str, name: str, state: State, outcome: Outcome | None) -> None:
        """An agent's final state; the outcome is None where it said nothing."""

    def progress(self, *, targeted: int, answered: int, found: int, failed: int, elapsed_s: float) -> None:
        """How it stands."""

    def summary(self, summary: Summary) -> None:
        """It is over."""

    def warn(self, text: str) -> None:
        """Something that the person who asks should know."""


def renderer(
    output: Output,
    *,
    show: Show = "found",
    modules: Sequence[str],
    stdout: TextIO | None = None,
    stderr: TextIO | None = None,
) -> Renderer:
    """The renderer for an `--output`; `modules` are the operations' modules, in order."""
    import sys

    from investigator.console.render_csv import CsvRenderer
    from investigator.console.render_text import TextRenderer

    out, err = stdout or sys.stdout, stderr or sys.stderr
    lines = ModuleLines(modules)
    if output == "text":
        return TextRenderer(out, err, show=show, lines=lines)
    if output == "csv":
        return CsvRenderer(out, err, show=show, lines=lines)
    return JsonRenderer(out, err, one_document=output == "json")


class Quiet:
    """What all renderers share: warnings and progress, on stderr."""

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.line = ProgressLine(stderr, wanted=progress_wanted(stdout, stderr))

    def progress(self, *, targeted: int, answered: int, found: int, failed: int, elapsed_s: float) -> None:
        """How it stands."""
        text = f"{targeted} targeted, {answered} answered, {found} found, {failed} failed, {elapsed_s:.1f} s"
        self.line.show(text, elapsed_s=elapsed_s)

    def warn(self, text: str) -> None:
        """Something that the person who asks should know."""
        self.say(f"warning: {printable(text)}")

    def say(self, line: str) -> None:
        """A line on stderr."""
        self.line.clear()
        self.stderr.write(line + "\n")
        self.stderr.flush()

    def put(self, text: str) -> None:
        """Text on stdout; whoever reads it there has it at once."""
        self.line.clear()
        self.stdout.write(text)
        self.stdout.flush()


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

    def outcome(self, agent: str, name: str, state: State, outcome: Outcome | None) -> None:
        """One object."""
        document = {
            "type": "outcome",
            "action": self._action,
            "agent": {"id": agent, "name": name},
            "state": state,
            "code": outcome.code if outcome is not None else "",
            "reason": outcome.reason if outcome is not None else "",
            "results": msgspec.to_builtins(outcome.results) if outcome is not None else [],
        }
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
        text = self._text(document)
        self.put(f'\n],"summary":{text}}}\n' if self._one_document else text + "\n")

    def _text(self, value: Any) -> str:
        return json_text(value, encoding=self.stdout.encoding)


def json_text(value: Any, *, encoding: str | None = "utf-8") -> str:
    r"""JSON in one line, the same for every reader; characters that terminals obey, or `encoding` lacks, as `\u…`."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_UTC_Z).decode()
    except TypeError:  # what orjson cannot write: integers over 64 bits, lone surrogates
        text = json.dumps(value, separators=(",", ":"))
    if text.isascii():
        return text
    if (encoding or "").lower().replace("-", "") != "utf8":
        return json.dumps(orjson.loads(text), separators=(",", ":"))
    return UNSAFE.sub(lambda found: json.dumps(found[0])[1:-1], text)


class ModuleLines:
    """Results as their modules print them, though an agent may send anything in their place."""

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = tuple(modules)

    def of(self, number: int, result: Result, *, everything: bool) -> Iterator[str]:
        """The lines of operation `number` (from 0), fit for a terminal."""
        document = msgspec.to_builtins(result)
        try:
            module = get_module(self.modules[number])
            for line in module.lines(document, everything=everything):
                yield printable(line)
        except (BadInput, IndexError):
            yield printable(json_text(document))
        except Exception as error:  # noqa: BLE001 - the result is an agent's: its shape may be no result's
            yield printable(
                f"(this is no result of {self.modules[number]}: {type(error).__name__}) {json_text(document)}"
            )


def why(outcome: Outcome | None) -> str:
    """An outcome's code and reason in one line; the first error of an operation where the agent gave no reason."""
    if outcome is None:
        return ""
    reason = outcome.reason or next(
        (result.errors[0] for result in outcome.results if not result.success and result.errors), ""
    )
    return printable(": ".join(part for part in (outcome.code, reason) if part)[:MAX_REASON_CHARACTERS])
