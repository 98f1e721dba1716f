"""Who asked what, and how it ended: read from what is on record, and believed only as far as signatures go.

One action stands there once for each subject that it was sent on, and again for each copy that somebody made with other
signatures: it is one action by its digest, with the signatures of all copies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from investigator.console.dispatch import Prepared, prepare
from investigator.errors import BadInput, Refused
from investigator.protocol.cancel import Cancel, decode_cancel_envelope, parse_cancel
from investigator.protocol.envelope import MAX_SIGNATURES, Envelope, decode_envelope
from investigator.protocol.record import TallyRecord, parse_tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from investigator.console.store import Record
    from investigator.pgp import Keyring


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed something, as far as this console can tell."""

    people: tuple[tuple[str, str], ...] = ()
    """(name, fingerprint) of each signer whose signature is good."""
    problem: str = ""
    """Why a signature does not count; empty if all do."""

    @property
    def names(self) -> tuple[str, ...]:
        """The signers', or their fingerprints where they have none here."""
        return tuple(name for name, _ in self.people)


@dataclass(slots=True)
class Entry:
    """One action that is on record."""

    prepared: Prepared
    """The copy with the most signatures."""
    asked_s: float
    """When the first copy was recorded, by the broker's clock."""
    envelopes: dict[str, Envelope] = field(default_factory=dict)
    """Every copy, by what distinguishes them."""
    cancels: list[tuple[Cancel, Envelope, float]] = field(default_factory=list)
    """Each with the time at which it was recorded."""
    tallies: list[tuple[TallyRecord, Envelope, float]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The action's; several actions may claim one."""
        return self.prepared.action.id

    @property
    def digest(self) -> str:
        """The action's, which no other has."""
        return self.prepared.envelope.digest

    def signatures(self) -> tuple[str, ...]:
        """The distinct ones of all copies, as many as one envelope may have."""
        distinct = dict.fromkeys(text for envelope in self.envelopes.values() for text in envelope.pgpsignatures)
        return tuple(distinct)[: 2 * MAX_SIGNATURES]


def entries(records: Iterable[Record]) -> tuple[list[Entry], int]:
    """The actions that are on record, the oldest first, and how many records are nothing that can be read.

    A tally or a cancel counts for the action with the digest that it names, wherever it was published.
    """
    known: dict[str, Entry] = {}
    rubbish = 0
    cancels: list[tuple[Cancel, Envelope, float]] = []
    tallies: list[tuple[TallyRecord, Envelope, float]] = []
    for record in records:
        try:
            if record.kind == "action":
                _add_action(known, decode_envelope(record.payload), record)
            elif record.kind == "cancel":
                envelope = decode_cancel_envelope(record.payload)
                if envelope.about is not None:
                    _add_action(known, envelope.about, record)
                cancels.append((parse_cancel(envelope.signed_bytes), envelope.bare(), record.stored_s))
            elif record.kind == "tally":
                plain = decode_envelope(record.payload)
                tallies.append((parse_tally(plain.signed_bytes), plain, record.stored_s))
        except BadInput:  # BadTarget is one
            rubbish += 1
    for cancel in cancels:
        if cancel[0].digest in known:
            known[cancel[0].digest].cancels.append(cancel)
    for tally in tallies:
        if tally[0].digest in known:
            known[tally[0].digest].tallies.append(tally)
    return sorted(known.values(), key=lambda entry: entry.asked_s), rubbish


def _add_action(known: dict[str, Entry], envelope: Envelope, record: Record) -> None:
    entry = known.get(envelope.digest) or Entry(prepare(envelope), record.stored_s)
    if entry.id != record.action:
        raise BadInput("an action under another id than its subject names")
    known[envelope.digest] = entry
    if len(envelope.pgpsignatures) > len(entry.prepared.envelope.pgpsignatures):
        entry.prepared = Prepared(entry.prepared.action, entry.prepared.condition, entry.prepared.routes, envelope)
    entry.asked_s = min(entry.asked_s, record.stored_s)
    entry.envelopes.setdefault("\n".join(envelope.pgpsignatures), envelope)


@dataclass(frozen=True, slots=True)
class Signatures:
    """This console's own keyring and names, for telling who signed."""

    keyring: Keyring
    names: Mapping[str, str]
    """By fingerprint."""
    max_age_s: int

    def judge(self, data: bytes, signatures: Iterable[str], *, at_s: float) -> Signed:
        """Who signed these bytes, judged as of the time of the record: signatures grow old, and records do not."""
        good: dict[str, str] = {}
        problem = "" if (texts := list(signatures)) else "it is not signed"
        for text in texts:
            try:
                found = self.keyring.verify(data, text.encode(), int(at_s), max_age_s=self.max_age_s)
            except Refused as error:
                problem = problem or str(error)
            else:
                good[found.certificate] = self.names.get(found.certificate, found.certificate)
        return Signed(tuple((name, fingerprint) for fingerprint, name in good.items()), problem)

    def of(self, entry: Entry) -> Signed:
        """Who asked it."""
        return self.judge(entry.prepared.envelope.signed_bytes, entry.signatures(), at_s=entry.asked_s)


def best_tally(entry: Entry, signatures: Signatures | None) -> tuple[TallyRecord, bool] | None:
    """The tally that says most, and whether somebody known here signed it: signed before unsigned, final before not, then the latest."""
    judged = [
        (bool(signatures is not None and signatures.judge(e.signed_bytes, e.pgpsignatures, at_s=at_s).names), tally)
        for tally, e, at_s in entry.tallies[-MAX_SIGNATURES:]
    ]
    if not judged:
        return None
    signed, tally = max(judged, key=lambda one: (one[0], one[1].final, one[1].counted))
    return tally, signed
