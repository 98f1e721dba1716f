"""One trusted identity: the keys that may sign for it, and what was validly said about them (8, 9, 10, 11).

Reading asks no clock (`certificate_file`): what was said when is kept, and `Certificate.judge` weighs it for the time of
a signature and for now. So a certificate expires while it is loaded, and one read under a wrong clock is not lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from investigator.pgp.policy import SignatureRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.pgp.key import Key
    from investigator.pgp.signature import Signature


class Window(NamedTuple):
    """While something that was said may be believed: seconds since 1970, `until` excluded."""

    made: int
    until: int


class Statement(NamedTuple):
    """What one valid self-signature or binding says about a key."""

    said: Window
    key_expires: int
    signs: tuple[Window, ...] | None
    """While the key may sign by it; empty: it may not; None: nothing is said about that."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of a certificate, with the statements about it by kind: direct-key and user-id ones, or bindings."""

    key: Key
    statements: tuple[tuple[Statement, ...], ...]

    def judge(self, moment: int, horizon: int, what: str) -> None:
        """(9) Raise unless the key was alive at `moment`; nothing that was said after `horizon` counts."""
        rulings = list(self._rulings(moment, horizon))
        if not rulings:
            raise SignatureRefused(f"{what}: its self-signature expired, or is dated in the future")
        if moment < self.key.created:
            raise SignatureRefused(f"{what} did not exist yet")
        if any(moment >= statement.key_expires for statement in rulings):
            raise SignatureRefused(f"{what} is expired")

    def judge_right(self, moment: int, horizon: int) -> None:
        """(8) Raise unless those who say something about signing say that the key may, and somebody does."""
        rights = [statement.signs for statement in self._rulings(moment, horizon) if statement.signs is not None]
        if not rights or not all(any(w.made <= horizon and moment < w.until for w in windows) for windows in rights):
            raise SignatureRefused(f"key {self.key.fingerprint} is not allowed to sign")

    def expires(self, now: int) -> int:
        """When it ends by what is in force now; 0 if nothing is, `NEVER` if it does not."""
        rulings = list(self._rulings(now, now))
        return min((min(r.key_expires, r.said.until) for r in rulings), default=0)

    def _rulings(self, moment: int, horizon: int) -> Iterator[Statement]:
        """(8) By kind, the newest statement that was in force at `moment`; all of them, if several are of that second.

        Where all are younger than `moment` it is the oldest: a key whose expiry was moved may come with the new
        self-signature only.
        """
        for kind in self.statements:
            standing = [s for s in kind if s.said.made <= horizon and moment < s.said.until]
            if standing:
                by_then = [s.said.made for s in standing if s.said.made <= moment]
                made = max(by_then) if by_then else min(s.said.made for s in standing)
                yield from (s for s in standing if s.said.made == made)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One identity: a primary key, its names, and the keys that sign for it."""

    fingerprint: str
    """(11) Of the primary key: 40 upper-case hex digits."""
    primary: SigningKey
    user_ids: tuple[str, ...] = ()
    """Those with a valid self-signature; unprintable characters replaced."""
    signers: Mapping[str, SigningKey] = field(default_factory=dict)
    """By fingerprint, the primary included."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Other keys of the file by fingerprint, with the reason why they sign nothing."""
    revoked: str = ""
    """(10) By what, or nothing. Then nothing signs, whenever it says it did: a thief dates signatures as it pleases."""
    revoker_ids: frozenset[str] = frozenset()
    """Key ids of the primary key and of designated revokers."""

    def judge(self, fingerprint: str, signed: int, now: int, skew_s: int) -> None:
        """Raise unless this key of the certificate could sign at `signed`, and still could now.

        A signature from a clock that is a little ahead is judged at its own time.
        """
        signer = self.signers[fingerprint]
        for moment in (signed, max(now, signed)):
            self.primary.judge(moment, now + skew_s, f"certificate {self.fingerprint}")
            signer.judge(moment, now + skew_s, f"key {fingerprint}")
            signer.judge_right(moment, now + skew_s)

    def may_sign(self, fingerprint: str, now: int) -> bool:
        """Whether a key of the certificate could sign now."""
        try:
            self.judge(fingerprint, now, now, 0)
        except SignatureRefused:
            return False
        return True

    def as_revoked(self, reason: str) -> Certificate:
        """(10) The same certificate, with no key that signs."""
        why = f"certificate {self.fingerprint} is revoked {reason}"
        return replace(self, revoked=reason, signers={}, unusable=dict.fromkeys([*self.signers, *self.unusable], why))

    def is_revoked_by(self, revocation: Signature, *, proven: bool) -> bool:
        """(10) Whether a key revocation from elsewhere is about this certificate; `proven`: and the primary key made it."""
        primary = self.primary.key
        if proven:
            try:
                revocation.check(primary, primary.hashed)
            except SignatureRefused:
                return False
            return True
        named = revocation.named_key_ids()
        if primary.key_id in named:
            return True
        # A designated revoker may also have revoked itself, and one that names nobody may be anybody's: ask the digest.
        return (not named or bool(named & self.revoker_ids)) and bool(revocation.speaks_of(primary.hashed))
