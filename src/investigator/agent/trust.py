"""Whom this agent obeys: the keyring and the ACL that came with its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from investigator.agent.permissions import refuse_loose
from investigator.config import AgentConfig, read_file
from investigator.errors import DeploymentError
from investigator.pgp.folder import KeyringFolder
from investigator.protocol.acl import MAX_ACL_BYTES, Acl, parse_acl

if TYPE_CHECKING:
    from investigator.protocol.admission import Keyring


@dataclass(frozen=True, slots=True)
class Trust:
    """Certificates and weights, and what of the keyring folder was refused."""

    keyring: Keyring
    acl: Acl
    warnings: tuple[str, ...]


def load_trust(config: AgentConfig) -> Trust:
    """Read both; a bad certificate is refused alone, a bad ACL stops the agent.

    Raises:
        DeploymentError: a folder or file that is not there, not ours alone, or an empty keyring.
        BadInput: an ACL that is none.
    """
    refuse_loose(config.keyring)
    keyring = KeyringFolder(config.keyring).read()
    warnings = tuple(f"{config.keyring / name}: {reason}" for name, reason in keyring.refused)
    if not len(keyring):
        told = f"; {warnings[0]}" if warnings else ""
        raise DeploymentError(f"{config.keyring}: no usable certificate, so every action would be refused{told}")
    refuse_loose(config.acl)
    return Trust(keyring, parse_acl(read_file(config.acl, max_bytes=MAX_ACL_BYTES), what=str(config.acl)), warnings)
