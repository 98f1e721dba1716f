"""Write docs/modules/NAME.md for each module of the catalogue, and their list, from the modules' declarations.

Run by `make docs`; a test says when a page is not what this would write.

    .venv/bin/python tools/module_pages.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from investigator.cli.manual import (  # noqa: E402
    SYSTEMS,
    default_text,
    flags_of,
    need_text,
    paragraphs,
    placeholder,
)
from investigator.cli.parameters import Row, parameter_rows, struct_rows  # noqa: E402
from investigator.modules import MODULES, get_module  # noqa: E402
from investigator.modules.flags import Flag  # noqa: E402 - from this tree, installed or not
from investigator.modules.interface import Spec  # noqa: E402

PAGES: Final = ROOT / "docs/modules"
INDEX: Final = "README.md"
KEYS: Final = ("key", "type", "default", "meaning")
BY_HAND: Final = frozenset(("writing.md",))
_GENERATED: Final = "<!-- Written by `make docs` from the module's declaration: change that, not this. -->\n"


def main() -> int:
    """Write what differs and remove pages of modules that are gone; with --check only name them, and return 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    wanted = pages()
    stale = stale_pages(wanted)
    for name in stale:
        print(f"docs/modules/{name} is not what the declarations say" if check else f"docs/modules/{name}")
        if check:
            continue
        if name in wanted:
            PAGES.mkdir(parents=True, exist_ok=True)
            (PAGES / name).write_text(wanted[name], encoding="utf-8")
        else:
            (PAGES / name).unlink()
    return int(check and bool(stale))


def stale_pages(wanted: dict[str, str]) -> list[str]:
    """The names of pages that differ from what is wanted, that lack, and that nobody wants any more."""
    there = {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md") if path.name not in BY_HAND}
    return sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))


def pages() -> dict[str, str]:
    """Every page, by its file's name."""
    made = {f"{name}.md": page(get_module(name).spec, getattr(get_module(name), "settings", None)) for name in MODULES}
    return {INDEX: index(), **made}


def index() -> str:
    """The list of modules."""
    rows = [
        (f"[{name}]({name}.md)", get_module(name).spec.summary, systems(get_module(name).spec))
        for name in sorted(MODULES)
    ]
    return (
        f"{_GENERATED}# Modules\n\n"
        "What can be asked of a host. `investigator help MODULE` prints the same pages, `investigator module MODULE\n"
        "--schema` the JSON Schema of the parameters. [writing.md](writing.md) shows how to add one.\n\n"
        f"{table(('module', 'what it does', 'systems'), rows)}"
    )


def page(spec: Spec, settings: type[msgspec.Struct] | None) -> str:
    """One module's manual; `settings` is what one that runs all the time takes from agent.toml."""
    parts = [f"{_GENERATED}# {spec.name}", f"{sentence(spec.summary)} Runs on {systems(spec)}."]
    if spec.needs:
        parts.append("\n".join(f"- Needs {need_text(need)}." for need in spec.needs))
    parts += paragraphs(spec)
    if spec.examples:
        lines = [f"# {what}\ninvestigator run {spec.name} {line}".rstrip() for what, line in spec.examples]
        parts += ["## Examples", "```sh\n" + "\n\n".join(lines) + "\n```"]
    if settings is not None:
        rows = [parameter_row(row) for row in struct_rows(settings)]
        parts += ["## Settings", f"In the table `[modules.{spec.name}]` of agent.toml, all of them optional."]
        parts.append(table(KEYS, rows).rstrip())
    flags = flags_of(spec).all
    if flags:
        rows = [flag_row(flag) for flag in flags]
        parts += [
            "## Flags",
            "One with × may be given several times.",
            table(("flag", "sets", "default", "meaning"), rows).rstrip(),
        ]
    elif spec.flags is None:
        parts += ["## Flags", "None: its parameters come from an action file, `investigator run -i FILE`."]
    rows = [parameter_row(row) for row in parameter_rows(spec)]
    if rows:
        parts += ["## Parameters", "An operation's `parameters`, as JSON. Other keys are refused."]
        parts.append(table(KEYS, rows).rstrip())
    else:
        parts += ["## Parameters", "None."]
    return "\n\n".join(parts) + "\n"


def flag_row(flag: Flag) -> tuple[str, ...]:
    """A flag, as a row of its table."""
    value = f" {placeholder(flag)}" if placeholder(flag) else ""
    names = ", ".join(f"`-{name}{value}`" for name in (flag.name, *flag.aliases)) + (" ×" if flag.many else "")
    default = f"`{default_text(flag)}`" if default_text(flag) else ""
    return names, f"`{'.'.join(flag.path)}`", default, flag.help


def parameter_row(row: Row) -> tuple[str, ...]:
    """A key, as a row of its table."""
    default = "required" if row.required else f"`{row.default}`" if row.default else ""
    return f"`{row.path}`", row.kind, default, row.text


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, or nothing where there is no row."""
    if not rows:
        return ""
    lines = [heads, ["---"] * len(heads), *([_cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cell(text: str) -> str:
    """Text that is no Markdown of its own: a bar would end the cell, and `<N or >` is a tag."""
    return text.replace("|", "\\|") if text.startswith("`") else text.replace("|", "\\|").replace("<", "&lt;")


def systems(spec: Spec) -> str:
    """Where it runs."""
    return ", ".join(name for system, name in SYSTEMS.items() if system in spec.platforms)


def sentence(text: str) -> str:
    """A summary as a sentence."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


if __name__ == "__main__":
    sys.exit(main())
