"""`investigator people`: bring a second investigator in, and let one go."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from investigator.cli.options import Home, PassphraseCommand, home_folder, split_command
from investigator.printable import printable

app = typer.Typer(name="people", help="Further investigators.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The person, in one word.")]


@app.callback()
def people() -> None:
    """Further investigators: invite (here), join (on their laptop), add (here), remove."""


@app.command()
def invite(
    name: Name,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: NAME.invitation.")
    ] = None,
    url: Annotated[
        str, typer.Option(metavar="URL", help="How the broker is reached from there; default: as from here.")
    ] = "",
    home: Home = None,
) -> None:
    """Write one private file with all that a person's laptop needs: broker credential, keyring, ACL, targets."""
    from urllib.parse import urlsplit

    from investigator.console.invitation import invite as write_invitation

    file = output or Path(f"{name}.invitation")
    told = write_invitation(home_folder(home), name, file, url=url)
    print(f"wrote {file}: give it to {name} in private; it lets its bearer talk to the broker, and sign nothing")
    print(f"on their laptop: investigator people join {file.name}")
    if (urlsplit(told).hostname or "") in ("127.0.0.1", "localhost", "::1"):
        print(f"[notice] {told} is this machine only; --url says how others reach the broker", file=sys.stderr)


@app.command()
def join(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The invitation.")],
    email: Annotated[
        str, typer.Option(metavar="ADDRESS", help="For the new key; default: your login at this host.")
    ] = "",
    no_passphrase: Annotated[bool, typer.Option("--no-passphrase", help="Leave the new keys unprotected.")] = False,
    passphrase_command: PassphraseCommand = "",
    home: Home = None,
) -> None:
    """Accept an invitation on one's own laptop: a deployment with keys of its own; the public one to standard output."""
    import getpass
    import socket

    from investigator.console.invitation import join as accept
    from investigator.console.invitation import read_invitation
    from investigator.console.passphrase import new_passphrase

    folder, invitation = home_folder(home), read_invitation(file)
    command = split_command(passphrase_command)
    passphrase = None if no_passphrase else new_passphrase(f"{invitation.name}'s keys", command)
    address = email or f"{getpass.getuser()}@{socket.gethostname()}"
    joined = accept(folder, invitation, email=address, passphrase=passphrase, passphrase_command=command)
    print(joined.own.public, end="")
    for fingerprint in joined.trusted:
        _say(f"trusts {fingerprint}: compare it with who invited you")
    _say(f"made a deployment in {folder}, investigator {joined.own.fingerprint}; its public key is on standard output")
    _say("send it back; there it is taken in with")
    _say(f"investigator people add CERT --name {joined.name} --weight 1 --sealto {joined.own.sealto}")


@app.command()
def add(
    certificate: Annotated[Path, typer.Argument(metavar="CERT", help="The person's public key.")],
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the person is called in the ACL.")],
    weight: Annotated[int, typer.Option(min=0, metavar="N", help="What their signature weighs.")],
    sealto: Annotated[
        str, typer.Option(metavar="KEY", help="The public key that their results are sealed to, as `join` told it.")
    ] = "",
    entry: Annotated[str, typer.Option(metavar="MODULE", help="The ACL's entry that the weight is for.")] = "default",
    home: Home = None,
) -> None:
    """Take a person in: certificate, weight, sealing key; and print what agents need to know."""
    from investigator.console.acl_file import acl_lines
    from investigator.console.people import add as take_in

    trusted = take_in(
        home_folder(home), certificate, name=name, weight=weight, sealto=sealto, entry=entry, now_s=time.time()
    )
    print("\n".join(printable(line) for line in trusted.lines))
    print("on every agent, and on the other investigators' laptops:")
    print(f"  a file in the keyring: {trusted.certificate}")
    print(f"  and in the ACL, under {entry}'s investigators: {acl_lines(name, trusted.fingerprint, weight)}")


@app.command()
def remove(name: Name, home: Home = None) -> None:
    """Let a person go: out of keyring and ACL, and out of the broker at once; print what agents need to know."""
    from investigator.console.people import remove as let_go

    folder = home_folder(home)
    gone = let_go(folder, name, now_s=time.time())
    for path in gone.files:
        print(f"removed {path}")
    for entry in gone.entries:
        print(f"{gone.acl}: {printable(entry)}: {printable(name)} taken out")
    if gone.credential:
        print(f"broker: {name}'s credential is void; a running broker lets go of its connections within seconds")
        _tell_servers(folder)
    else:
        print(
            f"[notice] {printable(name)} had no broker credential of their own; nothing was shut out", file=sys.stderr
        )
    if gone.fingerprints:
        print("on every agent, and on the other investigators' laptops:")
        for fingerprint in gone.fingerprints:
            print(f"  take the certificate {fingerprint} out of the keyring, and its lines out of the ACL")


def _tell_servers(folder: Path) -> None:
    """A cluster is told at once; a server that cannot be is named, for it goes on letting them in."""
    import asyncio

    from investigator.broker.elsewhere import push_accounts
    from investigator.config import load_broker

    for problem in asyncio.run(push_accounts(load_broker(folder))):
        _say(f"[notice] {printable(problem)}; `investigator broker push` tells it later")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
