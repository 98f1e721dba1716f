"""`investigator action`: several people, one action. Each signs the same bytes, on their own machine."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from investigator.cli.commands import Verbatim
from investigator.cli.options import Home, PassphraseCommand, home_folder, split_command
from investigator.errors import BadInput, InvestigatorError, Refused
from investigator.printable import printable

if TYPE_CHECKING:
    from investigator.console.signed_file import SignedFile
    from investigator.console.verdict import Verdict
    from investigator.pgp.signer import Signer
    from investigator.protocol.action import Action

app = typer.Typer(name="action", help="Several people, one action.", no_args_is_help=True)
NEW_LIFE_S: Final = 3600.0
"""How long a new action is valid without `-e`: longer than `run`'s five minutes, since others still have to sign it."""

File = Annotated[Path, typer.Argument(metavar="FILE", help="The action, or its envelope.")]
AsJson = Annotated[bool, typer.Option("--json", help="As one JSON object.")]


@app.callback()
def action() -> None:
    """Several people, one action: each signs the same bytes, on their own machine.

    Signatures are files beside the action (action.json.FINGERPRINT.asc), which plain gpg verifies, or stand in its envelope.
    """


@app.command("new", cls=Verbatim)
def new(context: typer.Context) -> None:
    """Write the exact bytes to sign: `new -o action.json` and the words of `run`."""
    from investigator.cli.fleet import Asking
    from investigator.cli.request import ACTION_NEW, parse_run
    from investigator.cli.run import asked_for
    from investigator.protocol.action import utc_text
    from investigator.protocol.envelope import Envelope

    request = parse_run(context.args, prog="investigator action new", flags=ACTION_NEW)
    if request.help:
        print(request.help, end="")
        return
    out = request.out
    if out is None:
        raise BadInput("no file to write the action into (-o)", hint="`-o -` writes it to standard output.")
    asked = asked_for(request)
    if asked.envelope is not None:
        raise BadInput(f"{request.file} is signed already; `investigator action sign` adds a signature")
    if request.local or (request.target is None and asked.target == "local"):
        raise BadInput("-t local asks this machine alone, and needs nobody's signature")
    if request.expire_s is None and (asked.validfrom is None or asked.expireafter is None):
        request = replace(request, expire_s=NEW_LIFE_S)
    written = Asking(request, asked).write()
    content = written.encode()
    envelope = Envelope(action=content.decode()).encode()  # also: it fits
    _write_action(out, envelope if request.as_envelope else content)
    said = sys.stderr if out == Path("-") else sys.stdout
    print(f"wrote action {written.id}, valid until {utc_text(written.expireafter)}", file=said)
    print(f"next: investigator action sign {out}", file=said)


def _write_action(path: Path, content: bytes) -> None:
    from investigator.console.files import write_new

    if path == Path("-"):
        sys.stdout.buffer.write(content)  # these bytes and no line feed: they are what is signed
        sys.stdout.buffer.flush()
    else:
        write_new(path, content)


@app.command("sign")
def sign(
    file: File,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Sign with this exported secret key.")] = None,
    gpg: Annotated[
        str | None, typer.Option(metavar="FINGERPRINT", help="Sign with this key of gpg's keyring, through gpg-agent.")
    ] = None,
    passphrase_command: PassphraseCommand = "",
    home: Home = None,
) -> None:
    """Add your signature: beside the action, or in its envelope. Who signed already signs no second time."""
    from investigator.cli.describe import head, names_of
    from investigator.console.rules import load_rules
    from investigator.console.signed_file import check_content, read_signed_file, sign_file
    from investigator.console.verdict import judge_file

    folder, now_s = home_folder(home), time.time()
    signed = read_signed_file(file)
    prepared = check_content(signed.envelope, now_s=now_s)
    rules = load_rules(folder)
    verdict = judge_file(signed, prepared.action, rules, now_s=now_s)
    verdict.refuse_altered(str(file))
    print("\n".join(head(prepared.action, names_of(folder))))
    signer = _signer(folder, key, gpg, passphrase_command)
    if signer.fingerprint in verdict.signers:
        print(f"{file}: signed by {signer.fingerprint} already; nothing was changed")
        return
    place = sign_file(signed, signer)
    after = judge_file(read_signed_file(file), prepared.action, rules, now_s=time.time())
    print(f"signed by {signer.fingerprint} in {place}")
    if signer.fingerprint not in after.signers:
        print(f"[notice] by the keyring of {folder} that certificate does not count", file=sys.stderr)
    for weighing in after.missing:
        print(f"still missing: {printable(str(weighing))}")


