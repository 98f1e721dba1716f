"""The table of commands, and the typer group that loads one when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.main import get_command, get_group

from investigator import __version__
from investigator.cli import DEBUG, PipeClosed
from investigator.cli.light import LightCommand, LightGroup
from investigator.errors import BadInput


@dataclass(frozen=True, slots=True)
class Command:
    """Where a command lives (`package.module:attribute`, a function or a `typer.Typer`), and what it is for."""

    place: str
    summary: str
    verbatim: bool = False
    """Its words are not typer's to read: it gets them all, `--help` included, as `ctx.args`."""
    plain: bool = False
    """Likewise, and it knows nothing of typer: it is a function of its words that returns the exit code."""


COMMANDS: Final[dict[str, Command]] = {
    "run": Command("investigator.cli.run:run", "Ask the fleet, or this machine: one module, or an action file.", verbatim=True),
    "action": Command("investigator.cli.action:app", "Several people, one action: write, sign, verify, show, send."),
    "cancel": Command("investigator.cli.cancel:cancel", "Stop an action: where it runs, and where it was not heard of yet."),
    "results": Command("investigator.cli.results:results", "An action's answers again: later, or with another console's key."),
    "actions": Command("investigator.cli.actions:actions", "What was asked, when, by whom, and how it stands."),
    "sync": Command("investigator.cli.sync:sync", "Add to the console's store what the streams have and it lacks."),
    "agents": Command("investigator.cli.agents:app", "List the agents: name, os, tags, version, last seen, status."),
    "alerts": Command("investigator.cli.alerts:alerts", "What agents noticed by themselves; acknowledge it."),
    "target": Command("investigator.cli.target:target", "Explain a target without sending anything."),
    "help": Command("investigator.cli.help:show", "A module's manual, or a command's; without a name, the modules."),
    "module": Command("investigator.cli.module:module", "Run one module here on parameters from standard input."),
    "init": Command("investigator.cli.init:init", "Make a deployment: keys, keyring, ACL, credentials, configuration."),
    "broker": Command("investigator.cli.broker:app", "Run the deployment's broker; configure a cluster instead."),
    "enrol": Command("investigator.cli.enrol:app", "Who is one of ours: tokens, approvals, revocations."),
    "status": Command("investigator.cli.status:status", "What needs care in the deployment; how agents fare."),
    "gateway": Command("investigator.cli.gateway:app", "Answer scripts over NATS; make and use their credentials."),
    "agent": Command("investigator.cli.agent:agent", "Run this host's agent; ask it how it fares.", verbatim=True, plain=True),
    "acl": Command("investigator.cli.acl:app", "Who may do what, and what signatures an action still needs."),
    "keys": Command("investigator.cli.keys:app", "OpenPGP keys and signatures."),
    "audit": Command("investigator.cli.audit:app", "What agents decided, and whether that was tampered with."),
    "people": Command("investigator.cli.people:app", "Further investigators: invite, join, add, remove."),
    "simulate": Command("investigator.cli.simulate:simulate", "What so many agents need of a broker, measured."),
    "demo": Command("investigator.cli.demo:demo", "A broker, three agents, four investigations, in a scratch folder."),
}  # fmt: skip


class Verbatim(LightCommand):
    """A command that reads its words itself."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave the words as they are."""
        ctx.args = [*args]
        return [*args]


class LazyGroup(LightGroup):
    """The commands of the table; help needs their summaries only."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """Their names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load it.

        Raises:
            BadInput: there is none of that name.
        """
        if cmd_name not in COMMANDS:
            if ctx.resilient_parsing:
                return None
            raise _no_command(cmd_name)
        command = COMMANDS[cmd_name]
        module, _, attribute = command.place.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            found.rich_markup_mode = None
            return get_group(found)
        if command.plain:
            found = _with_context(found)
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name, cls=Verbatim if command.verbatim else LightCommand)(found)
        return get_command(app)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - typer's signature
        """The table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in COMMANDS.items()])

    def make_context(self, *words: Any, **more: Any) -> Any:
        """Read the words, which prints help and version; see `invoke` for a reader who left."""
        with _reader_may_leave():
            return super().make_context(*words, **more)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a reader who left is for `main` to judge, not for typer, which would exit with 1."""
        with _reader_may_leave():
            return super().invoke(ctx)


def _with_context(plain: Callable[[Sequence[str]], int]) -> Callable[[typer.Context], int]:
    def command(context: typer.Context) -> int:
        return plain(context.args)

    return command


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise PipeClosed from None


def root_command() -> Any:
    """The command `investigator`, ready for `.main(words, standalone_mode=False)`."""
    app = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode=None, no_args_is_help=True)
    app.callback()(_root)
    return get_command(app)


def _root(
    version: Annotated[  # noqa: ARG001 - its callback does it
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Print the version."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="With an internal error, show its traceback.")] = False,
) -> None:
    """Ask thousands of hosts one question, and have every answer seconds later."""
    if debug:
        os.environ[DEBUG] = "1"


def _version(asked: bool) -> None:
    if asked:
        print(f"investigator {__version__}")
        raise typer.Exit


def _no_command(name: str) -> BadInput:
    from investigator.nearest import nearest

    near = nearest(name, COMMANDS)
    return BadInput(
        f"there is no command {name[:60]!r}" + (f"; did you mean '{near}'?" if near else ""),
        hint="`investigator --help` lists them.",
    )
