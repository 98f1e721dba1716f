"""Whom this agent obeys: keyring and ACL, as current as their files, which change while it runs.

What is broken is reported and leaves the last good one in force, so that a slip of an editor locks nobody out. Two things
take effect whatever else is wrong: a revocation, and a certificate that was taken away.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final

from investigator.agent.permissions import refuse_loose
from investigator.config import AgentConfig, read_file
from investigator.errors import BadInput, DeploymentError
from investigator.modules import MODULES
from investigator.pgp.folder import KeyringFolder
from investigator.protocol.acl import MAX_ACL_BYTES, Acl, acl_format, parse_acl
from investigator.protocol.codec import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from investigator.agent.revocations import TrustedKeys
    from investigator.pgp import Keyring as Certificates

_MAX_TOLD: Final = 8
_MAX_TOLD_CHARACTERS: Final = 300
_log = logging.getLogger(__name__)


class Trust:
    """Certificates and weights in force, and what of their files is not; this one never changes."""

    def __init__(self, keyring: TrustedKeys, acl: Acl, problems: tuple[str, ...] = ()) -> None:
        self.keyring = keyring
        self.acl = acl
        self.problems = problems
        """One line each: what is broken, and so not in force."""

    def look(self) -> bool:
        """Look at the files again; true if anything is in force now, or broken, that was not."""
        return False

    def summary(self) -> dict[str, Any]:
        """What the agent's facts say of it: a fleet in which some hosts have another ACL is seen at once."""
        return {}


class TrustFiles(Trust):
    """Trust that follows its files: each look costs a `stat` per file, and reads what changed."""

    def __init__(self, config: AgentConfig, folder: KeyringFolder, keyring: Certificates, acl: _AclFile) -> None:
        """Take what `load_trust` has read."""
        super().__init__(keyring, acl.acl, tuple(_refused(config, keyring)))
        self._config = config
        self._folder = folder
        self._certificates = keyring
        self._acl_file = acl

    def look(self) -> bool:
        """See `Trust.look`; what is new in this is logged, once."""
        before = self._certificates, self.acl, self.problems
        self.problems = (*self._look_at_keyring(), *self._look_at_acl())
        self._log_changes(*before)
        return before != (self._certificates, self.acl, self.problems)

    def summary(self) -> dict[str, Any]:
        """The ACL in force by the start of its SHA-256, how many certificates, how many of them revoked, what is broken."""
        keys = self._certificates.certificates(0)
        return {
            "acl": self._acl_file.digest[:16],
            "certificates": len(keys),
            "revoked": sum(1 for key in keys if key.revoked),
            "problems": [one_line(problem, at_most=_MAX_TOLD_CHARACTERS) for problem in self.problems[:_MAX_TOLD]],
        }

    def _look_at_keyring(self) -> list[str]:
        problems, loose = [], False
        try:
            refuse_loose(self._config.keyring)
        except DeploymentError as error:
            loose = True  # which is said once, and not of each file; revocations in it count all the same
            problems.append(str(error))
        try:
            self.keyring = self._certificates = self._folder.read()
        except DeploymentError as error:
            return [str(error)]
        if not len(self._certificates):
            problems.append(f"{self._config.keyring}: no usable certificate, so every action is refused")
        refused = _refused(self._config, self._certificates)
        return [*problems, *([] if loose else refused)]

    def _look_at_acl(self) -> list[str]:
        problem = self._acl_file.look(self._certificates)
        self.acl = self._acl_file.acl
        return [f"{problem}; the ACL that was read before stays in force"] if problem else []

    def _log_changes(self, keyring: Certificates, acl: Acl, problems: tuple[str, ...]) -> None:
        for problem in self.problems:
            if problem not in problems:
                _log.error("%s", problem)
        for problem in problems:
            if problem not in self.problems:
                _log.warning("no more: %s", problem)
        if keyring is not self._certificates:
            _log.warning("%s was read anew: %d certificates", self._config.keyring, len(self._certificates))
        if acl is not self.acl:
            _log.warning("%s was read anew, and is in force", self._config.acl)


class _AclFile:
    """An ACL on the disk, and the last good one that it was."""

    def __init__(self, path: Path) -> None:
        self.acl: Acl
        self.digest = ""
        """SHA-256 of the one in force, in lower hexadecimal."""
        self._path = path
        self._judged: tuple[tuple[int, ...], Certificates] | None = None
        self._problem = ""

    def load(self, keyring: Certificates) -> None:
        """Read it; raises `DeploymentError` or `BadInput`."""
        refuse_loose(self._path)
        stamp = self._stamp()
        text = read_file(self._path, max_bytes=MAX_ACL_BYTES)
        keys = {key.fingerprint for key in keyring.certificates(0)}
        self.acl = parse_acl(text, what=str(self._path), form=acl_format(self._path.name), modules=MODULES, keys=keys)
        self.digest = hashlib.sha256(text).hexdigest()
        self._judged, self._problem = (stamp, keyring), ""

    def look(self, keyring: Certificates) -> str:
        """Read it if it changed, or what it is judged by; returns what is wrong with it, or nothing."""
        try:
            refuse_loose(self._path)
            stamp = self._stamp()
        except DeploymentError as error:
            self._judged = None
            return str(error)
        if (stamp, keyring) != self._judged:
            self._judged = stamp, keyring
            try:
                self.load(keyring)
            except (BadInput, DeploymentError) as error:
                self._problem = str(error)
        return self._problem

    def _stamp(self) -> tuple[int, ...]:
        try:
            info = self._path.stat()
        except OSError as error:
            raise DeploymentError(f"{self._path}: {error.strerror}") from None
        return info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def load_trust(config: AgentConfig) -> TrustFiles:
    """Read both for the first time; a bad certificate is refused alone, a bad ACL stops the agent.

    Raises:
        DeploymentError: a folder or file that is not there, not ours alone, or an empty keyring.
        BadInput: an ACL that is none, or that names what there is not: with the line.
    """
    refuse_loose(config.keyring)
    folder = KeyringFolder(config.keyring)
    keyring = folder.read()
    refused = _refused(config, keyring)
    told = f"; {refused[0]}" if refused else ""
    if not len(keyring):
        raise DeploymentError(f"{config.keyring}: no usable certificate, so every action would be refused{told}")
    acl = _AclFile(config.acl)
    try:
        acl.load(keyring)
    except BadInput as error:
        raise BadInput(f"{error}{told}", hint=error.hint) from None
    return TrustFiles(config, folder, keyring, acl)


def _refused(config: AgentConfig, keyring: Certificates) -> list[str]:
    return [f"{config.keyring / name}: {reason}" for name, reason in keyring.refused]
