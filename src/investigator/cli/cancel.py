"""`investigator cancel`: stop an action on every agent, and on those that have not heard of it yet."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from investigator.cli.options import Home, Output, home_folder
from investigator.errors import BadInput, Incomplete

if TYPE_CHECKING:
    from investigator.broker.connection import Broker
    from investigator.config import ConsoleConfig
    from investigator.console.audience import Summary
    from investigator.console.cancelling import Cancelling
    from investigator.console.passphrase import Passphrase
    from investigator.console.render import Output as Form
    from investigator.console.stopping import Stopped
    from investigator.console.store import Store
    from investigator.protocol.action import Action
    from investigator.protocol.piece import Piece
    from investigator.protocol.result import Outcome, State

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

    from investigator.cli.request import life_s
    from investigator.config import load_console

    if (file is None) == (not action):
        raise BadInput("an action's id, or -i with a cancel that is signed already: one of the two")
    if file is not None and (digest or reason):
        raise BadInput("with -i the cancel is signed already: --digest and --reason have no place")
    follow_s = 0.0 if follow == "0" else life_s(follow, what="--follow")
    config = load_console(home_folder(home))
    wanted = _Wanted(action, file, digest, reason, follow_s, sign_only, output, home_folder(home))
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
    from investigator.console.cancelling import find_action, sign_cancel, write_cancel
    from investigator.console.keys import load_sealto, load_signer
    from investigator.console.link import console_link
    from investigator.console.passphrase import Passphrase
    from investigator.console.store import Store

    passphrase = Passphrase("the investigator's key", config.passphrase_command)
    async with console_link(config) as broker, Store(config.store) as store:
        if wanted.file is not None:
            unsigned = _read(wanted.file)
        else:
            found = await find_action(wanted.action, store, broker, digest=wanted.digest)
            sealto = None if config.sealing_key is None else load_sealto(config.sealing_key, passphrase)
            unsigned = write_cancel(
                wanted.action, found, digest=wanted.digest, reason=wanted.reason, sealto=sealto, now_s=time.time()
            )
        signed = sign_cancel(unsigned, load_signer(config.signer, passphrase))
        if wanted.sign_only:
            print(signed.envelope.encode().decode())
            return 0
        return await _send(signed, wanted, config, passphrase, broker, store)


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


async def _send(  # noqa: PLR0917 - what an open console consists of
    signed: Cancelling, wanted: _Wanted, config: ConsoleConfig, passphrase: Passphrase, broker: Broker, store: Store
) -> int:
    import base64

    from investigator.cli.signals import stop_event
    from investigator.console.cancelling import publish_cancel
    from investigator.console.keys import load_sealing_key
    from investigator.console.render import renderer
    from investigator.console.rules import rules_in_force
    from investigator.console.stopping import stop_and_follow
    from investigator.protocol.sealing import public_sealing_key

    action = signed.action
    key = None if config.sealing_key is None else load_sealing_key(config.sealing_key, passphrase)
    own = None if key is None else base64.b64encode(public_sealing_key(key)).decode()
    why = ""
    if action is None:
        why = "the action is not known here, so nobody can say who ran it"
    elif action.action.sealto not in (None, own):
        why = "its results are sealed to another console, which hears how its agents end"
    if not wanted.follow_s or action is None or why:
        await publish_cancel(signed, broker, now_s=time.time())
        print(f"cancelled: action {signed.cancel.id}" + (f"; {why}" if why else ""), file=sys.stderr)
        return 0
    stop = stop_event()
    modules = [operation.module for operation in action.action.operations]
    form: Form = wanted.output.value
    audience = _Lines() if form == "text" else renderer(form, show="all", modules=modules)
    stopped = await stop_and_follow(
        signed,
        action,
        broker,
        store,
        audience,
        rules=rules_in_force(wanted.home, audience.warn),
        policy=config.enrolment,
        private_key=key,
        started=lambda stopped: _say_started(action.action, stopped),
        follow_s=wanted.follow_s,
        stop=stop,
    )
    if stop.is_set():
        return INTERRUPTED
    if stopped.working:
        print(f"{stopped.working} not heard of within {wanted.follow_s:g} s: slow to stop, or gone", file=sys.stderr)
    return Incomplete.exit_code if stopped.refused or stopped.working else 0


def _say_started(action: Action, stopped: Stopped) -> None:
    agents = "agent" if stopped.running == 1 else "agents"
    print(
        f"cancelled: action {action.id}; {stopped.ended_before} had ended, {stopped.running} {agents} may be running it",
        file=sys.stderr,
    )


class _Lines:
    """A line on standard output for each agent that ends, the rest on standard error."""

    def started(self, action: Action, *, targeted: int, expected: int) -> None:
        """Said by `_say_started`, which knows more."""

    def piece(self, agent: str, name: str, piece: Piece) -> bool:  # noqa: ARG002
        """What was found is for whoever asked."""
        return False

    def outcome(self, agent: str, name: str, state: State, outcome: Outcome | None) -> None:  # noqa: ARG002
        from investigator.console.render_parts import why
        from investigator.printable import printable

        reason = why(outcome)
        print(f"{printable(name)} {state}" + (f" ({reason})" if reason else ""), flush=True)

    def progress(self, *, targeted: int, answered: int, found: int, failed: int, elapsed_s: float) -> None:
        """It takes a second; there is nothing to watch."""

    def summary(self, summary: Summary) -> None:
        """The lines have said it."""

    def warn(self, text: str) -> None:
        from investigator.printable import printable

        print(f"warning: {printable(text)}", file=sys.stderr)
