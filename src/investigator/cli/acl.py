"""`investigator acl`: who may do what, and whether an action has the signatures that it needs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from investigator.cli.options import Home, Output, home_folder
from investigator.errors import BadInput, Refused
from investigator.printable import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from investigator.console.rules import Judged, Rules
    from investigator.protocol.acl import Weighing

app = typer.Typer(name="acl", help="Who may do what, alone and together.", no_args_is_help=True)

AclFile = Annotated[
    Path | None, typer.Option("--acl", metavar="FILE", help="This ACL, JSON or TOML, not the deployment's.")
]
KeyringFolder = Annotated[
    Path | None, typer.Option("--keyring", metavar="DIR", help="This folder of certificates, not the deployment's.")
]
AsOutput = Annotated[Output, typer.Option(help="How to write it; text or json.")]


@app.callback()
def acl() -> None:
    """Who may do what, alone and together: by the ACL and the keyring that the deployment's agents have."""


@app.command()
def explain(
    acl: AclFile = None, keyring: KeyringFolder = None, output: AsOutput = Output.TEXT, home: Home = None
) -> None:
    """Print the table: for each module the minimum, the weights, who reaches it alone, and who together."""
    from investigator.console.rules import load_rules

    _text_or_json(output)
    rules = load_rules(home_folder(home), acl=acl, keyring=keyring)
    print(_explained_json(rules) if output is Output.JSON else _explained(rules))


@app.command()
def check(  # noqa: PLR0917 - typer takes them by name
    file: Annotated[Path, typer.Argument(metavar="ACTION_FILE", help="An envelope, an action, or an action file.")],
    signature: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SIG", help="One more detached signature; those beside the action are read by themselves."
        ),
    ] = None,
    acl: AclFile = None,
    keyring: KeyringFolder = None,
    output: AsOutput = Output.TEXT,
    home: Home = None,
) -> None:
    """Say for each operation who signed, what that weighs and what is missing. Nothing is sent.

    Leaves with 0 where agents with these rules would take the signatures, and with 3 where they would not.
    """
    from investigator.console.rules import judge_signatures, load_rules

    _text_or_json(output)
    rules, now_s = load_rules(home_folder(home), acl=acl, keyring=keyring), time.time()
    data, held, modules = _read(file, signature or [])
    judged = judge_signatures(data, held, modules, rules, now_s=now_s)
    print(_checked_json(judged, rules, now_s) if output is Output.JSON else _checked(judged, rules, now_s))
    if judged.shortages:
        told = "; ".join(printable(str(one)) for one in judged.shortages)
        raise Refused(f"{file}: agents with these rules would refuse it: {told}")


def _text_or_json(output: Output) -> None:
    if output not in (Output.TEXT, Output.JSON):
        raise BadInput(f"--output {output.value}: this is written as text or json")


def _read(file: Path, more: Sequence[Path]) -> tuple[bytes, list[tuple[str, str]], list[str]]:
    """The bytes that were signed (none yet where a file says only what to ask), their signatures, the modules that run.

    A signature is (where it stands, its text), as `judge_signatures` takes it.
    """
    from investigator.console.action_file import read_action_file
    from investigator.console.signed_file import STANDARD_INPUT, armored_signature, read_signed_file
    from investigator.protocol.action import parse_action
    from investigator.protocol.envelope import MAX_SIGNATURES

    try:
        signed = read_signed_file(file)
    except BadInput:
        if more or file == STANDARD_INPUT:
            raise
        return b"", [], [operation.module for operation in read_action_file(file).operations]
    held = [(one.place, one.text) for one in signed.held] + [(str(path), armored_signature(path)) for path in more]
    if len(held) > MAX_SIGNATURES:
        raise BadInput(f"{file}: {len(held)} signatures; an action has {MAX_SIGNATURES} at most")
    data = signed.envelope.signed_bytes
    return data, held, [operation.module for operation in parse_action(data).operations]


def _explained(rules: Rules) -> str:
    from investigator.console.rule_table import rule_tables, without_weight

    now_s = time.time()
    days = rules.max_signature_age_s / 86_400
    lines = [
        f"ACL {printable(str(rules.acl_file))}, keyring {printable(str(rules.keyring_folder))}",
        f"a signature counts for {days:g} days" if days >= 1 else f"a signature counts for {days * 86_400:g} s",
    ]
    lines += [f"NOT IN FORCE: {printable(name)}: {printable(reason)}" for name, reason in rules.keyring.refused]
    for table in rule_tables(rules, now_s=now_s):
        lines += ["", *table.lines()]
    idle = without_weight(rules, now_s=now_s)
    if idle:
        lines += ["", "in the keyring, and without weight for anything:"]
        lines += [f"  {one.fingerprint}  {printable(', '.join(one.user_ids))}" for one in idle]
    return "\n".join(lines)


def _explained_json(rules: Rules) -> str:
    from investigator.console.rule_table import rule_tables, without_weight

    now_s = time.time()
    return _json(
        {
            "acl": str(rules.acl_file),
            "keyring": str(rules.keyring_folder),
            "maxsignatureage_s": rules.max_signature_age_s,
            "entries": [table.document() for table in rule_tables(rules, now_s=now_s)],
            "without_weight": [one.fingerprint for one in without_weight(rules, now_s=now_s)],
            "not_in_force": [{"file": name, "reason": reason} for name, reason in rules.keyring.refused],
        }
    )


def _checked(judged: Judged, rules: Rules, now_s: float) -> str:
    lines = [f"good  {signer} ({printable(place)})" for place, signer in judged.good]
    lines += [f"bad   {printable(reason)} ({printable(place)})" for place, reason in judged.bad]
    for weighing in judged.weighings:
        lines.append(_told(weighing))
        if weighing.missing:
            lines.append(f"      would do: {_would_do(weighing, judged, rules, now_s)}")
    return "\n".join(lines)


def _told(weighing: Weighing) -> str:
    where = f"by entry {weighing.entry}" if weighing.entry else "no entry rules it, and there is no default"
    verdict = f"{weighing.missing} MISSING" if weighing.missing else "enough"
    need = f"needs {weighing.need}, has {weighing.got}"
    return printable(f"{weighing.module}: {need} ({where}): {weighing.signed}; {verdict}")


def _would_do(weighing: Weighing, judged: Judged, rules: Rules, now_s: float) -> str:
    from investigator.console.rule_table import told_ways, ways_to_complete

    return told_ways(ways_to_complete(weighing, judged.signers, rules, now_s=now_s))


def _checked_json(judged: Judged, rules: Rules, now_s: float) -> str:
    from investigator.console.rule_table import ways_to_complete

    operations = []
    for one in judged.weighings:
        ways = ways_to_complete(one, judged.signers, rules, now_s=now_s)
        operations.append(
            {
                "module": one.module,
                "entry": one.entry,
                "need": one.need,
                "got": one.got,
                "missing": one.missing,
                "signed": [{"name": name, "weight": weight} for name, weight in one.weights],
                "without_weight": one.strangers,
                "would_do": ways.sets,
                "more": ways.more,
            }
        )
    return _json(
        {
            "sufficient": not judged.shortages,
            "signatures": [
                *({"place": place, "signer": signer, "problem": ""} for place, signer in judged.good),
                *({"place": place, "signer": None, "problem": reason} for place, reason in judged.bad),
            ],
            "operations": operations,
        }
    )


def _json(document: dict[str, Any]) -> str:
    import orjson

    return orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
