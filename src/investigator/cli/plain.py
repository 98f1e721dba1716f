"""The words of commands that every host runs, read without typer.

typer would be 3 MB in every agent for life, and is not in the zipapp that is the agent only.
"""

from __future__ import annotations

import getopt
from dataclasses import dataclass
from typing import TYPE_CHECKING

from investigator.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Option:
    """`--name`, with a value unless `value`, its name in the help, is empty; `short` is another letter for it."""

    name: str
    value: str
    summary: str
    short: str = ""

    def shown(self) -> str:
        """As the help has it."""
        return (f"-{self.short}, " if self.short else "") + f"--{self.name} {self.value}".rstrip()


@dataclass(frozen=True, slots=True)
class PlainCommand:
    """A command: how it is called, what it does, its options; `--help` is one of all."""

    name: str
    summary: str
    options: tuple[Option, ...]
    commands: tuple[tuple[str, str], ...] = ()
    """What it has below it, for the help: name and summary."""

    def read(self, words: Sequence[str]) -> list[tuple[str, str]]:
        """The options that were given, in their order, as (name, value).

        Raises:
            BadInput: an option that there is not, one without its value, or a word that is none.
        """
        names = [option.name + "=" * bool(option.value) for option in self.options]
        letters = "".join(option.short + ":" * bool(option.value) for option in self.options if option.short)
        try:
            pairs, rest = getopt.gnu_getopt(list(words), letters, [*names, "help"])
        except getopt.GetoptError as error:
            raise self._usage(error) from None
        if rest:
            raise BadInput(f"got unexpected extra argument ({rest[0]})", hint=self._hint())
        by_letter = {f"-{option.short}": option.name for option in self.options}
        return [(by_letter.get(word, word).removeprefix("--"), value) for word, value in pairs]

    def help(self) -> str:
        """In the form of the other commands' help."""
        rows = [(option.shown(), option.summary) for option in self.options] + [
            ("--help", "Show this message and exit.")
        ]
        width = max(len(left) for left, _ in [*rows, *self.commands])
        lines = [f"Usage: investigator {self.name} [OPTIONS]" + " [COMMAND]" * bool(self.commands), ""]
        lines += [f"  {self.summary}", "", "Options:", *(f"  {left:<{width}}  {right}" for left, right in rows)]
        if self.commands:
            lines += ["", "Commands:", *(f"  {left:<{width}}  {right}" for left, right in self.commands)]
        return "\n".join([*lines, ""])

    def _usage(self, error: getopt.GetoptError) -> BadInput:
        """What getopt found, said as the other commands say it."""
        dashed = ("-" if len(error.opt) == 1 else "--") + error.opt
        if "requires argument" in error.msg:
            return BadInput(f"option '{dashed}' requires an argument", hint=self._hint())
        if "must not have" in error.msg:
            return BadInput(f"option '{dashed}' does not take a value", hint=self._hint())
        return BadInput(f"no such option: {dashed}", hint=self._hint())

    def _hint(self) -> str:
        return f"`investigator {self.name} --help` says what there is."
