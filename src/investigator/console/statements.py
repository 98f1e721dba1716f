"""The statements that this console has heard, judged by its rules: each is verified once for as long as the rules stay."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from investigator.errors import BadInput, Refused
from investigator.protocol.rulings import Rulings
from investigator.protocol.statement import (
    Stated,
    Statement,
    Token,
    decode_statement_envelope,
    judge_statement,
    parse_statement,
)

if TYPE_CHECKING:
    from investigator.console.rules import Rules
    from investigator.protocol.token import Proof

MAX_KEPT: Final = 50_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A statement's envelope as it came, and what was found of it."""

    mark: str
    """SHA-256 of the envelope."""
    envelope: bytes
    rules: str
    """The mark of the rules that it was judged by (`rules_mark`)."""
    problem: str
    """Why it does not count; empty: it does."""


class Statements:
    """All that were heard, by their marks; `changed` are those that the store does not have so."""

    def __init__(self, rules: Rules | None, kept: Iterable[Kept], *, now_s: float) -> None:
        """`rules` None: they are broken; earlier verdicts stand, and what was not judged yet counts nothing."""
        self.changed: dict[str, Kept] = {}
        self._rules = rules
        self._now_s = now_s
        self._mark = "" if rules is None else rules_mark(rules, now_s=now_s)
        self._kept = {one.mark: one for one in kept}
        self._judged: dict[str, Stated | str] = {}

    def hear(self, raw: bytes) -> str:
        """Take an envelope from the wire; its mark. Beyond 50,000 nothing more is taken."""
        mark = hashlib.sha256(raw).hexdigest()
        if mark not in self._kept and len(self._kept) < MAX_KEPT:
            self._kept[mark] = Kept(mark, raw, "", "")
        return mark

    def rulings(self) -> Rulings:
        """What those that count say together."""
        return Rulings(one for mark in list(self._kept) if isinstance(one := self._judge(mark), Stated))

    def problems(self) -> list[str]:
        """What is wrong with the others, one line each."""
        return sorted({one for mark in list(self._kept) if isinstance(one := self._judge(mark), str)})

    def token_of(self, proof: Proof) -> Token:
        """The token that a proof's statement vouches for; raises `Refused`, `BadInput` where nobody entitled signed it."""
        judged = self._judge(self.hear(proof.statement.encode()))
        if isinstance(judged, str):
            raise Refused(judged)
        if not isinstance(judged.statement, Token):
            raise BadInput("its proof's statement is of no token")
        return judged.statement

    def _judge(self, mark: str) -> Stated | str:
        if mark not in self._judged:
            self._judged[mark] = self._look(mark)
        return self._judged[mark]

    def _look(self, mark: str) -> Stated | str:
        kept = self._kept.get(mark)
        if kept is None:
            return f"more than {MAX_KEPT:,} statements"
        if self._rules is None and not kept.rules:
            return "it is not judged yet, and the rules here are broken"
        if kept.rules and kept.problem and (self._rules is None or kept.rules == self._mark):
            return kept.problem
        try:
            envelope = decode_statement_envelope(kept.envelope)
            if self._rules is None or kept.rules == self._mark:
                statement: Statement = parse_statement(envelope.signed_bytes)
                return Stated(statement, envelope, ())
            stated: Stated | str = judge_statement(
                envelope, keyring=self._rules.keyring, acl=self._rules.acl, now_s=self._now_s
            )
        except (BadInput, Refused) as error:
            stated = str(error)
        problem = stated if isinstance(stated, str) else ""
        self._kept[mark] = self.changed[mark] = replace(kept, rules=self._mark, problem=problem)
        return stated


def rules_mark(rules: Rules, *, now_s: float | None = None) -> str:
    """What changes whenever a verdict under these rules may: keys, their states, and weights."""
    keys = rules.keyring.certificates(int(time.time() if now_s is None else now_s))
    told = [(key.fingerprint, key.revoked, key.expires, key.signing_keys) for key in keys]
    return hashlib.sha256(repr((sorted(told), rules.acl.entries)).encode()).hexdigest()
