"""`investigator run`: one investigation, from the words that were typed to the last answer.

`request` reads the words, `local` asks this machine alone, `fleet` everybody else.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import typer

from investigator import __version__
from investigator.cli import DEBUG
from investigator.cli.limits import with_limits
from investigator.cli.request import LOCAL, RunRequest, parse_run
from investigator.console.action_file import AskedFor, read_action_file
from investigator.errors import BadInput
from investigator.printable import printable
from investigator.protocol.action import Operation


def run(context: typer.Context) -> int:
    """Ask the fleet, or this machine: one module, or an action file."""
    return ask(parse_run(context.args))


def ask(request: RunRequest) -> int:
    """Do what was asked; the exit code is 0, 6 if some agent did not answer what was asked, or 130 after Ctrl-C.

    Raises:
        InvestigatorError: in one line, what stands in the way.
    """
    if request.help:
        print(request.help, end="")
        return 0
    if request.version:
        print(f"investigator {__version__}")
        return 0
    if request.debug:
        os.environ[DEBUG] = "1"
    asked = asked_for(request)
    for note in asked.notes:
        print(f"[notice] {printable(note)}", file=sys.stderr)
    if request.local or (request.target is None and asked.target == LOCAL):
        from investigator.cli.local import run_locally

        return run_locally(request, asked)
    from investigator.cli.fleet import Asking

    return Asking(request, asked).go()


def asked_for(request: RunRequest) -> AskedFor:
    """What the words, or the action file, ask."""
    if request.file is not None:
        asked = read_action_file(request.file, local=request.local)
        if asked.envelope is not None:
            _unchanged(request)
        return replace(asked, operations=with_limits(asked.operations, request.limits))
    operation = Operation(module=request.module or "", parameters=request.parameters, limits=request.limits)
    return AskedFor(name=request.name, target=request.target or "", operations=(operation,))


def _unchanged(request: RunRequest) -> None:
    """Refuse what would change an action that is signed already.

    Raises:
        BadInput: naming the flag.
    """
    for given, flag in (
        (request.target, "-t"),
        (request.expire_s, "-e"),
        (request.named, "-n"),
        (request.compress, "-z"),
        (request.limits, "-limit"),
        (request.target_found, "-target-found"),
        (request.target_notfound, "-target-notfound"),
    ):
        if given:
            raise BadInput(f"{flag}: {request.file} is signed, and is sent as it is")
