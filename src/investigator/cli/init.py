"""`investigator init`: make a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from investigator.cli.options import Home, PassphraseCommand, home_folder, split_command
from investigator.errors import BadInput


def init(
    *,
    home: Home = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The embedded broker's port; 0 takes a free one.")] = 4222,
    passphrase: Annotated[
        bool,
        typer.Option(
            "--passphrase", help="Protect the keys: asked for on a terminal, else the first line of standard input."
        ),
    ] = False,
    passphrase_command: PassphraseCommand = "",
    host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A name or address by which agents reach the broker; may be given again, they use the first. Default: this machine only.",
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--mtls", help="The broker asks agents and consoles for a certificate too, which is made.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The broker's certificate, instead of one by a CA of ours.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Its private key.")] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The CA that agents and consoles trust for it.")
    ] = None,
    plain_text: Annotated[
        bool, typer.Option("--plain-text", help="No TLS; agents and consoles take that on loopback only.")
    ] = False,
) -> None:
    """Make a deployment: keys, keyring, ACL, broker credentials, configuration. Nothing is overwritten."""
    from investigator.console.deployment import SIGNING_KEY, create_deployment
    from investigator.console.network import Network, OwnFiles, hosts_of
    from investigator.console.passphrase import new_passphrase

    own = OwnFiles(certificate, key, ca) if certificate and key and ca else None
    if own is None and (certificate or key or ca):
        raise BadInput("--certificate, --key and --ca come together")
    network = Network(hosts=hosts_of(host or []), plain_text=plain_text, verify=verify, own=own)
    network.check()
    folder: Path = home_folder(home)
    command = split_command(passphrase_command)
    secret = new_passphrase("the investigator's keys", command) if passphrase or command else None
    made = create_deployment(folder, port=port, passphrase=secret, passphrase_command=command, network=network)
    protection = "protected by the passphrase" if made.protected else "files of mode 0600, not protected otherwise"
    print(f"made a deployment in {made.home}: broker at {made.url}, investigator {made.fingerprint}")
    print(f"the keys ({made.home / SIGNING_KEY.parent}) are {protection}")
    print("next: investigator broker · investigator agent · investigator run file --path /etc --name '^passwd$'")
