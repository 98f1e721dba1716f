"""Signing the exact bytes of a document: with gpg, which asks its agent, pinentry or a card, or with a key file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING, Final, Protocol

from investigator.errors import BadInput, DeploymentError
from investigator.pgp.framing import armored
from investigator.pgp.keyring import Keyring
from investigator.pgp.policy import Policy, SignatureRefused
from investigator.pgp.secret import SecretKey, document_signature, read_secret_file, reason_text, revocation
from investigator.pgp.signature import read_document_signature

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_FINGERPRINT: Final = re.compile(r"[0-9A-F]{40}!?")
_SHA512: Final = 10
_GPG_REASONS: Final = {"none": "0", "compromised": "1", "superseded": "2", "retired": "3"}
"""The answers to gpg's question for a reason, which are not RFC 9580's numbers."""
_INVALID_SIGNER: Final = {
    "1": "gpg knows no such key",
    "3": "the key is not allowed to sign",
    "4": "the key is revoked",
    "5": "the key is expired",
    "9": "gpg has no secret key for it",
}
"""Reasons of gpg's status line INV_SGNR (GnuPG, doc/DETAILS)."""
_FAILURES: Final = {
    11: "wrong passphrase",
    17: "gpg has no secret key for it",
    62: "nobody answered the passphrase prompt in time",
    85: "no pinentry: gpg has no way to ask for the passphrase",
    99: "cancelled",
    198: "cancelled",
}
"""libgpg-error's codes, in the lower 16 bits of gpg's status line FAILURE."""


class Signer(Protocol):
    """Somebody who can sign."""

    @property
    def fingerprint(self) -> str:
        """The certificate that signs: the primary key's fingerprint, 40 upper-case hex digits."""

    def sign(self, data: bytes) -> str:
        """An armored detached signature of the exact bytes: one packet, type 0x00, SHA-512.

        Raises:
            DeploymentError: no key, no program, cancelled, or a key that nobody would accept.
            BadInput: a wrong passphrase.
        """


