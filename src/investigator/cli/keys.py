"""`investigator keys`: whose signatures this deployment takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from investigator.errors import BadInput

app = typer.Typer(name="keys", help="OpenPGP keys and signatures.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """OpenPGP keys and signatures."""


@app.command()
def verify(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="The signed file.")],
    certificate: Annotated[Path, typer.Option(metavar="CERT", help="The signer's certificate, armored or binary.")],
    signature: Annotated[Path, typer.Option(metavar="SIG", help="The detached signature, armored or binary.")],
    at: Annotated[
        int | None, typer.Option(metavar="EPOCH", help="Judge as of this time, in seconds since 1970; default: now.")
    ] = None,
) -> None:
    """Check a detached signature as an agent would, and print the signer's full fingerprint.

    Leaves with 3 and the reason if the signature, or the certificate, is not acceptable.
    """
    from investigator.pgp import Keyring, SignatureRefused
    from investigator.pgp.policy import MAX_CERTIFICATE_BYTES, MAX_SIGNATURE_BYTES

    keyring = Keyring.load({str(certificate): _content(certificate, MAX_CERTIFICATE_BYTES)})
    for name, reason in keyring.refused:
        raise SignatureRefused(f"{name}: {reason}")
    now = int(time.time()) if at is None else at
    print(keyring.verify(_content(data), _content(signature, MAX_SIGNATURE_BYTES), now).certificate)


def _content(path: Path, most: int | None = None) -> bytes:
    """A file's bytes; of one that is larger than `most`, enough to be refused for it."""
    try:
        with path.open("rb") as file:
            return file.read(-1 if most is None else most + 1)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None
