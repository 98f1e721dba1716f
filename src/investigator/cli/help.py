"""`investigator help`: the modules; a module's manual, or a command's."""

from __future__ import annotations

from typing import Annotated

import typer


def show(
    name: Annotated[str, typer.Argument(metavar="[MODULE|COMMAND]", help="Of what; without it, of the modules.")] = "",
) -> int:
    """Print a module's manual, or a command's; without a name, the list of modules."""
    from investigator.cli.commands import COMMANDS
    from investigator.cli.manual import flags_of, module_help, overview
    from investigator.cli.request import GLOBALS
    from investigator.modules import MODULES, get_module

    if not name:
        print(overview(), end="")
        return 0
    if name in COMMANDS and name not in MODULES:
        from investigator.cli import main

        return main([name, "--help"])
    module = get_module(name)
    spec, settings = module.spec, getattr(module, "settings", None)
    print(module_help(spec, flags_of(spec), GLOBALS, prog="investigator run", settings=settings), end="")
    return 0