@app.command("verify")
def verify(file: File, as_json: AsJson = False, home: Home = None) -> None:
    """Check every signature and weigh them by the local keyring and ACL; leaves with 3 if agents would refuse it."""
    from investigator.cli.describe import head, names_of, signature_lines, verdict_document, weight_lines
    from investigator.console.rules import load_rules
    from investigator.console.signed_file import check_content, read_signed_file
    from investigator.console.verdict import judge_file
    from investigator.protocol.action import parse_action

    folder, now_s = home_folder(home), time.time()
    signed = read_signed_file(file)
    parsed = parse_action(signed.envelope.signed_bytes)
    verdict = judge_file(signed, parsed, load_rules(folder), now_s=now_s)
    problem = ""
    try:
        check_content(signed.envelope, now_s=now_s)
    except InvestigatorError as error:
        problem = str(error)
    if as_json:
        print(verdict_document(parsed, verdict, problem))
    else:
        print("\n".join([*head(parsed, names_of(folder)), *signature_lines(verdict), *weight_lines(verdict)]))
    if problem:
        raise Refused(f"{file}: {problem}")
    verdict.refuse_altered(str(file))
    if verdict.missing:
        raise Refused(f"{file}: agents with these rules would refuse it: {'; '.join(map(str, verdict.missing))}")


@app.command("show")
def show(file: File, as_json: AsJson = False, home: Home = None) -> None:
    """Everything about an action: target, what it compiles to, subjects, window, operations, readers, signatures."""
    from investigator.cli.describe import description, document, names_of, signature_lines
    from investigator.console.dispatch import prepare
    from investigator.console.signed_file import check_same_target, read_signed_file

    folder, now_s = home_folder(home), time.time()
    signed = read_signed_file(file)
    prepared = prepare(signed.envelope)
    owners = names_of(folder)
    if as_json:
        print(document(prepared, owners, [one.place for one in signed.held]))
    else:
        verdict = _verdict_if_possible(folder, signed, prepared.action, now_s)
        lines = (
            signature_lines(verdict) if verdict else [f"signature   {one.place}, not checked" for one in signed.held]
        )
        print("\n".join([*description(prepared, owners, now_s=now_s), *(lines or ["signatures  none"])]))
    check_same_target(prepared.action)


@app.command("send", cls=Verbatim)
def send(context: typer.Context) -> int:
    """Send an action that has enough signatures, and follow it as `run` does."""
    from investigator.cli.describe import names_of
    from investigator.cli.fleet import Asking, deployment_folder
    from investigator.cli.request import ACTION_SEND, parse_run
    from investigator.console.action_file import AskedFor
    from investigator.console.rules import load_rules
    from investigator.console.signed_file import check_content, read_signed_file, sealed_for
    from investigator.console.verdict import judge_file

    request = parse_run(context.args, prog="investigator action send", flags=ACTION_SEND, takes_file=True)
    if request.help:
        print(request.help, end="")
        return 0
    assert request.file is not None
    signed, now_s = read_signed_file(request.file), time.time()
    prepared = check_content(signed.envelope, now_s=now_s)
    folder = deployment_folder(request)
    verdict = judge_file(signed, prepared.action, load_rules(folder), now_s=now_s)
    verdict.refuse_altered(str(request.file))
    if verdict.missing:
        raise Refused(
            f"{request.file}: not sent: {'; '.join(map(str, verdict.missing))}",
            hint=f"`investigator action sign {request.file}` adds a signature.",
        )
    action = prepared.action
    print(f"[notice] results can be opened by {sealed_for(action, names_of(folder))}", file=sys.stderr)
    asked = AskedFor(name=action.name, target=action.target, operations=action.operations, envelope=signed.envelope)
    return Asking(request, asked).go()


def _signer(folder: Path, key: Path | None, gpg: str | None, passphrase_command: str) -> Signer:
    """The signer that the words name, else the deployment's."""
    from investigator.config import CONSOLE_FILE, Signing, load_console
    from investigator.console.keys import load_signer
    from investigator.console.passphrase import Passphrase

    if key is not None and gpg is not None:
        raise BadInput("--key and --gpg: one of the two")
    chosen = key is not None or gpg is not None
    config = load_console(folder) if not chosen or (folder / CONSOLE_FILE).exists() else None
    command = split_command(passphrase_command) or (config.passphrase_command if config else ())
    signing = Signing(key=key, gpg=gpg) if chosen or config is None else config.signer
    return load_signer(signing, Passphrase("the investigator's key", command))


def _verdict_if_possible(folder: Path, signed: SignedFile, action: Action, now_s: float) -> Verdict | None:
    """None where there are no rules here to judge by: an action can be looked at anywhere."""
    from investigator.console.rules import load_rules
    from investigator.console.verdict import judge_file

    try:
        return judge_file(signed, action, load_rules(folder), now_s=now_s)
    except InvestigatorError as error:
        print(f"[notice] signatures are not checked: {printable(str(error))}", file=sys.stderr)
        return None
