"""The investigator's keys as files of the deployment: the one that signs actions, the one that opens results."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from investigator.config import Signing, read_file
from investigator.errors import BadInput, DeploymentError
from investigator.pgp.signer import GpgSigner, KeyFileSigner, Signer

if TYPE_CHECKING:
    from investigator.console.passphrase import Passphrase

MAX_KEY_BYTES: Final = 64 * 1024
_PUBLIC: Final = re.compile(rb"^Public-Key: ([A-Za-z0-9+/]{43}=)$", re.MULTILINE)
"""Before the PEM, where RFC 7468 lets any text stand: what results are sealed to is known without the passphrase."""


def load_signer(config: Signing, passphrase: Callable[[], str], *, may_prompt: bool = True) -> Signer:
    """The investigator's signer; a protected key asks for its passphrase when it is first used.

    Without `may_prompt` gpg signs with what its agent holds open already, and asks nobody.

    Raises:
        DeploymentError: no key, or not a usable one.
    """
    if config.gpg is not None:
        return GpgSigner(config.gpg, config.gpg_home, may_prompt=may_prompt)
    if config.key is None:
        raise DeploymentError("console.toml names no key: [signer] needs `key` or `gpg`")
    refuse_readable(config.key)
    return KeyFileSigner(read_file(config.key, max_bytes=MAX_KEY_BYTES), passphrase)


def quiet_signer(config: Signing, passphrase: Passphrase) -> Signer | None:
    """The investigator's signer, if it signs without asking anybody: not gpg, and no passphrase that was not given yet."""
    if config.key is None:
        return None
    try:
        signer = load_signer(config, passphrase)
    except DeploymentError:
        return None
    unprotected = isinstance(signer, KeyFileSigner) and not signer.protected
    return signer if unprotected or passphrase.is_known else None


def signer_fingerprint(config: Signing) -> str:
    """The fingerprint of the investigator's key; empty where that is not to be known without it."""
    if config.gpg is not None:
        return config.gpg.replace(" ", "").upper().rstrip("!")
    try:
        return "" if config.key is None else KeyFileSigner(read_file(config.key, max_bytes=MAX_KEY_BYTES)).fingerprint
    except DeploymentError:
        return ""


def refuse_readable(path: Path) -> None:
    """Raise `DeploymentError` for a file with a secret that others than its owner can read, or write."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    if os.name == "posix" and mode & 0o077:
        raise DeploymentError(f"{path}: others than its owner can read or write it", hint=f"chmod go= {path}")


def encode_sealing_key(private: bytes, passphrase: str | None) -> bytes:
    """A PKCS #8 PEM, as any tool reads it, encrypted under the passphrase if there is one; before it the public key."""
    protection: serialization.KeySerializationEncryption = (
        serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    )
    key = X25519PrivateKey.from_private_bytes(private)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    return b"Public-Key: " + base64.b64encode(key.public_key().public_bytes_raw()) + b"\n" + pem


def load_sealing_key(path: Path, passphrase: Callable[[], str]) -> bytes:
    """The 32 private bytes of the key that results are sealed to.

    Raises:
        DeploymentError: no such key, or one beside another public key.
        BadInput: the passphrase is not its.
    """
    pem = read_file(path, max_bytes=MAX_KEY_BYTES)
    key = _open(path, pem, passphrase)
    told = _PUBLIC.search(pem)
    if told is not None and base64.b64decode(told[1]) != key.public_key().public_bytes_raw():
        raise DeploymentError(f"{path}: the public key before it is another's", hint="That line may be removed.")
    return key.private_bytes_raw()


def load_sealto(path: Path, passphrase: Callable[[], str]) -> bytes:
    """The 32 public bytes that results are sealed to; the passphrase is asked for only where the file does not tell them.

    Raises:
        DeploymentError, BadInput: as `load_sealing_key`.
    """
    pem = read_file(path, max_bytes=MAX_KEY_BYTES)
    told = _PUBLIC.search(pem)
    return base64.b64decode(told[1]) if told else _open(path, pem, passphrase).public_key().public_bytes_raw()


def _open(path: Path, pem: bytes, passphrase: Callable[[], str]) -> X25519PrivateKey:
    protected = b"ENCRYPTED" in pem
    try:
        key = serialization.load_pem_private_key(pem, passphrase().encode() if protected else None)
    except ValueError:
        if protected:
            raise BadInput(f"{path}: the passphrase does not open it") from None
        raise DeploymentError(f"{path}: no private key") from None
    if not isinstance(key, X25519PrivateKey):
        raise DeploymentError(f"{path}: not an X25519 key")
    return key
