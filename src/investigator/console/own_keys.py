"""The investigator's own secret keys: made, brought in, found, given up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from investigator.config import CONSOLE_FILE, load_console, read_file
from investigator.console.files import PRIVATE, write_new
from investigator.console.keys import MAX_KEY_BYTES
from investigator.errors import DeploymentError, InvestigatorError, Refused
from investigator.pgp import Keyring, SignatureRefused
from investigator.pgp.certificate_file import revocation_packet
from investigator.pgp.framing import CERTIFICATE, armored, dearmor
from investigator.pgp.signer import KeyFileSigner

SECRETS: Final = Path("secrets")
_GUARD: Final = b"\n:-----BEGIN "
"""gpg keeps a revocation for each key that it makes, behind some text and a colon, against use by accident; who names the
file to revoke with means it."""


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key that this deployment could sign with."""

    fingerprint: str
    where: str
    """A file, or "gpg"."""
    signs: bool
    """Whether console.toml names it."""


def keep_secret(home: Path, fingerprint: str, content: bytes) -> Path:
    """Put a secret key into the deployment, readable for its owner alone.

    Raises:
        DeploymentError: it is there already, or the folder does not take it.
    """
    folder = home / SECRETS
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DeploymentError(f"{folder}: {error.strerror}") from None
    path = folder / f"{fingerprint}.asc"
    write_new(path, content, mode=PRIVATE)
    return path


def own_keys(home: Path) -> list[OwnKey]:
    """Every secret key of the deployment; files that hold none are passed over."""
    named = load_console(home).signer if (home / CONSOLE_FILE).exists() else None
    found = []
    files = set((home / SECRETS).glob("*.asc")) | (
        {named.key} if named is not None and named.key is not None else set()
    )
    for path in sorted(files):
        try:
            fingerprint = KeyFileSigner(read_file(path, max_bytes=MAX_KEY_BYTES)).fingerprint
        except InvestigatorError:
            continue
        signs = (
            named is not None and named.gpg is None and named.key is not None and named.key.resolve() == path.resolve()
        )
        found.append(OwnKey(fingerprint, str(path), signs))
    if named is not None and named.gpg is not None:
        found.append(OwnKey(named.gpg.replace(" ", "").upper().rstrip("!"), "gpg", signs=True))
    return found


def find_own(home: Path, fingerprint: str) -> OwnKey | None:
    """The own key of that fingerprint; without one the key that signs."""
    return next((one for one in own_keys(home) if (one.fingerprint == fingerprint if fingerprint else one.signs)), None)


def usable_certificate(content: bytes, what: str, *, now_s: float) -> tuple[str, tuple[str, ...], str]:
    """A certificate that an agent would take now: (fingerprint, user ids, armored text).

    Raises:
        Refused: it is none, or it is revoked or expired, or no key of it may sign.
    """
    keyring = Keyring.load({what: content})
    for _, reason in keyring.refused:
        raise Refused(f"{what}: {reason}")
    listed = next(iter(keyring.certificates(int(now_s))), None)
    if listed is None:
        raise Refused(f"{what}: a revocation, and no certificate", hint="`investigator keys revoke` takes it.")
    if listed.revoked:
        raise Refused(f"{what}: certificate {listed.fingerprint} is revoked {listed.revoked}")
    if not listed.signing_keys:
        raise Refused(f"{what}: no key of certificate {listed.fingerprint} may sign now; is it expired?")
    return listed.fingerprint, listed.user_ids, armored("PUBLIC KEY BLOCK", dearmor(content, CERTIFICATE))


def proven_revocation(content: bytes, keyring: Keyring, what: str) -> tuple[bytes, str]:
    """The one packet of a revocation certificate, and the fingerprint of the certificate of the keyring that it revokes.

    Raises:
        Refused: it is none, or it proves nothing about a key of the keyring.
    """
    _, guarded, armor = content.partition(_GUARD)
    try:
        packet = revocation_packet(_GUARD[2:] + armor if guarded else content)
        return packet, keyring.revoked_by(packet)
    except SignatureRefused as reason:
        raise Refused(f"{what}: {reason}") from None
