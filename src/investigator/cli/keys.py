"""`investigator keys`: whose signatures this deployment takes, and with which key it signs."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from investigator.cli.options import Home, PassphraseCommand, home_folder, split_command
from investigator.errors import BadInput, DeploymentError
from investigator.printable import printable

if TYPE_CHECKING:
    from investigator.pgp.signer import GpgSigner, KeyFileSigner

app = typer.Typer(name="keys", help="OpenPGP keys and signatures.", no_args_is_help=True)

NoPassphrase = Annotated[bool, typer.Option("--no-passphrase", help="Leave the key file unprotected.")]
Use = Annotated[bool, typer.Option("--use", help="Sign with it from now on: write that into console.toml.")]


class Reason(StrEnum):
    """Why a key is given up."""

    NONE = "none"
    COMPROMISED = "compromised"
    SUPERSEDED = "superseded"
    RETIRED = "retired"


@app.callback()
def keys() -> None:
    """OpenPGP keys and signatures."""


@app.command()
def generate(
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose key it is; default: your login.")] = "",
    email: Annotated[str, typer.Option(metavar="ADDRESS", help="Default: your login at this host.")] = "",
    lifetime: Annotated[str, typer.Option(metavar="D", help="When it expires, as 730d; default: never.")] = "",
    no_passphrase: NoPassphrase = False,
    passphrase_command: PassphraseCommand = "",
    use: Use = False,
    home: Home = None,
) -> None:
    """Make an Ed25519 key: the secret one goes into the deployment, the public one to standard output."""
    import getpass
    import socket

    from investigator.cli.request import life_s
    from investigator.console.own_keys import keep_secret
    from investigator.console.passphrase import new_passphrase
    from investigator.pgp.secret import generate_key

    person = name or getpass.getuser()
    lifetime_s = int(life_s(lifetime, what="--lifetime")) if lifetime else None
    if lifetime_s is not None and not 0 < lifetime_s < 1 << 32:
        raise BadInput(f"--lifetime {lifetime}: between a second and 136 years")
    command = _command(home_folder(home), passphrase_command)
    passphrase = None if no_passphrase else new_passphrase(f"{person}'s key", command)
    made = generate_key(
        person, email or f"{getpass.getuser()}@{socket.gethostname()}", passphrase, lifetime_s=lifetime_s
    )
    path = keep_secret(home_folder(home), made.fingerprint, made.secret.encode())
    print(made.public, end="")
    _say(f"made key {made.fingerprint} in {path}; its public part is on standard output")
    _signs_with(home_folder(home), use, key=path)


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="An exported secret key file, or the full fingerprint of a key of gpg."),
    ],
    no_passphrase: Annotated[bool, typer.Option("--no-passphrase", help="Take a file that has no passphrase.")] = False,
    use: Use = False,
    home: Home = None,
) -> None:
    """Take a key to sign with: a copy of an exported file, or one that stays with gpg, its agent and its cards."""
    from investigator.console.files import read_input
    from investigator.console.keys import MAX_KEY_BYTES
    from investigator.console.own_keys import keep_secret
    from investigator.pgp.signer import GpgSigner, KeyFileSigner

    folder = home_folder(home)
    if _is_fingerprint(source):
        fingerprint = GpgSigner(source).fingerprint
        _say(f"gpg has the secret key of certificate {fingerprint}; it stays there")
        _signs_with(folder, use, gpg=source.replace(" ", "").upper().removeprefix("0X"))
        return
    content = read_input(Path(source), max_bytes=MAX_KEY_BYTES)
    signer = KeyFileSigner(content)
    signer.check()
    if not signer.protected and not no_passphrase:
        raise BadInput(
            f"{source}: the key in it has no passphrase",
            hint="Give it one (gpg --edit-key FINGERPRINT passwd) and export it again; --no-passphrase takes it as it is.",
        )
    path = keep_secret(folder, signer.fingerprint, content)
    print(signer.public, end="")
    _say(f"took key {signer.fingerprint} into {path}; its public part is on standard output")
    _signs_with(folder, use, key=path)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON list.")] = False, home: Home = None
) -> None:
    """List the keyring: fingerprints, names, expiry, weights by the ACL, and which keys are one's own."""
    from investigator.cli.key_list import write_keys

    write_keys(home_folder(home), as_json=as_json)


@app.command()
def trust(
    certificate: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate, armored or binary.")],
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="With --weight: the person's name in the ACL.")] = "",
    weight: Annotated[int | None, typer.Option(min=0, metavar="N", help="Also give it this weight in the ACL.")] = None,
    entry: Annotated[str, typer.Option(metavar="MODULE", help="The ACL's entry that the weight is for.")] = "default",
    update: Annotated[bool, typer.Option("--update", help="Replace the certificate of the same key.")] = False,
    home: Home = None,
) -> None:
    """Put a certificate into the keyring, after checking it as an agent does; print its lines for the ACL."""
    from investigator.console.trusting import trust_certificate

    if (weight is None) != (not name):
        raise BadInput("--name and --weight go together: a weight in the ACL belongs to a name")
    trusted = trust_certificate(
        home_folder(home), certificate, name=name, weight=weight, entry=entry, update=update, now_s=time.time()
    )
    print("\n".join(printable(line) for line in trusted.lines))


