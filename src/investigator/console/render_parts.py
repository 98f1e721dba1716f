"""What the renderers share: warnings and progress on stderr, a result's lines, JSON that no terminal obeys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, TextIO

import msgspec
import orjson

from investigator.console.progress import ProgressLine, progress_wanted
from investigator.errors import BadInput
from investigator.modules import get_module
from investigator.printable import UNSAFE, printable
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, Result

MAX_REASON_CHARACTERS: Final = 300


class Quiet:
    """What all renderers share: warnings and progress, on stderr."""

    def __init__(self, stdout: TextIO, stderr: TextIO) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.line = ProgressLine(stderr, wanted=progress_wanted(stdout, stderr))

    async def room(self) -> None:
        """There always is: what is shown is written at once."""

    def progress(self, *, targeted: int, answered: int, found: int, failed: int, elapsed_s: float) -> None:
        """How it stands."""
        text = f"{targeted} targeted, {answered} answered, {found} found, {failed} failed, {elapsed_s:.1f} s"
        self.line.show(text, elapsed_s=elapsed_s)

    def piece(self, agent: str, name: str, piece: Piece) -> bool:  # noqa: ARG002 - the protocol's
        """Nothing: an agent's answer is shown in one, when its state is known."""
        return False

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
                indent = line[: len(line) - len(line.lstrip("\t"))]  # MIG's, in what is meant for people
                yield indent + printable(line[len(indent) :])
        except (BadInput, IndexError):
            yield printable(json_text(document))
        except Exception as error:  # noqa: BLE001 - the result is an agent's: its shape may be no result's
            yield printable(
                f"(this is no result of {self.modules[number]}: {type(error).__name__}) {json_text(document)}"
            )


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


def why(outcome: Outcome | None) -> str:
    """An outcome's code and reason in one line; the first error of an operation where the agent gave no reason."""
    if outcome is None:
        return ""
    reason = outcome.reason or next(
        (result.errors[0] for result in outcome.results if not result.success and result.errors), ""
    )
    return printable(": ".join(part for part in (outcome.code, reason) if part)[:MAX_REASON_CHARACTERS])
