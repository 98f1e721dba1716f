"""`investigator init`: make a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from investigator.cli.options import Home, PassphraseCommand, home_folder, split_command


def init(
    home: Home = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The embedded broker's port; 0 takes a free one.")] = 4222,
    passphrase: Annotated[
        bool,
        typer.Option(
            "--passphrase", help="Protect the keys: asked for on a terminal, else the first line of standard input."
        ),
    ] = False,
    passphrase_command: PassphraseCommand = "",
) -> None:
    """Make a deployment: keys, keyring, ACL, broker credentials, configuration. Nothing is overwritten."""
    from investigator.console.deployment import SIGNING_KEY, create_deployment
    from investigator.console.passphrase import new_passphrase

    folder: Path = home_folder(home)
    command = split_command(passphrase_command)
    secret = new_passphrase("the investigator's keys", command) if passphrase or command else None
    made = create_deployment(folder, port=port, passphrase=secret, passphrase_command=command)
    protection = "protected by the passphrase" if made.protected else "files of mode 0600, not protected otherwise"
    print(f"made a deployment in {made.home}: broker at {made.url}, investigator {made.fingerprint}")
    print(f"the keys ({made.home / SIGNING_KEY.parent}) are {protection}")
    print("next: investigator broker · investigator agent · investigator run file --path /etc --name '^passwd$'")
