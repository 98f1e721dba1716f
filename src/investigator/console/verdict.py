"""What an action's signatures are worth by this console's own rules, told signature by signature, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from investigator.console.rules import Rules, judge_signatures
from investigator.console.signed_file import Altered, SignedFile
from investigator.errors import Refused
from investigator.pgp import OtherBytes
from investigator.pgp.signature import read_document_signature
from investigator.protocol.acl import Weighing
from investigator.protocol.action import Action, utc

UNKNOWN: Final = "somebody unknown here"


@dataclass(frozen=True, slots=True)
class Told:
    """One signature, for people."""

    place: str
    fingerprint: str
    """Of the certificate that it names, or empty: none that is trusted here."""
    name: str
    """Of that person; else what little is known."""
    problem: str
    """Why it does not count, or nothing."""
    altered: bool
    """It names a certificate that is trusted, and that never signed these bytes."""
    created: datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """All signatures, and what they are worth together."""

    told: tuple[Told, ...]
    weighings: tuple[Weighing, ...]
    """One for each module that the action runs."""

    @property
    def signers(self) -> frozenset[str]:
        """The distinct certificates that count."""
        return frozenset(one.fingerprint for one in self.told if not one.problem)

    @property
    def missing(self) -> tuple[Weighing, ...]:
        """What the signers may not ask; nothing: agents with these rules take it."""
        return tuple(weighing for weighing in self.weighings if weighing.missing)

    @property
    def altered(self) -> tuple[Told, ...]:
        """The signatures that were made of something else."""
        return tuple(one for one in self.told if one.altered)

    def refuse_altered(self, what: str) -> None:
        """Raise `Altered` if somebody whom we trust is said to have signed this, and signed something else."""
        for one in self.altered:
            raise Altered(
                f"{what}: altered since it was signed: {one.place} says it is {one.name}'s, and is not over these bytes",
                hint="Get the original again; or, if that signature belongs to another action, take it away.",
            )


def judge_file(file: SignedFile, action: Action, rules: Rules, *, now_s: float) -> Verdict:
    """Check every signature that came with an action, and weigh the good ones."""
    data, names = file.envelope.signed_bytes, known_names(rules, now_s=now_s)
    modules = [operation.module for operation in action.operations]
    held = [(one.place, one.text) for one in file.held]
    judged = judge_signatures(data, held, modules, rules, now_s=now_s)
    good = dict(judged.good)
    told = []
    for one in file.held:
        signer, problem, altered, created = good.get(one.place, ""), "", False, None
        signature = one.text.encode()
        try:
            created = utc(read_document_signature(signature).created)
            if not signer:
                signer = rules.keyring.named_by(signature)
                rules.keyring.verify(data, signature, int(now_s), max_age_s=rules.max_signature_age_s)
        except Refused as error:
            problem, altered = str(error), bool(signer) and isinstance(error, OtherBytes)
        told.append(Told(one.place, signer, names.get(signer, signer or UNKNOWN), problem, altered, created))
    return Verdict(tuple(told), judged.weighings)


def known_names(rules: Rules, *, now_s: float) -> Mapping[str, str]:
    """Names by fingerprint: the ACL's, else the certificate's own."""
    names = {one.fingerprint: one.user_ids[0] for one in rules.keyring.certificates(int(now_s)) if one.user_ids}
    for entry in rules.acl.entries.values():
        names |= {person.fingerprint.upper(): name for name, person in entry.investigators.items()}
    return names
