"""The rules that the deployment's agents go by, as this console has them: would an action pass, before it is sent?

The agents decide, by their own files: where they have others, the answer is theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from investigator.config import AGENT_FILE, load_agent, read_file
from investigator.console.deployment import ACL, KEYRING
from investigator.errors import BadInput, DeploymentError, Refused
from investigator.modules import MODULES
from investigator.pgp import Keyring
from investigator.pgp.folder import KeyringFolder
from investigator.protocol.acl import MAX_ACL_BYTES, Acl, Weighing, acl_format, parse_acl

_BESIDE: Final = (ACL, ACL.with_suffix(".toml"))


@dataclass(frozen=True, slots=True)
class Rules:
    """A keyring and an ACL that fit each other."""

    acl: Acl
    keyring: Keyring
    acl_file: Path
    keyring_folder: Path

    @property
    def max_signature_age_s(self) -> int:
        """How old a signature may be."""
        set_by_acl = self.acl.max_signature_age_s
        return self.keyring.policy.max_age_s if set_by_acl is None else set_by_acl


@dataclass(frozen=True, slots=True)
class Judged:
    """What the signatures of an action come to."""

    good: tuple[tuple[str, str], ...]
    """(where it stands, the signer's fingerprint) of each good signature."""
    bad: tuple[tuple[str, str], ...]
    """(where it stands, what is wrong with it) of the others, which count nothing."""
    weighings: tuple[Weighing, ...]
    """One for each module that the action runs, in its order."""

    @property
    def signers(self) -> frozenset[str]:
        """The distinct certificates that count."""
        return frozenset(fingerprint for _, fingerprint in self.good)

    @property
    def shortages(self) -> tuple[Weighing, ...]:
        """What may not run; nothing: agents with these rules take it."""
        return tuple(weighing for weighing in self.weighings if weighing.missing)


def load_rules(home: Path, *, acl: Path | None = None, keyring: Path | None = None) -> Rules:
    """The ACL and the keyring folder that are given, else those that the deployment's agent.toml names.

    Raises:
        DeploymentError: one of them is not there, or cannot be read.
        BadInput: the ACL is none, or names what there is not: the message names the line.
    """
    acl, folder = rule_files(home, acl=acl, keyring=keyring)
    certificates = KeyringFolder(folder).read()
    keys = {listed.fingerprint for listed in certificates.certificates(int(time.time()))}
    text = read_file(acl, max_bytes=MAX_ACL_BYTES)
    rules = parse_acl(text, what=str(acl), form=acl_format(acl.name), modules=MODULES, keys=keys)
    return Rules(rules, certificates, acl, folder)


def rules_in_force(home: Path, warn: Callable[[str], None]) -> Rules | None:
    """The deployment's rules; where they are broken, None after a warning: what was judged by them before stays in force.

    As on an agent, a slip of an editor must not stop an investigation.
    """
    try:
        return load_rules(home)
    except (BadInput, DeploymentError) as error:
        warn(f"{error}; which agents are ours is told by what was known before")
        return None


def rule_files(home: Path, *, acl: Path | None = None, keyring: Path | None = None) -> tuple[Path, Path]:
    """Where the ACL and the keyring folder are, whether or not they are there; see `load_rules`."""
    if (acl is None or keyring is None) and (home / AGENT_FILE).exists():
        config = load_agent(home)
        acl, keyring = acl or config.acl, keyring or config.keyring
    acl = acl or next((home / name for name in _BESIDE if (home / name).exists()), home / ACL)
    return acl, keyring or home / KEYRING


def judge_signatures(
    data: bytes, signatures: Iterable[tuple[str, str]], modules: Sequence[str], rules: Rules, *, now_s: float
) -> Judged:
    """Judge signatures, (where it stands, its text) each, over an action's bytes for what the action runs."""
    good, bad = [], []
    for place, text in signatures:
        try:
            verified = rules.keyring.verify(data, text.encode(), int(now_s), max_age_s=rules.max_signature_age_s)
        except Refused as reason:
            bad.append((place, str(reason)))
        else:
            good.append((place, verified.certificate))
    signers = {fingerprint for _, fingerprint in good}
    weighings = tuple(rules.acl.weigh(module, signers) for module in dict.fromkeys(modules))
    return Judged(tuple(good), tuple(bad), weighings)