@app.command()
def revoke(
    key: Annotated[
        str,
        typer.Argument(
            metavar="[KEY]",
            help="One's own key by full fingerprint, or a file: a revocation certificate, or a secret key. "
            "Default: the key that signs.",
        ),
    ] = "",
    *,
    reason: Annotated[Reason, typer.Option(help="Why.")] = Reason.NONE,
    text: Annotated[str, typer.Option(metavar="TEXT", help="Why, in words.")] = "",
    publish: Annotated[bool, typer.Option("--publish", help="Send it to all agents, which keep it.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Only write it, for a bad day; revoke nothing."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: it cannot be taken back.")] = False,
    passphrase_command: PassphraseCommand = "",
    home: Home = None,
) -> None:
    """Give a key up for good: make its OpenPGP revocation certificate and put it into the local keyring."""
    from investigator.console.files import PRIVATE, write_new
    from investigator.console.own_keys import proven_revocation
    from investigator.console.rules import rule_files
    from investigator.console.trusting import keep_revocation
    from investigator.pgp.folder import KeyringFolder

    folder = home_folder(home)
    if output is not None and publish:
        raise BadInput("--output and --publish: one of the two")
    if output is None and not yes:
        _ask_for_sure(key or "the key that signs")
    content = _revocation(folder, key, reason, text, passphrase_command)
    if output is not None:
        write_new(output, content, mode=PRIVATE)  # whoever has it can use it
        _say(f"wrote the revocation to {output}; nothing is revoked. `investigator keys revoke {output}` does that")
        return
    _, keyring_folder = rule_files(folder)
    packet, fingerprint = proven_revocation(content, KeyringFolder(keyring_folder).read(), key or "revocation")
    path = keep_revocation(keyring_folder, fingerprint, packet)
    print(f"revoked {fingerprint}: {path}")
    if publish:
        _publish(folder, packet)
        print("sent to all agents")
    else:
        print(f"agents take it with `--publish`, or as a file {path.name} in their keyring")


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


def _revocation(folder: Path, key: str, reason: Reason, text: str, passphrase_command: str) -> bytes:
    """The revocation certificate that is meant: a file's content, or made with the key that is meant."""
    from investigator.config import CONSOLE_FILE, load_console
    from investigator.console.files import read_input
    from investigator.console.own_keys import find_own
    from investigator.console.passphrase import Passphrase
    from investigator.pgp.policy import MAX_CERTIFICATE_BYTES
    from investigator.pgp.signer import GpgSigner, KeyFileSigner

    passphrase = Passphrase("the key to revoke", _command(folder, passphrase_command))
    signer: KeyFileSigner | GpgSigner
    if key and not _is_fingerprint(key):
        content = read_input(Path(key), max_bytes=MAX_CERTIFICATE_BYTES)
        if b"PRIVATE KEY" not in content[:200]:
            return content
        signer = KeyFileSigner(content, passphrase)
    else:
        own = find_own(folder, key.replace(" ", "").upper())
        if own is None:
            raise DeploymentError(
                f"there is no secret key {key} here" if key else f"{folder / CONSOLE_FILE} names no key that is here",
                hint="A revocation certificate that was made before revokes without the key: give its file.",
            )
        if own.where == "gpg":
            signer = GpgSigner(own.fingerprint, load_console(folder).signer.gpg_home)
        else:
            signer = KeyFileSigner(read_input(Path(own.where), max_bytes=MAX_CERTIFICATE_BYTES), passphrase)
    return signer.revoke(reason.value, text).encode()


def _publish(folder: Path, packet: bytes) -> None:
    import asyncio

    from investigator.config import load_console
    from investigator.console.link import console_link
    from investigator.console.revocation import publish_revocation

    async def publish() -> None:
        async with console_link(load_console(folder)) as broker:
            await publish_revocation(broker, packet)

    asyncio.run(publish())


def _ask_for_sure(what: str) -> None:
    if not sys.stdin.isatty():
        raise BadInput("a revocation cannot be taken back", hint="With --yes nobody is asked.")
    _say(f"This gives up {printable(what)} for good. Type 'revoke' to go on:")
    if sys.stdin.readline().strip() != "revoke":
        raise BadInput("nothing was revoked")


def _signs_with(folder: Path, use: bool, *, key: Path | None = None, gpg: str | None = None) -> None:
    """Tell, or write, the line of console.toml that makes the key the one that signs."""
    from investigator.config import CONSOLE_FILE
    from investigator.console.console_file import set_signer, signer_line

    line = signer_line(key=key.relative_to(folder) if key is not None else None, gpg=gpg)
    if use:
        set_signer(folder / CONSOLE_FILE, line)
        _say(f"{folder / CONSOLE_FILE}: [signer] {line}")
    else:
        _say(f"to sign with it, in {folder / CONSOLE_FILE} under [signer]: {line}")


def _is_fingerprint(text: str) -> bool:
    import re

    return re.fullmatch(r"(?:0x)?[0-9A-F]{40}!?", text.replace(" ", ""), re.IGNORECASE) is not None


def _command(folder: Path, words: str) -> tuple[str, ...]:
    """The passphrase command that was typed, else the deployment's."""
    from investigator.config import CONSOLE_FILE, load_console

    if words or not (folder / CONSOLE_FILE).exists():
        return split_command(words)
    return load_console(folder).passphrase_command


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _content(path: Path, most: int | None = None) -> bytes:
    """A file's bytes; of one that is larger than `most`, enough to be refused for it."""
    try:
        with path.open("rb") as file:
            return file.read(-1 if most is None else most + 1)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from None
