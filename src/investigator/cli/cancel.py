"""`investigator cancel`: stop an action on every agent, and on those that have not heard of it yet."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from investigator.cli.options import Home, Output, home_folder
from investigator.console.audience import Unmoved
from investigator.errors import BadInput, Incomplete
from investigator.printable import printable

if TYPE_CHECKING:
    from investigator.config import ConsoleConfig
    from investigator.console.audience import Shown
    from investigator.console.cancelling import Cancelling
    from investigator.console.investigator import Investigator
    from investigator.console.render import Output as Form
    from investigator.console.stopping import Stopped
    from investigator.protocol.result import Outcome

INTERRUPTED = 130


def cancel(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="The action's id.")] = "",
    *,
    home: Home = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; agents say it in their answers.")] = "",
    digest: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The action's digest, where neither this console nor the stream has it."),
    ] = None,
    follow: Annotated[
        str, typer.Option(metavar="DURATION", help="How long to wait for the agents that run it; 0 waits for none.")
    ] = "15s",
    sign_only: Annotated[
        bool, typer.Option("--sign-only", help="Print the signed cancel instead of sending it: for the next signer.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("-i", metavar="FILE", help="A cancel that somebody signed already: add a signature, and send it."),
    ] = None,
    output: Annotated[Output, typer.Option(help="How to write how the agents end.")] = Output.TEXT,
) -> int:
    """Stop an action: at once where it runs, and before it starts where it is not known yet.

    It takes one of those who signed the action, or the weight that an agent's ACL asks for `cancel`. An agent that ended
    stays as it is. Leaves with 0 when all that ran have ended, and with 6 if some have not, or refuse.
    """
    import asyncio

    from investigator.cli.console_log import console_log
    from investigator.cli.request import life_s
    from investigator.config import load_console

    if (file is None) == (not action):
        raise BadInput("an action's id, or -i with a cancel that is signed already: one of the two")
    if file is not None and (digest or reason):
        raise BadInput("with -i the cancel is signed already: --digest and --reason have no place")
    follow_s = 0.0 if follow == "0" else life_s(follow, what="--follow")
    config = load_console(home_folder(home))
    wanted = _Wanted(action, file, digest, reason, follow_s, sign_only, output, home_folder(home))
    with console_log(config):
        return asyncio.run(_cancel(config, wanted))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What was typed."""

    action: str
    file: Path | None
    digest: str | None
    reason: str
    follow_s: float
    sign_only: bool
    output: Output
    home: Path


async def _cancel(config: ConsoleConfig, wanted: _Wanted) -> int:
    from investigator.console.author import Author
    from investigator.console.investigator import Investigator
    from investigator.console.passphrase import Passphrase

    author = Author(wanted.home, config, Passphrase("the investigator's key", config.passphrase_command))
    async with Investigator(author=author) as console:
        if wanted.file is not None:
            unsigned = _read(wanted.file)
        else:
            unsigned = await console.write_cancel(wanted.action, reason=wanted.reason, digest=wanted.digest)
        signed = author.sign_cancel(unsigned)
        if wanted.sign_only:
            print(signed.envelope.encode().decode())
            return 0
        if signed.action is not None and wanted.follow_s:
            author.key_for(signed.action.action)  # a person who is asked for its passphrase can still leave with Ctrl-C
        return await _send(signed, wanted, console)


def _read(file: Path) -> Cancelling:
    from investigator.console.cancelling import check_cancel
    from investigator.protocol.cancel import MAX_CANCEL_ENVELOPE_BYTES, decode_cancel_envelope

    try:
        with file.open("rb") as opened:
            raw = opened.read(MAX_CANCEL_ENVELOPE_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}") from None
    cancelling = check_cancel(decode_cancel_envelope(raw), now_s=time.time())
    name = f" {cancelling.action.action.name!r}" if cancelling.action else ""
    print(
        f"a cancel of action {cancelling.cancel.id}{name}: {cancelling.cancel.reason or 'no reason'}", file=sys.stderr
    )
    return cancelling


async def _send(signed: Cancelling, wanted: _Wanted, console: Investigator) -> int:
    from investigator.cli.signals import stop_event
    from investigator.console.render import renderer

    action = signed.action
    modules = [operation.module for operation in action.action.operations] if action is not None else []
    form: Form = wanted.output.value
    stop = stop_event()
    stopped = await console.send_cancel(
        signed,
        follow_s=wanted.follow_s,
        audience=_Lines() if form == "text" else renderer(form, show="all", modules=modules),
        started=lambda stopped: _say_started(signed.cancel.id, stopped),
        stop=stop,
    )
    if stopped.unfollowed:
        print(
            f"cancelled: action {signed.cancel.id}" + (f"; {stopped.unfollowed}" if wanted.follow_s else ""),
            file=sys.stderr,
        )
        return 0
    if stop.is_set():
        return INTERRUPTED
    if stopped.working:
        print(f"{stopped.working} not heard of within {wanted.follow_s:g} s: slow to stop, or gone", file=sys.stderr)
    return Incomplete.exit_code if stopped.refused or stopped.working else 0


def _say_started(action: str, stopped: Stopped) -> None:
    agents = "agent" if stopped.running == 1 else "agents"
    print(
        f"cancelled: action {action}; {stopped.ended_before} had ended, {stopped.running} {agents} may be running it",
        file=sys.stderr,
    )


class _Lines(Unmoved):
    """A line on standard output for each agent that ends, warnings on standard error."""

    def __init__(self) -> None:
        super().__init__(lambda text: print(f"warning: {printable(text)}", file=sys.stderr))

    def outcome(
        self,
        agent: str,  # noqa: ARG002
        name: str,
        state: Shown,
        outcome: Outcome | None,
        *,
        unfinished: bool = False,  # noqa: ARG002 - what was found is for whoever asked
    ) -> None:
        from investigator.console.render_parts import why

        reason = why(outcome)
        print(f"{printable(name)} {state}" + (f" ({reason})" if reason else ""), flush=True)
