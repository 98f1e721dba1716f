"""Help, written from declarations: a module's manual, the list of modules, and the help of `run` and `mig`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

import msgspec

from investigator.cli.parameters import Row, parameter_rows, struct_rows
from investigator.modules import MODULES, get_module
from investigator.modules.flags import Flag, Flags, module_flags
from investigator.modules.interface import ANYWHERE, Need, Spec

WIDTH: Final = 100
SYSTEMS: Final = {"linux": "Linux", "darwin": "macOS", "windows": "Windows"}
_HANGING: Final = 26


def overview() -> str:
    """The modules, a line each, and where to read on."""
    names = sorted(MODULES)
    width = max(map(len, names)) + 2
    lines = [_hung(f"  {name:<{width}}", _summary(name), width + 2) for name in names]
    return (
        "modules, which answer one question each:\n" + "\n".join(lines) + "\n\n"
        "`investigator help MODULE` is a module's manual, `investigator help COMMAND` a command's,\n"
        "`investigator --help` lists the commands.\n"
    )


def _summary(name: str) -> str:
    """What a module does; one that this system cannot even load does not hide the others."""
    try:
        return get_module(name).spec.summary
    except ImportError as error:
        return f"(cannot be loaded here: {error})"


def module_help(
    spec: Spec, flags: Flags, ours: Flags, *, prog: str, settings: type[msgspec.Struct] | None = None
) -> str:
    """A module's manual: what it does, its flags with values and defaults, what it needs, examples.

    `settings` is what a module that runs all the time takes from agent.toml.
    """
    systems = "" if spec.platforms == ANYWHERE else f" (on {', '.join(sorted(spec.platforms))})"
    parts = [textwrap.fill(f"{spec.name}: {spec.summary}{systems}", WIDTH)]
    if spec.flags is None:
        parts.append(
            textwrap.fill(f"It has no flags: write its parameters into an action file, `{prog} -i FILE`.", WIDTH)
        )
        parts.append("parameters (JSON):\n" + "\n".join(_row(row) for row in parameter_rows(spec)))
    elif not flags.all:
        parts.append(f"usage: {prog} [-t TARGET] [...] {spec.name}")
    else:
        parts.append(f"usage: {prog} [-t TARGET] [...] {spec.name} FLAGS")
        parts.append("flags (-x VALUE, -x=VALUE; with one dash or two):\n" + _list(flags))
    parts += [textwrap.fill(paragraph, WIDTH) for paragraph in paragraphs(spec)]
    if settings is not None:
        rows = "\n".join(_row(row) for row in struct_rows(settings))
        parts.append(f"settings, in the table [modules.{spec.name}] of agent.toml:\n{rows}")
    if spec.needs:
        parts.append("needs:\n" + "\n".join(_hung("  ", need_text(need), 2) for need in spec.needs))
    if spec.examples:
        shown = [f"  {what}:\n    {prog} {spec.name} {line}".rstrip() for what, line in spec.examples]
        parts.append("examples:\n" + "\n".join(shown))
    others = ", ".join(f"-{flag.name}" for flag in ours.all)
    parts.append(
        textwrap.fill(f"Beside these: {others}; `{prog} --help` explains them.", WIDTH, break_on_hyphens=False)
    )
    parts.append(
        textwrap.fill(f"`investigator module {spec.name} --schema` prints the JSON parameters' schema.", WIDTH)
    )
    return "\n\n".join(parts) + "\n"


def flags_of(spec: Spec) -> Flags:
    """The module's flags; none where it has no command line."""
    return Flags(()) if spec.flags is None else module_flags(spec.flags)


def paragraphs(spec: Spec) -> Iterator[str]:
    """Those of the declaration's details, each in one line."""
    for paragraph in spec.details.split("\n\n"):
        if paragraph.strip():
            yield " ".join(paragraph.split())


def need_text(need: Need) -> str:
    """A need as a phrase."""
    called = {
        "root": "root",
        "capability": f"{need.name} (on Linux; elsewhere root)",
        "package": f"the Python package {need.name}",
        "program": f"the program {need.name}",
        "path": need.name,
    }[need.kind]
    return f"{called} to {need.why}" + ("" if need.essential else "; without it, it still runs, and does less")


def default_text(flag: Flag) -> str:
    """What a flag sets where it is absent, as it would be written; empty where that is nothing."""
    if flag.default is None:
        return ""
    return str(flag.default).lower() if isinstance(flag.default, bool) else str(flag.default)


def placeholder(flag: Flag) -> str:
    """What stands for a flag's value in help; empty for a switch."""
    return "" if flag.kind == "switch" else flag.value or _PLACEHOLDERS[flag.kind]


def command_help(prog: str, ours: Flags, *, takes_file: bool = False) -> str:
    """The manual of `run` and `mig`, and of what takes their flags; with `takes_file` of what takes no module."""
    if takes_file:
        return f"usage: {prog} [flags] FILE\n\nflags (-x VALUE, -x=VALUE; with one dash or two):\n{_list(ours)}\n"
    return (
        f"usage: {prog} [flags] MODULE [flags] [module flags]\n"
        f"       {prog} [flags] -i FILE\n"
        f"       {prog} MODULE --help\n\n"
        + textwrap.fill(f"modules: {', '.join(sorted(MODULES))}", WIDTH)
        + f"\n\nflags (-x VALUE, -x=VALUE; with one dash or two):\n{_list(ours)}\n\n"
        "From the first flag on that is none of these, all belong to the module.\n"
    )


def _list(flags: Flags) -> str:
    return "\n".join(_entry(flag) for flag in flags.all)


def _entry(flag: Flag) -> str:
    value = placeholder(flag)
    names = ", ".join(f"-{name}" for name in (flag.name, *flag.aliases))
    notes = ["repeatable"] if flag.many else []
    if default_text(flag):
        notes.append(f"default {default_text(flag)}")
    text = flag.help + (f" ({', '.join(notes)})" if notes else "")
    return _hung(f"  {names}{' ' if value else ''}{value}", text, _HANGING)


def _row(row: Row) -> str:
    notes = [row.kind.replace("`", ""), *(["required"] if row.required else [])]
    if row.default:
        notes.append(f"default {row.default}")
    return _hung(f"  {row.path}", f"{row.text}{' ' if row.text else ''}({', '.join(notes)})", _HANGING)


def _hung(head: str, text: str, indent: int) -> str:
    """The text beside its head, or below a head that is too long."""
    margin = " " * indent
    body = textwrap.wrap(text, WIDTH - indent) or [""]
    first = f"{head:<{indent}}" if len(head.rstrip()) < indent else head + "\n" + margin
    return (first + f"\n{margin}".join(body)).rstrip()


_PLACEHOLDERS: Final = {"integer": "N", "number": "X", "text": "TEXT"}