class KeyFileSigner:
    """Signs with an exported secret key; the passphrase is asked for once, with the first signature."""

    def __init__(
        self, secret: bytes, passphrase: Callable[[], str] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Read the file's content.

        Raises:
            DeploymentError: it holds no usable secret key.
        """
        try:
            self._file = read_secret_file(secret)
        except SignatureRefused as reason:
            raise DeploymentError(f"secret key file: {reason}") from None
        self._passphrase = passphrase
        self._clock = clock

    @property
    def fingerprint(self) -> str:
        """The primary key's."""
        return self._file.certificate.fingerprint

    @property
    def user_ids(self) -> tuple[str, ...]:
        """The names that the certificate validly has."""
        return self._file.certificate.user_ids

    @property
    def public(self) -> str:
        """The certificate, in armor: for others' keyrings."""
        return armored("PUBLIC KEY BLOCK", self._file.public)

    @property
    def protected(self) -> bool:
        """Whether nobody signs with the file without its passphrase."""
        return self._file.protected

    def check(self) -> None:
        """Raise `DeploymentError` unless a key in the file may sign now; no passphrase is asked for."""
        self._key(int(self._clock()))

    def revoke(self, reason: str = "none", text: str = "") -> str:
        """The certificate's revocation of itself, in armor; final, and valid wherever the certificate is.

        Raises:
            DeploymentError: the file does not hold the primary key's secret.
            BadInput: a wrong passphrase.
        """
        primary = self._file.keys.get(self.fingerprint)
        if primary is None or primary.numbers.absent:
            raise DeploymentError(
                f"secret key file: the secret of primary key {self.fingerprint} is not in it",
                hint="Only the primary key revokes; or give the revocation certificate that was made with it.",
            )
        if primary.numbers.locked:
            self._unlock(primary)
        return revocation(primary, int(self._clock()), reason, text)

    def sign(self, data: bytes) -> str:
        """See `Signer`. What it made is checked as its readers will, before it leaves."""
        now = int(self._clock())
        key = self._key(now)
        if key.numbers.locked:
            self._unlock(key)
        signature = document_signature(key, data, now)
        try:
            Keyring(Policy(), {"": self._file.certificate}, ()).verify(data, signature.encode(), now)
        except SignatureRefused as reason:
            raise DeploymentError(f"secret key file: {reason}") from None
        return signature

    def _key(self, now: int) -> SecretKey:
        """The newest subkey that may sign, else the primary key: as gpg chooses."""
        certificate = self._file.certificate
        able = [
            fingerprint
            for fingerprint, key in self._file.keys.items()
            if fingerprint in certificate.signers and certificate.may_sign(fingerprint, now) and not key.numbers.absent
        ]
        if not able:
            raise DeploymentError(
                f"secret key file: no secret key of certificate {certificate.fingerprint} may sign now",
                hint="Is it expired, revoked, or on a card? Keys on cards sign through gpg.",
            )
        created = certificate.signers
        best = max(able, key=lambda fingerprint: (fingerprint != self.fingerprint, created[fingerprint].key.created))
        return self._file.keys[best]

    def _unlock(self, key: SecretKey) -> None:
        if self._passphrase is None:
            raise DeploymentError(f"secret key {self.fingerprint} is protected by a passphrase, and none was given")
        if not key.numbers.unlock(self._passphrase()):
            raise BadInput(f"wrong passphrase for secret key {self.fingerprint}")


class GpgSigner:
    """Signs with a key in gpg's keyring: agent, pinentry and smartcards come with it."""

    def __init__(
        self, fingerprint: str, homedir: Path | None = None, program: str = "gpg", *, may_prompt: bool = True
    ) -> None:
        """Name the key: of a primary key gpg takes the newest signing subkey, with `!` behind it exactly that key.

        Without `may_prompt` no pinentry is started: what needs a passphrase that gpg's agent does not hold fails.

        Raises:
            BadInput: not a full fingerprint. gpg would take a part of a name or of a fingerprint, and somebody else's key.
        """
        self._user = fingerprint.replace(" ", "").upper().removeprefix("0X")
        if not _FINGERPRINT.fullmatch(self._user):
            raise BadInput(f"{fingerprint!r} is not a full fingerprint (40 hex digits)")
        self._gpg = [program, *(["--homedir", str(homedir)] if homedir else [])]
        if not may_prompt:
            self._gpg += ["--pinentry-mode", "error"]

    @cached_property
    def fingerprint(self) -> str:
        """The primary key's, as gpg says."""
        done = self._run(["--with-colons", "--list-secret-keys", self._user.rstrip("!")])
        for line in done.stdout.decode("utf-8", "replace").splitlines():
            if line.startswith("fpr:"):  # the first belongs to the primary key
                return line.split(":")[9]
        raise DeploymentError(
            f"gpg has no secret key {self._user}", hint="gpg --list-secret-keys --with-subkey-fingerprint"
        )

    def sign(self, data: bytes) -> str:
        """See `Signer`. gpg runs with its user's own settings, so what comes out is looked at."""
        options = ["--status-fd", "2", "--no-textmode", "--no-emit-version", "--no-comments", "--digest-algo", "SHA512"]
        done = self._run([*options, "--local-user", self._user, "--armor", "--detach-sign", "--output", "-"], data)
        if done.returncode != 0:
            raise DeploymentError(f"gpg did not sign with {self._user}: {_reason(done.stderr)}")
        try:
            made = read_document_signature(done.stdout)
        except SignatureRefused as reason:
            raise DeploymentError(
                f"gpg made something else than one plain signature: {reason}",
                hint="Look for local-user, textmode or notations in gpg.conf.",
            ) from None
        if made.hash_algorithm != _SHA512:
            raise DeploymentError(f"gpg signed with hash algorithm {made.hash_algorithm} instead of SHA-512")
        return done.stdout.decode("ascii")

    def revoke(self, reason: str = "none", text: str = "") -> str:
        """The primary key's revocation of itself, in armor, by gpg's own dialogue; see `KeyFileSigner.revoke`.

        Raises:
            DeploymentError: gpg did not make it.
        """
        reason_text(text)  # a line feed in it would answer gpg's next question
        answers = ["y", _GPG_REASONS[reason], *([text] if text else []), "", "y", ""]
        options = ["--status-fd", "2", "--command-fd", "0", "--no-tty", "--armor", "--output", "-"]
        done = self._run([*options, "--gen-revoke", self.fingerprint], "\n".join(answers).encode(), batch=False)
        if done.returncode != 0 or not done.stdout:
            raise DeploymentError(
                f"gpg did not revoke {self.fingerprint}: {_reason(done.stderr)}",
                hint=f"gpg --gen-revoke {self.fingerprint} > FILE; then `investigator keys revoke FILE`.",
            )
        return done.stdout.decode("ascii")

    def _run(
        self, arguments: list[str], data: bytes = b"", *, batch: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "LC_ALL": "C"}
        if "GPG_TTY" not in environment and sys.stdin is not None and sys.stdin.isatty():
            environment["GPG_TTY"] = os.ttyname(sys.stdin.fileno())  # where pinentry asks
        try:
            # No time limit: it waits for a person, who can cancel.
            return subprocess.run(  # noqa: S603 - our own arguments, no shell
                [*self._gpg, *(["--batch"] if batch else []), *arguments],
                input=data,
                capture_output=True,
                env=environment,
                check=False,
            )
        except FileNotFoundError:
            raise DeploymentError(
                f"{self._gpg[0]} is not installed", hint="Or sign with an exported key file."
            ) from None
        except OSError as error:
            raise DeploymentError(f"{self._gpg[0]}: {error.strerror}") from None


def _reason(stderr: bytes) -> str:
    """What gpg's status lines say went wrong, else the last thing that it printed."""
    lines = stderr.decode("utf-8", "replace").splitlines()
    status = [line.split()[1:] for line in lines if line.startswith("[GNUPG:] ")]
    for words in status:
        if words[:1] == ["INV_SGNR"] and len(words) > 1 and words[1] in _INVALID_SIGNER:
            return _INVALID_SIGNER[words[1]]
    for words in status:
        if words[:1] == ["FAILURE"] and words[-1].isdigit() and int(words[-1]) & 0xFFFF in _FAILURES:
            return _FAILURES[int(words[-1]) & 0xFFFF]
    said = [line.removeprefix("gpg: ") for line in lines if line.startswith("gpg: ")]
    return said[-1] if said else "it gave no reason"
