"""Help, written from declarations: a module's manual, and that of `run` and `mig`."""

from __future__ import annotations

import textwrap
from typing import Final

from investigator.cli.flags import Flag, Flags
from investigator.modules import MODULES
from investigator.modules.interface import ANYWHERE, Spec

WIDTH: Final = 100
_HANGING: Final = 26


def module_help(spec: Spec, flags: Flags, ours: Flags, *, prog: str) -> str:
    """A module's manual: what it does, its flags with values and defaults, examples."""
    parts = [f"{spec.name}: {spec.summary}"]
    if spec.platforms != ANYWHERE:
        parts[0] += f" (on {', '.join(sorted(spec.platforms))})"
    if spec.flags is None:
        parts.append(f"It has no flags: write its parameters into an action file, `{prog} -i FILE`.")
    else:
        parts.append(f"usage: {prog} [-t TARGET] [...] {spec.name} FLAGS")
        parts.append("flags (-x VALUE, -x=VALUE; with one dash or two):\n" + _list(flags))
    if spec.examples:
        shown = [f"  {what}:\n    {prog} {spec.name} {line}" for what, line in spec.examples]
        parts.append("examples:\n" + "\n".join(shown))
    others = ", ".join(f"-{flag.name}" for flag in ours.all)
    parts.append(textwrap.fill(f"Beside these: {others}; `{prog} --help` explains them.", WIDTH))
    return "\n\n".join(parts) + "\n"


def command_help(prog: str, ours: Flags, *, takes_file: bool = False) -> str:
    """The manual of `run` and `mig`, and of what takes their flags; with `takes_file` of what takes no module."""
    if takes_file:
        return f"usage: {prog} [flags] FILE\n\nflags (-x VALUE, -x=VALUE; with one dash or two):\n{_list(ours)}\n"
    return (
        f"usage: {prog} [flags] MODULE [flags] [module flags]\n"
        f"       {prog} [flags] -i FILE\n"
        f"       {prog} MODULE --help\n\n"
        f"modules: {', '.join(sorted(MODULES))}\n\n"
        f"flags (-x VALUE, -x=VALUE; with one dash or two):\n{_list(ours)}\n\n"
        "From the first flag on that is none of these, all belong to the module.\n"
    )


def _list(flags: Flags) -> str:
    return "\n".join(_entry(flag) for flag in flags.all)


def _entry(flag: Flag) -> str:
    value = "" if flag.kind == "switch" else " " + (flag.value or _PLACEHOLDERS[flag.kind])
    names = ", ".join(f"-{name}" for name in (flag.name, *flag.aliases))
    head = f"  {names}{value}"
    notes = ["repeatable"] if flag.many else []
    if flag.default is not None:
        shown = str(flag.default).lower() if isinstance(flag.default, bool) else str(flag.default)
        notes.append(f"default {shown}")
    text = flag.help + (f" ({', '.join(notes)})" if notes else "")
    indent = " " * _HANGING
    body = textwrap.wrap(text, WIDTH - _HANGING) or [""]
    first = f"{head:<{_HANGING}}" if len(head) < _HANGING else head + "\n" + indent
    return (first + f"\n{indent}".join(body)).rstrip()


_PLACEHOLDERS: Final = {"integer": "N", "number": "X", "text": "TEXT"}
